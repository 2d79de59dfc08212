//! The verifier: certificates, requests of clients, messages of canisters.

use std::sync::Arc;

use icws_core::certificate::{self, Certified, Subject};
use icws_core::poll::{self, Queue};
use icws_core::{envelope, first_message, message};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::errors::raise;
use crate::messages::{CertifiedMessage, PollReply, Wire};
use crate::requests::Request;
use crate::trees::{HashTree, Path, children, lookup};

/// Client key, canister id, content and signature of a first message.
type FirstMessage<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

#[pyclass(frozen, module = "appliance._native")]
pub struct Verifier {
    pub(crate) core: Arc<certificate::Verifier>,
}

#[pymethods]
impl Verifier {
    #[new]
    #[pyo3(signature = (
        root_key, *, max_age_ns = 300_000_000_000, max_ahead_ns = 300_000_000_000, cache_entries = 1024
    ))]
    fn new(root_key: &[u8], max_age_ns: u64, max_ahead_ns: u64, cache_entries: usize) -> PyResult<Self> {
        let core = certificate::Verifier::new(root_key, max_age_ns, max_ahead_ns, cache_entries).map_err(raise)?;
        Ok(Self { core: Arc::new(core) })
    }

    #[getter]
    fn root_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.core.root_key())
    }

    #[getter]
    fn cache_hits(&self) -> u64 {
        self.core.hits()
    }

    #[getter]
    fn cache_misses(&self) -> u64 {
        self.core.misses()
    }

    #[pyo3(signature = (certificate, canister_id, *, now_ns))]
    fn verify_certificate(
        &self,
        py: Python<'_>,
        certificate: &[u8],
        canister_id: &[u8],
        now_ns: u64,
    ) -> PyResult<CertifiedTree> {
        self.verify(py, certificate, Subject::Canister(canister_id), now_ns)
    }

    /// Holds the interpreter's lock, because giving it away for microseconds may cost milliseconds to have it back.
    #[pyo3(signature = (certificate, canister_id, *, now_ns))]
    fn recall_certificate(
        &self,
        certificate: &[u8],
        canister_id: &[u8],
        now_ns: u64,
    ) -> PyResult<Option<CertifiedTree>> {
        let known = self.core.recall(certificate, Subject::Canister(canister_id), Some(now_ns));
        known.transpose().map(|known| known.map(CertifiedTree)).map_err(raise)
    }

    #[pyo3(signature = (certificate, subnet_id, *, now_ns))]
    fn verify_subnet_certificate(
        &self,
        py: Python<'_>,
        certificate: &[u8],
        subnet_id: &[u8],
        now_ns: u64,
    ) -> PyResult<CertifiedTree> {
        self.verify(py, certificate, Subject::Subnet(subnet_id), now_ns)
    }

    #[pyo3(signature = (reply, canister_id, *, generation, now_ns, gateway, allow_holes = false))]
    #[allow(clippy::too_many_arguments, reason = "they are named ones in Python")]
    fn open_poll_reply(
        &self,
        py: Python<'_>,
        reply: &[u8],
        canister_id: &[u8],
        generation: Wire,
        now_ns: u64,
        gateway: Option<&[u8]>,
        allow_holes: bool,
    ) -> PyResult<PollReply> {
        let queue = Queue { gateway, allow_holes };
        let opened = py.detach(|| poll::open_poll_reply(&self.core, reply, canister_id, generation.0, queue, now_ns));
        PollReply::new(py, opened.map_err(raise)?)
    }

    /// Holds the interpreter's lock, because giving it away for microseconds may cost milliseconds to have it back.
    #[pyo3(signature = (reply, canister_id, *, generation, now_ns, gateway, allow_holes = false))]
    #[allow(clippy::too_many_arguments, reason = "they are named ones in Python")]
    fn recall_poll_reply(
        &self,
        py: Python<'_>,
        reply: &[u8],
        canister_id: &[u8],
        generation: Wire,
        now_ns: u64,
        gateway: Option<&[u8]>,
        allow_holes: bool,
    ) -> PyResult<Option<PollReply>> {
        let queue = Queue { gateway, allow_holes };
        let known = poll::recall_poll_reply(&self.core, reply, canister_id, generation.0, queue, now_ns);
        known.transpose().map_err(raise)?.map(|opened| PollReply::new(py, opened)).transpose()
    }

    #[pyo3(signature = (frame, canister_id, *, generation, now_ns))]
    fn open_message(
        &self,
        py: Python<'_>,
        frame: &[u8],
        canister_id: &[u8],
        generation: Wire,
        now_ns: u64,
    ) -> PyResult<CertifiedMessage> {
        let opened = py.detach(|| message::open_message(&self.core, frame, canister_id, generation.0, now_ns));
        opened.map(CertifiedMessage).map_err(raise)
    }

    /// Verifies the body of an HTTP request.
    #[pyo3(signature = (body, *, now_ns))]
    fn open_request(&self, py: Python<'_>, body: &[u8], now_ns: u64) -> PyResult<Request> {
        let opened = py.detach(|| envelope::open_request(body, now_ns, &self.core));
        Ok(Request::new(py, opened.map_err(raise)?))
    }

    /// Verifies a client's WebSocket frame of wire generations v1 and v2.
    #[pyo3(signature = (frame, *, now_ns))]
    fn open_envelope(&self, py: Python<'_>, frame: &[u8], now_ns: u64) -> PyResult<Request> {
        let opened = py.detach(|| envelope::open_frame(frame, now_ns, &self.core));
        Ok(Request::new(py, opened.map_err(raise)?))
    }

    /// Verifies a client's WebSocket frame unless that is costly.
    #[pyo3(signature = (frame, *, now_ns))]
    fn open_envelope_if_cheap(&self, py: Python<'_>, frame: &[u8], now_ns: u64) -> PyResult<Option<Request>> {
        let opened = py.detach(|| envelope::open_frame_if_cheap(frame, now_ns, &self.core)).map_err(raise)?;
        Ok(opened.map(|request| Request::new(py, request)))
    }

    /// Verifies the first frame of wire generation v0.
    fn open_first_message<'py>(&self, py: Python<'py>, frame: &[u8]) -> PyResult<FirstMessage<'py>> {
        let message = py.detach(|| first_message::open(frame)).map_err(raise)?;
        let bytes = |part| PyBytes::new(py, part);
        let (key, canister) = (bytes(message.client_key), bytes(message.canister_id));
        Ok((key, canister, bytes(message.content), bytes(message.signature)))
    }
}

