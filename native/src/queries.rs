//! Replies to queries, verified by the signatures of nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use icws_core::query_reply::{self, Outcome};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::errors::raise;

#[pyfunction]
#[pyo3(signature = (body, request_id, node_keys, *, now_ns, max_age_ns))]
pub fn verify_query_reply(
    py: Python<'_>,
    body: &[u8],
    request_id: &[u8],
    node_keys: BTreeMap<PyBackedBytes, PyBackedBytes>,
    now_ns: u64,
    max_age_ns: u64,
) -> PyResult<QueryReply> {
    let request_id = request_id.try_into().map_err(|_| PyValueError::new_err("a request id has 32 bytes"))?;
    let node_keys = decoded(&node_keys);
    let verify = || query_reply::verify_query_reply(body, request_id, &node_keys, now_ns, max_age_ns);
    py.detach(verify).map(QueryReply).map_err(raise)
}

fn decoded(keys: &BTreeMap<PyBackedBytes, PyBackedBytes>) -> query_reply::NodeKeys {
    keys.iter().map(|(id, key)| (&**id, &**key)).collect()
}

/// Keys of nodes that are kept for many replies.
#[pyclass(frozen, module = "appliance._native")]
pub struct KnownNodes(pub(crate) Arc<query_reply::NodeKeys>);

#[pymethods]
impl KnownNodes {
    #[new]
    fn new(keys: BTreeMap<PyBackedBytes, PyBackedBytes>) -> Self {
        Self(Arc::new(decoded(&keys)))
    }
}

#[pyclass(frozen, module = "appliance._native")]
pub struct QueryReply(query_reply::QueryReply);

#[pymethods]
impl QueryReply {
    #[getter]
    fn status(&self) -> &'static str {
        match &self.0.outcome {
            Outcome::Replied(_) => "replied",
            Outcome::Rejected { .. } => "rejected",
        }
    }

    #[getter]
    fn arg<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        match &self.0.outcome {
            Outcome::Replied(arg) => Some(PyBytes::new(py, arg)),
            Outcome::Rejected { .. } => None,
        }
    }

    #[getter]
    fn reject_code(&self) -> Option<u64> {
        match &self.0.outcome {
            Outcome::Replied(_) => None,
            Outcome::Rejected { code, .. } => Some(*code),
        }
    }

    #[getter]
    fn reject_message(&self) -> Option<&str> {
        match &self.0.outcome {
            Outcome::Replied(_) => None,
            Outcome::Rejected { message, .. } => Some(message),
        }
    }

    #[getter]
    fn error_code(&self) -> Option<&str> {
        match &self.0.outcome {
            Outcome::Replied(_) => None,
            Outcome::Rejected { error_code, .. } => error_code.as_deref(),
        }
    }

    #[getter]
    fn signed_at_ns(&self) -> u64 {
        self.0.signed_at_ns
    }

    #[getter]
    fn node_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.node_id)
    }
}
