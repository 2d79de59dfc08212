//! Names of endpoints: one question to the system for each name at a time, however many connections wait for it.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::vec::IntoIter;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tower_service::Service;

/// The addresses, or the kind and the text of an error: `io::Error` cannot be copied.
type Found = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;
type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Resolves names in threads of the runtime. A thread cannot be stopped: a name whose server hangs takes one until the
/// system gives up, and without this it would take all of them, one for each attempt to connect.
#[derive(Clone)]
pub struct Names {
    lookup: Arc<Lookup>,
    under_way: Arc<Mutex<HashMap<String, watch::Receiver<Option<Found>>>>>,
}

impl Names {
    /// By the system (`getaddrinfo`).
    pub fn of_system() -> Self {
        Self::new(|host| Ok((host, 0).to_socket_addrs()?.collect()))
    }

    fn new(lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), under_way: Arc::default() }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Option<Found>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the question that is under way for a name, or asks.
    fn ask(&self, host: &str) -> watch::Receiver<Option<Found>> {
        let mut under_way = self.under_way();
        // Without its sender it was given up: nobody would answer.
        if let Some(asked) = under_way.get(host).filter(|asked| asked.has_changed().is_ok()) {
            return asked.clone();
        }
        let (answer, asked) = watch::channel(None);
        under_way.insert(host.to_owned(), asked.clone());
        let (names, host) = (self.clone(), host.to_owned());
        spawn_blocking(move || {
            let found = (names.lookup)(&host).map_err(|error| (error.kind(), error.to_string()));
            names.under_way().remove(&host);
            answer.send_replace(Some(found));
        });
        asked
    }
}

impl Service<Name> for Names {
    type Response = IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let mut asked = self.ask(name.as_str());
        Box::pin(async move {
            let found = asked.wait_for(Option::is_some).await.map_err(io::Error::other)?.clone();
            let addresses =
                found.unwrap_or_else(|| Ok(Vec::new())).map_err(|(kind, text)| io::Error::new(kind, text))?;
            Ok(addresses.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use tokio::runtime::Builder;

    use super::*;

    fn name(host: &str) -> Name {
        Name::from_str(host).expect("a name")
    }

    #[test]
    fn a_name_that_hangs_takes_one_thread_and_others_are_resolved() {
        let (release, released) = mpsc::channel::<()>();
        let (released, asked) = (Mutex::new(released), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let mut names = Names::new(move |host| {
            count.fetch_add(1, Ordering::SeqCst);
            if host == "slow.example" {
                released.lock().expect("one at a time").recv().expect("the end of the test");
            }
            Ok(vec![SocketAddr::from(([192, 0, 2, 1], 0))])
        });
        let runtime = Builder::new_current_thread().max_blocking_threads(2).build().expect("a runtime");
        runtime.block_on(async {
            let waiting: Vec<_> = (0..100).map(|_| names.call(name("slow.example"))).collect();
            let found: Vec<_> = names.call(name("fast.example")).await.expect("an address").collect();
            assert_eq!(found, [SocketAddr::from(([192, 0, 2, 1], 0))]);
            release.send(()).expect("it waits");
            for each in waiting {
                assert_eq!(each.await.expect("an address").count(), 1);
            }
        });
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        assert!(names.under_way().is_empty());
    }

    #[test]
    fn an_error_reaches_all_who_wait_and_the_next_asks_again() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let mut names = Names::new(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            _ => Ok(Vec::new()),
        });
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let both = [names.call(name("a.example")), names.call(name("a.example"))];
            for each in both {
                let error = each.await.expect_err("an error");
                assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::NotFound, "no such name".to_owned()));
            }
            assert_eq!(names.call(name("a.example")).await.expect("an answer").count(), 0);
        });
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_lookup_that_panics_is_an_error_and_the_next_asks_again() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let mut names = Names::new(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("in the system's resolver"),
            _ => Ok(Vec::new()),
        });
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            names.call(name("a.example")).await.expect_err("an error");
            assert_eq!(names.call(name("a.example")).await.expect("an answer").count(), 0);
        });
    }
}
