//! Polls whose query is signed, and whose reply is read, on the threads of the HTTP client.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use icws_client::{Answer, Question, Reading, Response};
use icws_core::certificate;
use icws_core::content::{Content, Method, Operation};
use icws_core::envelope;
use icws_core::message::Generation;
use icws_core::poll::{self, Queue};
use icws_core::query_reply::{NodeKeys, Outcome, read_query_reply_unverified, verify_query_reply};
use icws_core::request_id::Hash;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::raise;
use crate::keys::{KeyPair, SigningKey};
use crate::messages::{PollReply, Wire};
use crate::queries::KnownNodes;
use crate::verifier::Verifier;

/// Replies beyond are read on a thread of their own: a tree of empty nodes takes 0.1 ms for each KiB.
const READ_AT_ONCE: usize = 32 * 1024;

/// The queue of one canister, and what its replies are verified by.
#[pyclass(frozen, module = "appliance._native")]
pub struct PollQueue(Arc<CanisterQueue>);

struct CanisterQueue {
    verifier: Arc<certificate::Verifier>,
    canister_id: Vec<u8>,
    generation: Generation,
    gateway: Vec<u8>,
    /// None where the signatures of nodes are not verified.
    max_age_ns: Option<u64>,
}

#[pymethods]
impl PollQueue {
    #[new]
    #[pyo3(signature = (verifier, canister_id, *, generation, gateway, max_age_ns))]
    fn new(verifier: &Verifier, canister_id: &[u8], generation: Wire, gateway: &[u8], max_age_ns: Option<u64>) -> Self {
        let verifier = Arc::clone(&verifier.core);
        let (canister_id, gateway) = (canister_id.to_vec(), gateway.to_vec());
        Self(Arc::new(CanisterQueue { verifier, canister_id, generation: generation.0, gateway, max_age_ns }))
    }

    #[pyo3(signature = (key, method, arg, nodes, now_ns, lifetime_ns, keeps_body, /))]
    #[allow(clippy::too_many_arguments, reason = "it is called at one place, for each poll")]
    fn ask(
        &self,
        key: &SigningKey,
        method: &str,
        arg: &[u8],
        nodes: Option<&KnownNodes>,
        now_ns: u64,
        lifetime_ns: u64,
        keeps_body: bool,
    ) -> PyResult<Poll> {
        let nodes = match (self.0.max_age_ns, nodes) {
            (None, _) => None,
            (Some(max_age_ns), Some(nodes)) => Some((Arc::clone(&nodes.0), max_age_ns)),
            (Some(_), None) => return Err(PyValueError::new_err("signatures are verified by the keys of nodes")),
        };
        // Makes each request id another one. A node signs the id, so no signed reply can be played back.
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| PyOSError::new_err(error.to_string()))?;
        let content = Content {
            operation: Operation::Query(Method { canister_id: &self.0.canister_id, name: method, arg }),
            sender: &key.0.principal,
            ingress_expiry_ns: now_ns + lifetime_ns,
            nonce: Some(&nonce),
            sender_info: None,
        };
        let (content, request_id) = content.encode().map_err(raise)?;
        Ok(Poll(Arc::new(Query {
            queue: Arc::clone(&self.0),
            key: Arc::clone(&key.0),
            content,
            request_id,
            body: OnceLock::new(),
            nodes,
            now_ns,
            begun: Instant::now(),
            keeps_body,
        })))
    }
}

/// One poll: a query, and the reading of its reply.
#[pyclass(frozen, module = "appliance._native")]
pub struct Poll(pub(crate) Arc<Query>);

pub(crate) struct Query {
    queue: Arc<CanisterQueue>,
    key: Arc<KeyPair>,
    content: Vec<u8>,
    request_id: Hash,
    body: OnceLock<Bytes>,
    nodes: Option<(Arc<NodeKeys>, u64)>,
    /// The user's clock, and when that was read.
    now_ns: u64,
    begun: Instant,
    keeps_body: bool,
}

#[pymethods]
impl Poll {
    /// Signs it, unless the client has done so.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.signed())
    }

    #[getter]
    fn request_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.request_id)
    }
}

