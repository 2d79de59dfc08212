//! Outcomes on their way from the client's thread to an event loop.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::endpoint::Endpoint;
use crate::exchange::Response;
use crate::failure::Failure;

/// The outcome of an exchange.
pub struct Completion {
    /// That of the exchange.
    pub id: u64,
    /// That which was asked.
    pub endpoint: Arc<Endpoint>,
    /// What came of it.
    pub result: Result<Response, Failure>,
}

/// Outcomes that wait for the event loop, and a descriptor that is readable while there may be some: one wake-up for
/// many. There are never more than exchanges under way.
///
/// A pair of sockets and not an eventfd, which only Linux has; a wake-up is one byte.
pub struct Completions {
    waiting: Mutex<Vec<Completion>>,
    waker: UnixStream,
    woken: UnixStream,
}

impl Completions {
    /// Without outcomes.
    pub fn new() -> std::io::Result<Self> {
        let (waker, woken) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        Ok(Self { waiting: Mutex::default(), waker, woken })
    }

    /// The descriptor to watch for being readable.
    pub fn wake_fd(&self) -> RawFd {
        self.woken.as_raw_fd()
    }

    /// Adds an outcome, and wakes the event loop unless it is being woken for others already.
    pub fn put(&self, completion: Completion) {
        let was_empty = {
            let mut waiting = self.lock();
            waiting.push(completion);
            waiting.len() == 1
        };
        if was_empty {
            // It can only fail because the socket is full, and then the event loop is awake.
            let _ = (&self.waker).write(&[1]);
        }
    }

    /// Takes all outcomes.
    pub fn take(&self) -> Vec<Completion> {
        // The wake-ups are cleared first. The other way round, an outcome that comes in between would lose its own.
        self.clear();
        std::mem::take(&mut *self.lock())
    }

    fn clear(&self) {
        let mut bytes = [0; 64];
        loop {
            match (&self.woken).read(&mut bytes) {
                Ok(count) if count == bytes.len() => (),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                _ => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Completion>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::thread;

    use super::{Completion, Completions};
    use crate::address::Address;
    use crate::endpoint::Endpoint;
    use crate::failure::Failure;

    fn closed(id: u64) -> Completion {
        let address = Address::parse("http://127.0.0.1:1").unwrap();
        Completion { id, endpoint: Arc::new(Endpoint::new(String::new(), address, None)), result: Err(Failure::Closed) }
    }

    #[test]
    fn many_outcomes_are_one_wake_up() {
        let completions = Completions::new().unwrap();
        for id in 0..100 {
            completions.put(closed(id));
        }
        let mut byte = [0; 8];
        assert_eq!(std::io::Read::read(&mut &completions.woken, &mut byte).unwrap(), 1);
        assert_eq!(completions.take().len(), 100);
        assert!(completions.take().is_empty());
    }

    /// Waits for the descriptor before each look, as an event loop does: a lost wake-up would block it for ever.
    #[test]
    fn no_wake_up_is_lost() {
        const EACH: u64 = 20_000;
        let completions = Arc::new(Completions::new().unwrap());
        let readable = UnixReadable::new(&completions);
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let completions = Arc::clone(&completions);
                thread::spawn(move || (0..EACH).for_each(|id| completions.put(closed(writer * EACH + id))))
            })
            .collect();
        let mut seen = 0;
        while seen < 2 * EACH {
            readable.wait();
            seen += completions.take().len() as u64;
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }

    /// Blocks on a copy of the descriptor without taking anything from it.
    struct UnixReadable(tokio::runtime::Runtime, std::os::unix::net::UnixStream);

    impl UnixReadable {
        fn new(completions: &Completions) -> Self {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            Self(runtime, completions.woken.as_fd().try_clone_to_owned().unwrap().into())
        }

        fn wait(&self) {
            self.0.block_on(async {
                let stream = tokio::net::UnixStream::from_std(self.1.try_clone().unwrap()).unwrap();
                stream.readable().await.unwrap();
            });
        }
    }
}
