//! An endpoint, the way to it, and its connections that are not in use.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper::header::HeaderValue;
use tokio::time::Instant;

use crate::address::Address;

/// The sending half of a connection. What belongs to it on the runtime ends when this is dropped.
pub type Sender = SendRequest<Full<Bytes>>;

/// How long a connection is kept without being used. Servers and address translators close them without a word after
/// half a minute or more.
const KEPT: Duration = Duration::from_secs(15);

/// An HTTP proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: ProxyAddress,
    /// The value of `Proxy-Authorization`, if it wants one.
    pub authorization: Option<HeaderValue>,
}

/// Where a proxy listens.
#[derive(Clone, Debug)]
pub enum ProxyAddress {
    /// On the network.
    Http(Address),
    /// At a Unix socket of this machine. Such a proxy opens tunnels for `http` endpoints, too: it needs to know no more.
    Unix(PathBuf),
}

/// An endpoint with its own pool of connections, which are closed when it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    /// For messages: its address and the proxy, which may have spoken in its place.
    pub name: String,
    pub(crate) address: Address,
    pub(crate) proxy: Option<Proxy>,
    /// The one that was used last is at the end.
    idle: Mutex<VecDeque<Idle>>,
    process: u32,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Endpoint {
    /// An endpoint without connections.
    pub fn new(name: String, address: Address, proxy: Option<Proxy>) -> Self {
        Self { name, address, proxy, idle: Mutex::default(), process: process::id() }
    }

    /// Whether requests are sent to the proxy itself, instead of through a tunnel.
    pub(crate) fn is_forwarded(&self) -> bool {
        let is_http = |proxy: &Proxy| matches!(proxy.address, ProxyAddress::Http(_));
        !self.address.is_secure && self.proxy.as_ref().is_some_and(is_http)
    }

    /// A kept connection, the one that was used last. It may be dead without anybody knowing.
    pub(crate) fn take(&self) -> Option<Sender> {
        let mut idle = self.lock();
        while let Some(last) = idle.pop_back() {
            if last.since.elapsed() >= KEPT {
                idle.clear(); // the others are older
                return None;
            }
            if !last.sender.is_closed() {
                return Some(last.sender);
            }
        }
        None
    }

    /// Keeps a connection that is ready for the next request.
    pub(crate) fn keep(&self, sender: Sender) {
        let mut idle = self.lock();
        // From the front only: after a burst there are thousands, and this happens at each response.
        while idle.front().is_some_and(|oldest| oldest.since.elapsed() >= KEPT || oldest.sender.is_closed()) {
            idle.pop_front();
        }
        idle.push_back(Idle { sender, since: Instant::now() });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if process::id() != self.process {
            // A copy made by fork: closing would go through the runtime of the other process.
            std::mem::forget(self.idle.get_mut().map(std::mem::take));
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::DuplexStream;

    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::new(String::new(), Address::parse("http://127.0.0.1:1").unwrap(), None)
    }

    async fn connection() -> (Sender, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1024);
        let (sender, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        (sender, theirs)
    }

    /// On a clock that jumps to the next thing that is due.
    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test);
    }

    #[test]
    fn connections_are_used_until_they_are_too_old() {
        run(async {
            let (endpoint, mut servers) = (endpoint(), Vec::new());
            for age in 0..3 {
                let (sender, server) = connection().await;
                servers.push(server);
                endpoint.keep(sender);
                tokio::time::sleep(KEPT / 4 * (age + 1)).await;
            }
            // They are 6, 5 and 3 quarters old.
            assert!(endpoint.take().is_some());
            assert!(endpoint.take().is_none());
            assert!(endpoint.lock().is_empty());
        });
    }

    #[test]
    fn a_connection_that_the_server_closed_is_skipped_and_old_ones_are_dropped() {
        run(async {
            let endpoint = endpoint();
            let (first, server) = connection().await;
            endpoint.keep(first);
            let (second, closing) = connection().await;
            endpoint.keep(second);
            drop(closing);
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(endpoint.take().is_some(), "the first");
            assert!(endpoint.take().is_none());
            drop(server);
            for _ in 0..3 {
                endpoint.keep(connection().await.0);
                tokio::time::sleep(KEPT).await;
            }
            assert_eq!(endpoint.lock().len(), 1);
        });
    }
}
