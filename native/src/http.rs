//! Exchanges with endpoints. The client's thread never attaches to Python: outcomes wait until the event loop, woken by
//! a descriptor, takes them.

use std::sync::Arc;
use std::time::Duration;

use icws_client::{Address, Client, Completion, Endpoint, Failure, Payload, Proxy, ProxyAddress, Request, Response};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::polls::{Asked, Opened, Poll, PollAnswer};

import_exception!(appliance.errors, IcUnreachable);
import_exception!(appliance.errors, ReplyTooLarge);

/// The headers that somebody reads, by the names that Python looks them up by.
const READ_HEADERS: [(&str, &str); 3] =
    [("content-type", "Content-Type"), ("location", "Location"), ("retry-after", "Retry-After")];

/// The way to an endpoint, with its own kept connections.
#[pyclass(frozen, module = "appliance._native")]
pub struct HttpEndpoint(Arc<Endpoint>);

#[pymethods]
impl HttpEndpoint {
    #[new]
    #[pyo3(signature = (name, url, proxy = None, proxy_authorization = None))]
    fn new(name: String, url: &str, proxy: Option<&str>, proxy_authorization: Option<&str>) -> PyResult<Self> {
        let authorization = proxy_authorization.map(str::parse).transpose();
        let authorization = authorization.map_err(|_| PyValueError::new_err("credentials with control characters"))?;
        let proxy = proxy.map(proxy_address).transpose()?.map(|address| Proxy { address, authorization });
        Ok(Self(Arc::new(Endpoint::new(name, address(url)?, proxy))))
    }
}

fn address(url: &str) -> PyResult<Address> {
    Address::parse(url).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn proxy_address(proxy: &str) -> PyResult<ProxyAddress> {
    match proxy.strip_prefix("unix:") {
        Some(path) => Ok(ProxyAddress::Unix(path.into())),
        None => address(proxy).map(ProxyAddress::Http),
    }
}

/// Runs exchanges on a thread of its own.
#[pyclass(frozen, module = "appliance._native")]
pub struct HttpClient(Client);

#[pymethods]
impl HttpClient {
    #[new]
    fn new(connect_timeout_s: f64) -> PyResult<Self> {
        Ok(Self(Client::start(seconds(connect_timeout_s)?)?))
    }

    /// Readable while there may be outcomes to take.
    fn fileno(&self) -> i32 {
        self.0.wake_fd()
    }

    fn begin(
        &self,
        endpoint: &HttpEndpoint,
        path: String,
        body: Option<&Bound<'_, PyAny>>,
        max_reply: u64,
        timeout_s: f64,
    ) -> PyResult<u64> {
        let request = Request {
            endpoint: Arc::clone(&endpoint.0),
            path,
            body: payload(body)?,
            limit: max_reply,
            timeout: seconds(timeout_s)?,
        };
        self.0.begin(request).map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }

    fn cancel(&self, exchange: u64) {
        self.0.cancel(exchange);
    }

    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let outcomes = PyList::empty(py);
        for Completion { id, endpoint, result } in self.0.take() {
            // Each has an outcome, whatever happens: those that an error took with it would be waited for without an end.
            match result.map(|response| converted(py, response)) {
                Ok(Ok(response)) => outcomes.append((id, response))?,
                Ok(Err(error)) => outcomes.append((id, unconverted(&endpoint.name, &error)))?,
                Err(failure) => outcomes.append((id, raised(&endpoint.name, failure)))?,
            }
        }
        Ok(outcomes)
    }

    fn close(&self, py: Python<'_>, deadline_s: f64) -> PyResult<bool> {
        let deadline = seconds(deadline_s)?;
        Ok(py.detach(|| self.0.close(deadline)))
    }
}

fn payload(body: Option<&Bound<'_, PyAny>>) -> PyResult<Payload> {
    let Some(body) = body else { return Ok(Payload::None) };
    if let Ok(poll) = body.cast::<Poll>() {
        return Ok(Payload::Question(Arc::new(Asked(Arc::clone(&poll.get().0)))));
    }
    Ok(Payload::Body(body.extract::<&[u8]>()?.to_vec().into()))
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Status, the headers that are read, the body, and what was read of that.
type Converted<'py> = (u16, Bound<'py, PyDict>, Bound<'py, PyBytes>, Option<PollAnswer>);

fn converted(py: Python<'_>, response: Response) -> PyResult<Converted<'_>> {
    let Response { status, headers: sent, body, answer } = response;
    let headers = PyDict::new(py);
    if let Some(opened) = answer.and_then(|answer| answer.downcast::<Opened>().ok()) {
        let body = bytes(py, if opened.keeps_body { &body } else { &[] })?;
        return Ok((status, headers, body, Some(PollAnswer::new(py, *opened)?)));
    }
    for (name, read) in READ_HEADERS {
        if let Some(value) = sent.get(name) {
            headers.set_item(read, String::from_utf8_lossy(value.as_bytes()))?;
        }
    }
    Ok((status, headers, bytes(py, &body)?, None))
}

/// Not PyBytes::new, which panics where there is no memory.
fn bytes<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, body.len(), |bytes| {
        bytes.copy_from_slice(body);
        Ok(())
    })
}

fn unconverted(endpoint: &str, error: &PyErr) -> PyErr {
    IcUnreachable::new_err((endpoint.to_owned(), format!("its response cannot be taken over: {error}")))
}

fn raised(endpoint: &str, failure: Failure) -> PyErr {
    match failure {
        Failure::TooLarge { size, limit } => ReplyTooLarge::new_err(("reply of the IC", size, limit)),
        other => IcUnreachable::new_err((endpoint.to_owned(), other.to_string())),
    }
}
