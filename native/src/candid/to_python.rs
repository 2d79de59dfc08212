//! Candid values as Python objects; the stub says which is which.

use candid::types::value::{IDLField, IDLValue, VariantValue};
use icws_core::candid::{Field, Label, Schema, Shape, ShapeId};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyString, PyTuple, PyType};

use crate::errors::candid_error;

/// The deepest value that is converted, in both directions; far deeper ones would exhaust the stack.
pub(super) const MAX_DEPTH: usize = 512;

/// The Python object of a value that was decoded under a type.
pub(crate) fn to_python<'py>(
    py: Python<'py>,
    schema: &Schema,
    id: ShapeId,
    value: &IDLValue,
    depth: usize,
) -> PyResult<Bound<'py, PyAny>> {
    check_depth(depth)?;
    let below = |id: ShapeId, value: &IDLValue| to_python(py, schema, id, value, depth + 1);
    match (schema.shape(id), value) {
        (Shape::Opt(item), IDLValue::None) if schema.is_nullable(*item) => Ok(PyList::empty(py).into_any()),
        (Shape::Opt(item), IDLValue::Opt(value)) if schema.is_nullable(*item) => {
            Ok(PyList::new(py, [below(*item, value)?])?.into_any())
        }
        (Shape::Opt(item), IDLValue::Opt(value)) => below(*item, value),
        (Shape::Vec(item), IDLValue::Vec(items)) => list(py, items, |value| below(*item, value)),
        (Shape::Record(fields), IDLValue::Record(values)) if Field::are_tuple(fields) => {
            let values = fields.iter().zip(values).map(|(field, value)| below(field.shape, &value.val));
            Ok(PyTuple::new(py, values.collect::<PyResult<Vec<_>>>()?)?.into_any())
        }
        (Shape::Record(fields), IDLValue::Record(values)) => {
            let entries = PyDict::new(py);
            for (field, value) in fields.iter().zip(values) {
                set(&entries, &field.label, below(field.shape, &value.val)?)?;
            }
            Ok(entries.into_any())
        }
        (Shape::Variant(fields), IDLValue::Variant(VariantValue(chosen, _))) => {
            let entries = PyDict::new(py);
            if let Some(field) = fields.iter().find(|field| field.id == chosen.id.get_id()) {
                set(&entries, &field.label, below(field.shape, &chosen.val)?)?;
            }
            Ok(entries.into_any())
        }
        _ => scalar(py, value),
    }
}

/// The Python object of a value of which only the message's own types are known.
pub(crate) fn untyped_to_python<'py>(py: Python<'py>, value: &IDLValue, depth: usize) -> PyResult<Bound<'py, PyAny>> {
    check_depth(depth)?;
    let below = |value: &IDLValue| untyped_to_python(py, value, depth + 1);
    match value {
        IDLValue::Opt(inner) => match **inner {
            IDLValue::Opt(_) | IDLValue::None | IDLValue::Null | IDLValue::Reserved => {
                Ok(PyList::new(py, [below(inner)?])?.into_any())
            }
            _ => below(inner),
        },
        IDLValue::Vec(items) => list(py, items, below),
        IDLValue::Record(fields) if is_untyped_tuple(fields) => {
            let values = fields.iter().map(|field| below(&field.val)).collect::<PyResult<Vec<_>>>()?;
            Ok(PyTuple::new(py, values)?.into_any())
        }
        IDLValue::Record(fields) => untyped_entries(py, fields, below),
        IDLValue::Variant(VariantValue(field, _)) => untyped_entries(py, std::slice::from_ref(&**field), below),
        _ => scalar(py, value),
    }
}

fn untyped_entries<'py>(
    py: Python<'py>,
    fields: &[IDLField],
    below: impl Fn(&IDLValue) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let entries = PyDict::new(py);
    for field in fields {
        entries.set_item(field.id.get_id(), below(&field.val)?)?;
    }
    Ok(entries.into_any())
}

fn is_untyped_tuple(fields: &[IDLField]) -> bool {
    !fields.is_empty() && fields.iter().enumerate().all(|(index, field)| field.id.get_id() as usize == index)
}

fn list<'py>(
    py: Python<'py>,
    items: &[IDLValue],
    below: impl Fn(&IDLValue) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyList::new(py, items.iter().map(below).collect::<PyResult<Vec<_>>>()?)?.into_any())
}

fn set(entries: &Bound<'_, PyDict>, label: &Label, value: Bound<'_, PyAny>) -> PyResult<()> {
    match label {
        Label::Name(name) => entries.set_item(PyString::intern(entries.py(), name), value),
        Label::Number(number) => entries.set_item(number, value),
    }
}

fn scalar<'py>(py: Python<'py>, value: &IDLValue) -> PyResult<Bound<'py, PyAny>> {
    match value {
        IDLValue::Bool(value) => value.into_bound_py_any(py),
        IDLValue::Text(value) => value.into_bound_py_any(py),
        IDLValue::Nat8(value) => value.into_bound_py_any(py),
        IDLValue::Nat16(value) => value.into_bound_py_any(py),
        IDLValue::Nat32(value) => value.into_bound_py_any(py),
        IDLValue::Nat64(value) => value.into_bound_py_any(py),
        IDLValue::Int8(value) => value.into_bound_py_any(py),
        IDLValue::Int16(value) => value.into_bound_py_any(py),
        IDLValue::Int32(value) => value.into_bound_py_any(py),
        IDLValue::Int64(value) => value.into_bound_py_any(py),
        IDLValue::Float32(value) => value.into_bound_py_any(py),
        IDLValue::Float64(value) => value.into_bound_py_any(py),
        IDLValue::Nat(value) => match u64::try_from(&value.0) {
            Ok(small) => small.into_bound_py_any(py),
            Err(_) => integer(py, &value.0.to_bytes_le(), false),
        },
        IDLValue::Int(value) => match i64::try_from(&value.0) {
            Ok(small) => small.into_bound_py_any(py),
            Err(_) => integer(py, &value.0.to_signed_bytes_le(), true),
        },
        IDLValue::Blob(bytes) => Ok(PyBytes::new(py, bytes).into_any()),
        IDLValue::Principal(id) | IDLValue::Service(id) => principal_object(py, id),
        IDLValue::Func(id, method) => (principal_object(py, id)?, method).into_bound_py_any(py),
        _ => Ok(py.None().into_bound(py)),
    }
}

fn integer<'py>(py: Python<'py>, bytes: &[u8], signed: bool) -> PyResult<Bound<'py, PyAny>> {
    let options = PyDict::new(py);
    options.set_item("signed", signed)?;
    py.get_type::<PyInt>().call_method("from_bytes", (PyBytes::new(py, bytes), "little"), Some(&options))
}

fn principal_object<'py>(py: Python<'py>, id: &candid::Principal) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "appliance.ic.principal", "Principal")?.call1((PyBytes::new(py, id.as_slice()),))
}

fn check_depth(depth: usize) -> PyResult<()> {
    if depth > MAX_DEPTH { Err(candid_error(format!("nested deeper than {MAX_DEPTH}"))) } else { Ok(()) }
}
