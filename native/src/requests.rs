//! Requests: their fields, read without trust, and encoded. The verifier opens them.

use icws_core::argument;
use icws_core::content::{Content, Method, Operation};
use icws_core::envelope::{self, SignedDelegation};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::errors::raise;

/// From this many bytes on, decoding and hashing take longer than to give the GIL away and have it back.
const HEAVY: usize = 32 * 1024;

/// The content of an envelope. From a Verifier it is what the sender signed.
#[pyclass(frozen, module = "appliance._native")]
pub struct Request {
    /// Without its body.
    fields: envelope::Request,
    body: Py<PyBytes>,
}

impl Request {
    pub(crate) fn new(py: Python<'_>, mut request: envelope::Request) -> Self {
        let body = PyBytes::new(py, &std::mem::take(&mut request.body)).unbind();
        Self { fields: request, body }
    }
}

#[pymethods]
impl Request {
    #[getter]
    fn request_type(&self) -> &'static str {
        self.fields.request_type
    }

    #[getter]
    fn request_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.fields.request_id)
    }

    #[getter]
    fn sender<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.fields.sender)
    }

    #[getter]
    fn ingress_expiry_ns(&self) -> u64 {
        self.fields.ingress_expiry_ns
    }

    #[getter]
    fn nonce<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.fields.nonce.as_ref().map(|nonce| PyBytes::new(py, nonce))
    }

    #[getter]
    fn canister_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.fields.canister_id)
    }

    #[getter]
    fn method_name(&self) -> &str {
        &self.fields.method_name
    }

    #[getter]
    fn arg<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.body.as_bytes(py)[self.fields.arg.clone()])
    }

    #[getter]
    fn paths<'py>(&self, py: Python<'py>) -> Vec<Vec<Bound<'py, PyBytes>>> {
        self.fields.paths.iter().map(|path| path.iter().map(|label| PyBytes::new(py, label)).collect()).collect()
    }

    #[getter]
    fn targets<'py>(&self, py: Python<'py>) -> Option<Vec<Bound<'py, PyBytes>>> {
        self.fields.targets.as_ref().map(|targets| targets.iter().map(|id| PyBytes::new(py, id)).collect())
    }

    #[getter]
    fn body(&self, py: Python<'_>) -> Py<PyBytes> {
        self.body.clone_ref(py)
    }

    #[getter]
    fn sequence_num(&self, py: Python<'_>) -> Option<u64> {
        argument::sequence_num(&self.body.as_bytes(py)[self.fields.arg.clone()])
    }
}

/// Decodes a frame as Verifier.open_envelope does, and verifies nothing.
#[pyfunction]
pub fn read_envelope_unverified(py: Python<'_>, frame: &[u8]) -> PyResult<Request> {
    let read = weighing(py, frame.len(), || envelope::read_frame_unverified(frame));
    Ok(Request::new(py, read.map_err(raise)?))
}

/// Leaves the GIL for work on many bytes only.
fn weighing<T: Send>(py: Python<'_>, size: usize, work: impl FnOnce() -> T + Send) -> T {
    if size < HEAVY { work() } else { py.detach(work) }
}

/// The content of a request as CBOR (untagged) and its request id.
#[pyfunction]
#[pyo3(signature = (
    request_type, *, sender, ingress_expiry_ns, canister_id=None, method_name=None, arg=None, paths=None, nonce=None
))]
#[allow(clippy::too_many_arguments, reason = "they are named ones in Python")]
pub fn encode_content<'py>(
    py: Python<'py>,
    request_type: &str,
    sender: &[u8],
    ingress_expiry_ns: u64,
    canister_id: Option<&[u8]>,
    method_name: Option<&str>,
    arg: Option<&[u8]>,
    paths: Option<Vec<Vec<PyBackedBytes>>>,
    nonce: Option<&[u8]>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let method = match (canister_id, method_name, arg) {
        (Some(canister_id), Some(name), Some(arg)) => Some(Method { canister_id, name, arg }),
        (None, None, None) => None,
        _ => return Err(PyTypeError::new_err("canister_id, method_name and arg go together")),
    };
    let operation = match (request_type, method, &paths) {
        ("call", Some(method), None) => Operation::Call(method),
        ("query", Some(method), None) => Operation::Query(method),
        ("read_state", None, Some(paths)) => {
            Operation::ReadState(paths.iter().map(|path| path.iter().map(AsRef::as_ref).collect()).collect())
        }
        ("call" | "query" | "read_state", ..) => {
            return Err(PyTypeError::new_err(
                "call and query take canister_id, method_name and arg; read_state takes paths",
            ));
        }
        _ => return Err(PyValueError::new_err(format!("no request type {request_type:?}"))),
    };
    let content = Content { operation, sender, ingress_expiry_ns, nonce, sender_info: None };
    let (content, id) = weighing(py, arg.map_or(0, <[u8]>::len), || content.encode()).map_err(raise)?;
    Ok((PyBytes::new(py, &content), PyBytes::new(py, &id)))
}

/// A delegation as Python gives it: public key, expiration, targets, signature.
type DelegationTuple = (PyBackedBytes, u64, Option<Vec<PyBackedBytes>>, PyBackedBytes);

/// A tagged envelope around a content.
#[pyfunction]
#[pyo3(
    signature = (content, *, public_key=None, signature=None, delegations=Vec::new()),
    text_signature = "(content, *, public_key=None, signature=None, delegations=())"
)]
pub fn encode_envelope<'py>(
    py: Python<'py>,
    content: &[u8],
    public_key: Option<&[u8]>,
    signature: Option<&[u8]>,
    delegations: Vec<DelegationTuple>,
) -> Bound<'py, PyBytes> {
    let links: Vec<_> = delegations.iter().map(borrowed).collect();
    PyBytes::new(py, &envelope::encode(content, public_key, signature, &links))
}

fn borrowed((public_key, expiration_ns, targets, signature): &DelegationTuple) -> SignedDelegation<'_> {
    let targets = targets.as_ref().map(|targets| targets.iter().map(AsRef::as_ref).collect());
    SignedDelegation { public_key, expiration_ns: *expiration_ns, targets, signature }
}