/// The signature of a certificate, verified by nobody: certificates of one subnet and round have the same.
#[pyfunction]
pub fn signature_of_certificate<'py>(py: Python<'py>, certificate: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let decoded = certificate::Certificate::decode(certificate).map_err(raise)?;
    Ok(PyBytes::new(py, &decoded.signature))
}

impl Verifier {
    fn verify(&self, py: Python<'_>, certificate: &[u8], subject: Subject<'_>, now_ns: u64) -> PyResult<CertifiedTree> {
        let certified = py.detach(|| self.core.verify(certificate, subject, Some(now_ns)));
        certified.map(CertifiedTree).map_err(raise)
    }
}

#[pyclass(frozen, module = "appliance._native")]
pub struct CertifiedTree(Arc<Certified>);

#[pymethods]
impl CertifiedTree {
    #[getter]
    fn time_ns(&self) -> u64 {
        self.0.time_ns
    }

    #[getter]
    fn subnet_id<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.subnet_id.as_ref().map(|id| PyBytes::new(py, id))
    }

    #[getter]
    fn tree(&self) -> HashTree {
        HashTree(self.0.tree.clone())
    }

    fn lookup<'py>(&self, py: Python<'py>, path: Path) -> PyResult<Option<Bound<'py, PyBytes>>> {
        lookup(py, &self.0.tree, &path)
    }

    fn children<'py>(&self, py: Python<'py>, path: Path) -> PyResult<Bound<'py, PyList>> {
        children(py, &self.0.tree, &path)
    }
}
