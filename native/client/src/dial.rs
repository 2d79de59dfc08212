//! New connections: name, TCP, proxy, TLS.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Empty, Full};
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;

use crate::address::Address;
use crate::endpoint::{Endpoint, Proxy, ProxyAddress, Sender};
use crate::failure::{Failure, with_causes};
use crate::names::Names;
use crate::trust::system_connector;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens connections. Names are resolved by the system, and addresses of both families raced (RFC 8305).
pub struct Dialer {
    connector: HttpConnector<Names>,
    trust: OnceCell<TlsConnector>,
    timeout: Duration,
}

impl Dialer {
    /// `timeout` is for everything before the first request.
    pub fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new_with_resolver(Names::of_system());
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeout)); // divided among the addresses of a name
        Self { connector, trust: OnceCell::new(), timeout }
    }

    /// A new connection to an endpoint, ready for a request.
    pub async fn dial(&self, endpoint: &Endpoint) -> Result<Sender, Failure> {
        let connected = tokio::time::timeout(self.timeout, self.connect(endpoint)).await;
        let stream = connected.unwrap_or(Err(Failure::ConnectTimeout(self.timeout)))?;
        let (sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
        // Its errors reach whoever waits for a response.
        tokio::spawn(async { drop(connection.await) });
        Ok(sender)
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Box<dyn Stream>, Failure> {
        let address = &endpoint.address;
        let Some(proxy) = &endpoint.proxy else {
            return self.secured(self.tcp(address).await?, address).await;
        };
        let stream = match &proxy.address {
            ProxyAddress::Http(address) => self.secured(self.tcp(address).await?, address).await?,
            ProxyAddress::Unix(path) => unix(path).await?,
        };
        if endpoint.is_forwarded() {
            return Ok(stream);
        }
        self.secured(tunnel(stream, proxy, address).await?, address).await
    }

    async fn tcp(&self, address: &Address) -> Result<Box<dyn Stream>, Failure> {
        let uri = format!("http://{}", address.host_and_port());
        let uri = uri.parse().map_err(|error| Failure::Connect(format!("{error}")))?;
        let stream = self.connector.clone().call(uri).await.map_err(|error| self.refused(&error))?;
        Ok(Box::new(stream.into_inner()))
    }

    fn refused(&self, error: &(dyn Error + 'static)) -> Failure {
        let mut cause = Some(error);
        while let Some(each) = cause {
            if each.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
                return Failure::ConnectTimeout(self.timeout);
            }
            cause = each.source();
        }
        Failure::Connect(with_causes(error))
    }

    async fn secured(&self, stream: Box<dyn Stream>, address: &Address) -> Result<Box<dyn Stream>, Failure> {
        if !address.is_secure {
            return Ok(stream);
        }
        let name = ServerName::try_from(address.host.clone()).map_err(|error| Failure::Tls(error.to_string()))?;
        let trust = self.trust.get_or_try_init(load_trust).await?;
        let stream = trust.connect(name, stream).await.map_err(|error| Failure::Tls(with_causes(&error)))?;
        Ok(Box::new(stream))
    }
}

async fn unix(path: &Path) -> Result<Box<dyn Stream>, Failure> {
    let stream = UnixStream::connect(path).await.map_err(|error| Failure::Connect(error.to_string()))?;
    Ok(Box::new(stream))
}

async fn load_trust() -> Result<TlsConnector, Failure> {
    let loaded = tokio::task::spawn_blocking(system_connector).await;
    loaded.unwrap_or_else(|error| Err(Failure::Tls(error.to_string())))
}

/// Has a proxy connect to an address (RFC 9110 section 9.3.6).
async fn tunnel(stream: Box<dyn Stream>, proxy: &Proxy, address: &Address) -> Result<Box<dyn Stream>, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async { drop(connection.with_upgrades().await) });
    let target = address.host_and_port();
    let mut request = Request::builder().method(Method::CONNECT).uri(&target).header(HOST, &target);
    if let Some(authorization) = &proxy.authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| Failure::Connect(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    if !response.status().is_success() {
        let status = response.status();
        let reason = response.extensions().get::<ReasonPhrase>().map(|reason| reason.as_bytes());
        return Err(Failure::ProxyRefused { status: status.as_u16(), reason: reason_text(status, reason) });
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

/// hyper keeps a reason phrase only where it differs from that of the standard.
fn reason_text(status: StatusCode, reason: Option<&[u8]>) -> String {
    reason.map_or_else(
        || status.canonical_reason().unwrap_or_default().to_owned(),
        |reason| String::from_utf8_lossy(reason).into_owned(),
    )
}

pub fn broken(error: hyper::Error) -> Failure {
    Failure::Broken(with_causes(&error))
}
