//! Candid for Python: parsed types and interfaces, and the conversion of values in both directions.

mod from_python;
mod to_python;

use candid::IDLValue;
use icws_core::candid::{Interface, Method, ShapeId, Types, decode_text, decode_untyped, encode_text};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::errors::{candid_error, raise};
use from_python::from_python;
use to_python::{to_python, untyped_to_python};

/// The shortest message that is worth leaving the GIL for, in bytes.
const LARGE: usize = 16 << 10;

#[pyclass(frozen, module = "appliance._native")]
pub(crate) struct CandidTypes(Types);

#[pymethods]
impl CandidTypes {
    #[new]
    fn new(py: Python<'_>, text: &str) -> PyResult<Self> {
        py.detach(|| Types::parse(text)).map(Self).map_err(raise)
    }

    #[pyo3(signature = (*values))]
    fn encode(&self, values: &Bound<'_, PyTuple>) -> PyResult<Vec<u8>> {
        let (schema, shapes) = (self.0.schema(), self.0.shapes());
        if values.len() != shapes.len() {
            let problem = format!("{} values given, {} wanted", values.len(), shapes.len());
            return Err(candid_error(problem));
        }
        let convert = |(index, value): (usize, Bound<'_, PyAny>)| {
            from_python(schema, shapes[index], &value, 0).map_err(|misfit| misfit.raise(index))
        };
        let values = values.iter().enumerate().map(convert).collect::<PyResult<_>>()?;
        self.0.encode(values).map_err(raise)
    }

    fn decode<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
        let values =
            if data.len() < LARGE { self.0.decode(data) } else { py.detach(|| self.0.decode(data)) }.map_err(raise)?;
        let convert = |(shape, value): (&ShapeId, &IDLValue)| to_python(py, self.0.schema(), *shape, value, 0);
        let values = self.0.shapes().iter().zip(&values).map(convert).collect::<PyResult<Vec<_>>>()?;
        PyTuple::new(py, values)
    }

    fn encode_text(&self, py: Python<'_>, text: &str) -> PyResult<Vec<u8>> {
        py.detach(|| self.0.encode_text(text)).map_err(raise)
    }

    fn decode_text(&self, py: Python<'_>, data: &[u8]) -> PyResult<String> {
        py.detach(|| self.0.decode_text(data)).map_err(raise)
    }

    fn sample(&self) -> String {
        self.0.sample()
    }

    fn to_text(&self) -> String {
        self.0.to_text()
    }

    fn without_opt(&self) -> Self {
        Self(self.0.without_opt())
    }

    fn __len__(&self) -> usize {
        self.0.shapes().len()
    }

    fn __getitem__(&self, index: usize) -> PyResult<Self> {
        self.0.nth(index).map(Self).ok_or_else(|| PyIndexError::new_err(format!("{self} has no type {index}")))
    }

    fn __repr__(&self) -> String {
        format!("CandidTypes({:?})", self.to_string())
    }
}

impl std::fmt::Display for CandidTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let types: Vec<_> = self.0.shapes().iter().map(|shape| self.0.schema().describe(*shape)).collect();
        write!(f, "({})", types.join(", "))
    }
}

#[pyclass(frozen, module = "appliance._native")]
pub(crate) struct CandidMethod(Method);

#[pymethods]
impl CandidMethod {
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    #[getter]
    fn arguments(&self) -> CandidTypes {
        CandidTypes(self.0.arguments.clone())
    }

    #[getter]
    fn results(&self) -> CandidTypes {
        CandidTypes(self.0.results.clone())
    }

    #[getter]
    fn is_query(&self) -> bool {
        self.0.is_query
    }
}

#[pyclass(frozen, module = "appliance._native")]
pub(crate) struct CandidInterface(Interface);

#[pymethods]
impl CandidInterface {
    #[new]
    fn new(py: Python<'_>, text: &str) -> PyResult<Self> {
        py.detach(|| Interface::parse(text)).map(Self).map_err(raise)
    }

    #[getter]
    fn methods<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let methods = PyDict::new(py);
        for method in &self.0.methods {
            methods.set_item(&method.name, CandidMethod(method.clone()))?;
        }
        Ok(methods)
    }

    #[getter]
    fn init(&self) -> CandidTypes {
        CandidTypes(self.0.init.clone())
    }

    #[pyo3(name = "type")]
    fn named(&self, name: &str) -> PyResult<CandidTypes> {
        self.0.named(name).map(CandidTypes).map_err(raise)
    }
}

#[pyfunction]
pub(crate) fn decode_candid<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
    let values =
        if data.len() < LARGE { decode_untyped(data) } else { py.detach(|| decode_untyped(data)) }.map_err(raise)?;
    let values = values.iter().map(|value| untyped_to_python(py, value, 0)).collect::<PyResult<Vec<_>>>()?;
    PyTuple::new(py, values)
}

#[pyfunction]
pub(crate) fn encode_candid_text(py: Python<'_>, text: &str) -> PyResult<Vec<u8>> {
    py.detach(|| encode_text(text)).map_err(raise)
}

#[pyfunction]
pub(crate) fn decode_candid_text(py: Python<'_>, data: &[u8]) -> PyResult<String> {
    py.detach(|| decode_text(data)).map_err(raise)
}
