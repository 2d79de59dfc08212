//! CBOR between Python values and bytes.

use icws_core::cbor::{self, Budget, SELF_DESCRIBED, Value};
use icws_core::{Error, request_id};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyList, PyString, PyTuple};

use crate::errors::{Malformed, raise};

#[pyfunction]
#[pyo3(signature = (data, *, what = "reply"))]
pub fn decode_cbor<'py>(py: Python<'py>, data: &[u8], what: &str) -> PyResult<Bound<'py, PyAny>> {
    match cbor::decode("", data, Budget::REPLY) {
        Ok(value) => to_python(py, &value),
        Err(Error::Malformed { problem, .. }) => Err(Malformed::new_err((what.to_owned(), problem))),
        Err(other) => Err(raise(other)),
    }
}

#[pyfunction]
#[pyo3(signature = (value, *, tagged = true))]
pub fn encode_cbor<'py>(value: &Bound<'py, PyAny>, tagged: bool) -> PyResult<Bound<'py, PyBytes>> {
    let mut out = if tagged { SELF_DESCRIBED.to_vec() } else { Vec::new() };
    write(&mut out, value, Budget::REPLY.depth)?;
    Ok(PyBytes::new(value.py(), &out))
}

#[pyfunction]
pub fn hash_of_value<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let mut encoded = Vec::new();
    write(&mut encoded, value, Budget::REPLY.depth)?;
    let hash = cbor::decode("", &encoded, Budget::REPLY).and_then(|value| request_id::hash_of_value(&value));
    match hash {
        Ok(hash) => Ok(PyBytes::new(value.py(), &hash)),
        Err(Error::Malformed { problem, .. }) => Err(PyTypeError::new_err(problem)),
        Err(other) => Err(raise(other)),
    }
}

fn to_python<'py>(py: Python<'py>, value: &Value<'_>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Unsigned(n) => n.into_pyobject(py)?.into_any(),
        Value::Negative(n) => (-1 - i128::from(*n)).into_pyobject(py)?.into_any(),
        Value::Bignum(digits) => {
            py.get_type::<PyInt>().call_method1("from_bytes", (PyBytes::new(py, digits), "big"))?
        }
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(to_python(py, item)?)?;
            }
            list.into_any()
        }
        Value::Map(entries) => {
            let dict = PyDict::new(py);
            for (key, value) in entries {
                dict.set_item(to_python(py, key)?, to_python(py, value)?)?;
            }
            dict.into_any()
        }
        Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        Value::Null => py.None().into_bound(py),
    })
}

/// `depth` is how many containers may still be entered: a list can contain itself.
fn write(out: &mut Vec<u8>, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        cbor::write_bytes(out, bytes.as_bytes());
    } else if let Ok(text) = value.cast::<PyString>() {
        cbor::write_text(out, &text.to_cow()?);
    } else if let Ok(flag) = value.cast::<PyBool>() {
        cbor::write(out, &Value::Bool(flag.is_true()));
    } else if let Ok(number) = value.cast::<PyInt>() {
        write_int(out, number)?;
    } else if value.is_none() {
        cbor::write(out, &Value::Null);
    } else if depth == 0 {
        return Err(PyValueError::new_err("nested too deep, or in itself"));
    } else if let Ok(list) = value.cast::<PyList>() {
        cbor::write_head(out, 4, list.len() as u64);
        return list.iter().try_for_each(|item| write(out, &item, depth - 1));
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        cbor::write_head(out, 4, tuple.len() as u64);
        return tuple.iter().try_for_each(|item| write(out, &item, depth - 1));
    } else if let Ok(dict) = value.cast::<PyDict>() {
        cbor::write_head(out, 5, dict.len() as u64);
        for (key, value) in dict {
            let key = key.cast::<PyString>().map_err(|_| PyTypeError::new_err("a key of a map must be a str"))?;
            cbor::write_text(out, &key.to_cow()?);
            write(out, &value, depth - 1)?;
        }
    } else {
        return Err(PyTypeError::new_err(format!("no CBOR for a value of type {}", value.get_type().name()?)));
    }
    Ok(())
}

fn write_int(out: &mut Vec<u8>, number: &Bound<'_, PyInt>) -> PyResult<()> {
    if let Ok(natural) = number.extract::<u64>() {
        cbor::write(out, &Value::Unsigned(natural));
    } else if number.gt(0)? {
        let length = number.call_method0("bit_length")?.extract::<usize>()?.div_ceil(8);
        let digits = number.call_method1("to_bytes", (length, "big"))?;
        cbor::write(out, &Value::Bignum(digits.cast::<PyBytes>()?.as_bytes()));
    } else {
        let below = number.extract::<i128>().ok().and_then(|n| u64::try_from(-1 - n).ok());
        let below = below.ok_or_else(|| PyOverflowError::new_err("an integer below -2^64"))?;
        cbor::write(out, &Value::Negative(below));
    }
    Ok(())
}