impl Query {
    fn signed(&self) -> &Bytes {
        self.body.get_or_init(|| {
            let KeyPair { key, public_key, .. } = &*self.key;
            envelope::sign(&self.content, &self.request_id, key, public_key).into()
        })
    }

    fn now_ns(&self) -> u64 {
        self.now_ns + self.begun.elapsed().as_nanos() as u64
    }

    /// The argument of a reply that is signed, if that is wanted.
    fn argument(&self, body: &[u8]) -> Option<Vec<u8>> {
        let outcome = match &self.nodes {
            Some((nodes, max_age_ns)) => {
                verify_query_reply(body, &self.request_id, nodes, self.now_ns(), *max_age_ns).ok()?.outcome
            }
            None => read_query_reply_unverified(body).ok()?,
        };
        match outcome {
            Outcome::Replied(argument) => Some(argument),
            Outcome::Rejected { .. } => None,
        }
    }

    fn open(&self, argument: &[u8]) -> Option<Answer> {
        let CanisterQueue { verifier, canister_id, generation, gateway, .. } = &*self.queue;
        let (begun, queue) = (Instant::now(), Queue { gateway: Some(gateway), allow_holes: true });
        let reply = poll::open_poll_reply(verifier, argument, canister_id, *generation, queue, self.now_ns());
        Some(self.opened(reply.ok()?, begun))
    }

    /// The same where no signature of a certificate has to be verified; else what has to be opened.
    fn recall(&self, argument: Vec<u8>) -> Result<Option<Answer>, Vec<u8>> {
        let CanisterQueue { verifier, canister_id, generation, gateway, .. } = &*self.queue;
        let (begun, queue) = (Instant::now(), Queue { gateway: Some(gateway), allow_holes: true });
        match poll::recall_poll_reply(verifier, &argument, canister_id, *generation, queue, self.now_ns()) {
            Some(reply) => Ok(reply.ok().map(|reply| self.opened(reply, begun))),
            None => Err(argument),
        }
    }

    fn opened(&self, reply: poll::PollReply, begun: Instant) -> Answer {
        let took_ns = begun.elapsed().as_nanos() as u64;
        Box::new(Opened { reply, took_ns, keeps_body: self.keeps_body })
    }
}

/// What a poll brought. `took_ns` is without the signature of the node.
pub(crate) struct Opened {
    reply: poll::PollReply,
    took_ns: u64,
    /// Whether what came is wanted, too.
    pub(crate) keeps_body: bool,
}

/// A query as the HTTP client asks it. Whatever is not plain in a response is left to Python, which says what is wrong.
pub(crate) struct Asked(pub(crate) Arc<Query>);

impl Question for Asked {
    fn body(&self) -> Bytes {
        self.0.signed().clone()
    }

    fn read(&self, response: &Response) -> Option<Reading> {
        let kind = response.headers.get("content-type").map_or(&b""[..], |kind| kind.as_bytes());
        if response.status != 200 || kind.trim_ascii().to_ascii_lowercase().starts_with(b"text/") {
            return None;
        }
        let query = Arc::clone(&self.0);
        if response.body.len() > READ_AT_ONCE {
            return Some(Reading::Later(Box::new(move |response| query.open(&query.argument(&response.body)?))));
        }
        match query.recall(query.argument(&response.body)?) {
            Ok(answer) => answer.map(Reading::Done),
            Err(argument) => Some(Reading::Later(Box::new(move |_| query.open(&argument)))),
        }
    }
}

/// The answer to a poll as Python gets it.
#[pyclass(frozen, module = "appliance._native")]
pub struct PollAnswer {
    page: Py<PollReply>,
    took_ns: u64,
}

impl PollAnswer {
    pub(crate) fn new(py: Python<'_>, opened: Opened) -> PyResult<Self> {
        Ok(Self { page: Py::new(py, PollReply::new(py, opened.reply)?)?, took_ns: opened.took_ns })
    }
}

#[pymethods]
impl PollAnswer {
    #[getter]
    fn page(&self, py: Python<'_>) -> Py<PollReply> {
        self.page.clone_ref(py)
    }

    #[getter]
    fn took_ns(&self) -> u64 {
        self.took_ns
    }
}
