//! One request and its response.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::{Method, Uri};

use crate::dial::{Dialer, broken};
use crate::endpoint::{Endpoint, Sender};
use crate::failure::Failure;

/// A request: POST with a body, GET without.
#[derive(Clone)]
pub struct Request {
    /// The endpoint that it is sent to.
    pub endpoint: Arc<Endpoint>,
    /// The path at the endpoint.
    pub path: String,
    /// CBOR.
    pub body: Payload,
    /// The most bytes that the body of the response may have.
    pub limit: u64,
    /// For the whole exchange.
    pub timeout: Duration,
}

/// What a request sends.
#[derive(Clone)]
pub enum Payload {
    /// Nothing.
    None,
    /// A body.
    Body(Bytes),
    /// A body that is written on the client's thread, and a response that is read on its threads.
    Question(Arc<dyn Question>),
}

/// A request whose user wants its response read. Both methods are called on the client's thread, so that they must not
/// take longer than some ten microseconds for each KiB.
pub trait Question: Send + Sync {
    /// The body, the same each time.
    fn body(&self) -> Bytes;

    /// Reads a response; None leaves it to the user as it came.
    fn read(&self, response: &Response) -> Option<Reading>;
}

/// What comes of reading a response.
pub enum Reading {
    /// It was read.
    Done(Answer),
    /// It takes long, and is read on another thread.
    Later(Later),
}

/// Reads a response on a thread of its own; None leaves it to the user.
pub type Later = Box<dyn FnOnce(&Response) -> Option<Answer> + Send>;

/// What was read, which its user knows the type of.
pub type Answer = Box<dyn Any + Send>;

/// A whole response.
#[derive(Debug)]
pub struct Response {
    /// 100 to 999.
    pub status: u16,
    /// As sent.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
    /// What was read of it.
    pub answer: Option<Answer>,
}

/// Why an attempt on one connection failed.
struct Attempt {
    failure: Failure,
    /// Whether a part of a response has arrived.
    is_answered: bool,
}

/// Sends a request and reads its response, on a kept connection or a new one. Returns the connection, too, which may
/// have to finish before it is ready for another request.
pub async fn exchange(dialer: &Dialer, request: &Request) -> Result<(Response, Sender), Failure> {
    let whole = tokio::time::timeout(request.timeout, on_kept_or_new(dialer, request));
    whole.await.unwrap_or(Err(Failure::Timeout(request.timeout)))
}

async fn on_kept_or_new(dialer: &Dialer, request: &Request) -> Result<(Response, Sender), Failure> {
    if let Some(kept) = request.endpoint.take() {
        match attempt(kept, request).await {
            // The server closed it while it was kept. Every request of the IC may be sent twice.
            Err(Attempt { is_answered: false, .. }) => (),
            outcome => return outcome.map_err(|attempt| attempt.failure),
        }
    }
    let new = dialer.dial(&request.endpoint).await?;
    attempt(new, request).await.map_err(|attempt| attempt.failure)
}

async fn attempt(mut sender: Sender, request: &Request) -> Result<(Response, Sender), Attempt> {
    let head = encode(request).map_err(|failure| Attempt { failure, is_answered: true })?;
    let response = sender
        .send_request(head)
        .await
        .map_err(|error| Attempt { is_answered: error.is_parse(), failure: broken(error) })?;
    let (head, body) = response.into_parts();
    let body = read(body, request.limit).await.map_err(|failure| Attempt { failure, is_answered: true })?;
    Ok((Response { status: head.status.as_u16(), headers: head.headers, body, answer: None }, sender))
}

fn encode(request: &Request) -> Result<hyper::Request<Full<Bytes>>, Failure> {
    let endpoint = &request.endpoint;
    let path = [endpoint.address.path.as_str(), request.path.as_str()].concat();
    let target = if endpoint.is_forwarded() { format!("http://{}{path}", endpoint.address.authority) } else { path };
    let target: Uri = target.parse().map_err(|error| Failure::Broken(format!("{error}")))?;
    let host =
        HeaderValue::from_str(&endpoint.address.authority).map_err(|error| Failure::Broken(error.to_string()))?;
    let (method, body) = match &request.body {
        Payload::None => (Method::GET, Bytes::new()),
        Payload::Body(body) => (Method::POST, body.clone()),
        Payload::Question(question) => (Method::POST, question.body()),
    };
    let mut encoded = hyper::Request::new(Full::new(body));
    *encoded.uri_mut() = target;
    *encoded.method_mut() = method;
    let headers = encoded.headers_mut();
    headers.insert(HOST, host);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(USER_AGENT, HeaderValue::from_static("icws"));
    if let (true, Some(proxy)) = (endpoint.is_forwarded(), &endpoint.proxy) {
        headers.extend(proxy.authorization.clone().map(|value| (PROXY_AUTHORIZATION, value)));
    }
    Ok(encoded)
}

/// Reads a body, of at most `limit` bytes: it is dropped, and its connection with it, as soon as it is longer.
///
/// Into one buffer and not a list of parts: a server may send chunks of one byte, and a part has 32 bytes of its own.
async fn read(mut body: Incoming, limit: u64) -> Result<Vec<u8>, Failure> {
    if let Some(size) = body.size_hint().exact().filter(|size| *size > limit) {
        return Err(Failure::TooLarge { size, limit });
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(part) = frame.map_err(broken)?.into_data() else { continue };
        let size = (whole.len() + part.len()) as u64;
        if size > limit {
            return Err(Failure::TooLarge { size, limit });
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}
