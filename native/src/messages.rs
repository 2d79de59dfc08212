//! WebSocket messages: replies to polls on their way to clients, and what clients receive.

use icws_core::message::{self, Generation};
use icws_core::poll;
use icws_core::service::ServiceKind;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::errors::raise;

#[pyfunction]
#[pyo3(signature = (reply, *, generation))]
pub(crate) fn read_poll_reply_unverified(py: Python<'_>, reply: &[u8], generation: Wire) -> PyResult<PollReply> {
    let read = py.detach(|| poll::read_poll_reply_unverified(reply, generation.0));
    PollReply::new(py, read.map_err(raise)?)
}

/// A wire generation as Python counts them.
pub(crate) struct Wire(pub(crate) Generation);

impl<'py> FromPyObject<'_, 'py> for Wire {
    type Error = PyErr;

    fn extract(number: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match number.extract()? {
            0 => Ok(Self(Generation::V0)),
            1 => Ok(Self(Generation::V1)),
            2 => Ok(Self(Generation::V2)),
            other => Err(PyValueError::new_err(format!("there is no wire generation {other}"))),
        }
    }
}

/// What is passed on for every message is made once; the key is for logs.
#[pyclass(frozen, module = "appliance._native")]
pub(crate) struct PolledMessage {
    client_key: Py<PyBytes>,
    key: String,
    nonce: u64,
    sequence_num: u64,
    timestamp_ns: u64,
    is_service: bool,
    service_kind: Option<ServiceKind>,
    frame: Py<PyBytes>,
    problem: Option<String>,
}

impl PolledMessage {
    fn new(py: Python<'_>, message: poll::PolledMessage) -> Self {
        Self {
            client_key: PyBytes::new(py, &message.client_key).unbind(),
            frame: PyBytes::new(py, &message.frame).unbind(),
            key: message.key,
            nonce: message.nonce,
            sequence_num: message.sequence_num,
            timestamp_ns: message.timestamp_ns,
            is_service: message.is_service,
            service_kind: message.service_kind,
            problem: message.problem,
        }
    }
}

#[pymethods]
impl PolledMessage {
    #[getter]
    fn client_key(&self, py: Python<'_>) -> Py<PyBytes> {
        self.client_key.clone_ref(py)
    }

    #[getter]
    fn key(&self) -> &str {
        &self.key
    }

    #[getter]
    fn nonce(&self) -> u64 {
        self.nonce
    }

    #[getter]
    fn sequence_num(&self) -> u64 {
        self.sequence_num
    }

    #[getter]
    fn timestamp_ns(&self) -> u64 {
        self.timestamp_ns
    }

    #[getter]
    fn is_service(&self) -> bool {
        self.is_service
    }

    #[getter]
    fn service_kind(&self) -> Option<&'static str> {
        self.service_kind.map(ServiceKind::name)
    }

    #[getter]
    fn frame(&self, py: Python<'_>) -> Py<PyBytes> {
        self.frame.clone_ref(py)
    }

    #[getter]
    fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

#[pyclass(frozen, module = "appliance._native")]
pub(crate) struct PollReply {
    messages: Py<PyList>,
    is_end_of_queue: bool,
    is_whole: bool,
    time_ns: Option<u64>,
}

impl PollReply {
    pub(crate) fn new(py: Python<'_>, reply: poll::PollReply) -> PyResult<Self> {
        let is_whole = reply.is_whole();
        let message = |message| Py::new(py, PolledMessage::new(py, message));
        let messages = reply.messages.into_iter().map(message).collect::<PyResult<Vec<_>>>()?;
        Ok(Self {
            messages: PyList::new(py, messages)?.unbind(),
            is_end_of_queue: reply.is_end_of_queue,
            is_whole,
            time_ns: reply.time_ns,
        })
    }
}

#[pymethods]
impl PollReply {
    #[getter]
    fn messages(&self, py: Python<'_>) -> Py<PyList> {
        self.messages.clone_ref(py)
    }

    #[getter]
    fn is_end_of_queue(&self) -> bool {
        self.is_end_of_queue
    }

    #[getter]
    fn is_whole(&self) -> bool {
        self.is_whole
    }

    #[getter]
    fn time_ns(&self) -> Option<u64> {
        self.time_ns
    }
}

#[pyclass(frozen, module = "appliance._native")]
pub(crate) struct CertifiedMessage(pub(crate) message::CertifiedMessage);

#[pymethods]
impl CertifiedMessage {
    #[getter]
    fn key(&self) -> &str {
        &self.0.key
    }

    #[getter]
    fn client_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.client_key)
    }

    #[getter]
    fn sequence_num(&self) -> u64 {
        self.0.sequence_num
    }

    #[getter]
    fn timestamp_ns(&self) -> u64 {
        self.0.timestamp_ns
    }

    #[getter]
    fn certified_at_ns(&self) -> u64 {
        self.0.certified_at_ns
    }

    #[getter]
    fn is_service_message(&self) -> bool {
        self.0.is_service_message
    }

    #[getter]
    fn content<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.content)
    }
}
