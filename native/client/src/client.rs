//! The client: a thread with a runtime, and the exchanges under way on it.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::RawFd;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, process, thread};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;

use crate::completions::{Completion, Completions};
use crate::dial::Dialer;
use crate::endpoint::{Endpoint, Sender};
use crate::exchange::{Later, Payload, Reading, Request, Response, exchange};
use crate::failure::Failure;

/// How long a connection may take after a response to be ready for the next request. It is until the rest of the
/// request is written, for a server that answers before it has read everything.
const SETTLES_WITHIN: Duration = Duration::from_secs(1);
/// Threads for names that are being resolved: each has one (`names`), and a configuration names 16 endpoints and a few
/// proxies at most.
const RESOLVERS: usize = 32;
/// Threads for responses that take long to read. Others wait, and leave the cores to the rest of the process.
const READERS: usize = 2;

/// Why a client takes no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It was closed.
    Closed,
    /// The process is a copy of the one that made it: the thread has stayed behind, and a request would never end.
    Forked,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "this HTTP client was closed",
            Self::Forked => "this HTTP client was made before the process was forked; make one in each process",
        })
    }
}

/// Runs exchanges on a thread of its own.
pub struct Client {
    shared: Arc<Shared>,
    runtime: Handle,
    process: u32,
    open: Mutex<Option<Open>>,
}

struct Shared {
    dialer: Dialer,
    completions: Completions,
    under_way: Mutex<UnderWay>,
    readers: Arc<Semaphore>,
}

#[derive(Default)]
struct UnderWay {
    last_id: u64,
    by_id: HashMap<u64, AbortHandle>,
}

/// What ends the thread, and shows that it has ended.
struct Open {
    stop: oneshot::Sender<()>,
    ended: Receiver<()>,
}

impl Client {
    /// Starts the thread. `connect_timeout` is for a new connection with all that belongs to it.
    pub fn start(connect_timeout: Duration) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(RESOLVERS + READERS).build()?;
        let handle = runtime.handle().clone();
        let shared = Arc::new(Shared {
            dialer: Dialer::new(connect_timeout),
            completions: Completions::new()?,
            under_way: Mutex::default(),
            readers: Arc::new(Semaphore::new(READERS)),
        });
        let open = run(runtime)?;
        Ok(Self { shared, runtime: handle, process: process::id(), open: Mutex::new(Some(open)) })
    }

    /// The descriptor that is readable while there may be outcomes to take.
    pub fn wake_fd(&self) -> RawFd {
        self.shared.completions.wake_fd()
    }

    /// Starts an exchange and returns its id. Its outcome will be among those of `take`.
    pub fn begin(&self, request: Request) -> Result<u64, Unusable> {
        if self.is_forked() {
            return Err(Unusable::Forked);
        }
        // Held until the end: a task for a runtime that has ended would be dropped here and now, within the other lock.
        let open = self.open();
        if open.is_none() {
            return Err(Unusable::Closed);
        }
        // Held until the task is known: it could end before, and would stay here for ever.
        let mut under_way = self.shared.under_way();
        under_way.last_id += 1;
        let id = under_way.last_id;
        let endpoint = Arc::clone(&request.endpoint);
        let outcome = Outcome { shared: Arc::clone(&self.shared), id, endpoint, result: None };
        let task = self.runtime.spawn(carry_out(outcome, request));
        under_way.by_id.insert(id, task.abort_handle());
        Ok(id)
    }

    /// Ends an exchange, if it is under way. It may have an outcome all the same.
    pub fn cancel(&self, id: u64) {
        if self.is_forked() {
            return;
        }
        let task = self.shared.under_way().by_id.remove(&id);
        if let Some(task) = task {
            task.abort();
        }
    }

    /// Takes the outcomes so far.
    pub fn take(&self) -> Vec<Completion> {
        self.shared.completions.take()
    }

    /// Ends every exchange and closes every connection; waits for that until the deadline. Returns whether all has
    /// ended. Does nothing the second time.
    pub fn close(&self, deadline: Duration) -> bool {
        if self.is_forked() {
            return true;
        }
        let Some(open) = self.open().take() else { return true };
        drop(open.stop);
        // An error is the end of the thread, too.
        !matches!(open.ended.recv_timeout(deadline), Err(mpsc::RecvTimeoutError::Timeout))
    }

    /// Whether this is another process than the one that made the client.
    pub fn is_forked(&self) -> bool {
        process::id() != self.process
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.is_forked() {
            // The signal would reach the runtime of the other process, and its locks may be held for ever here.
            std::mem::forget(self.open.get_mut().map(Option::take));
            return;
        }
        // Does not wait. The thread ends by itself, and touches nothing that ends with the process.
        self.close(Duration::ZERO);
    }
}

impl Shared {
    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Completes an exchange when it is dropped: also where the task is aborted, so that nobody waits for ever.
struct Outcome {
    shared: Arc<Shared>,
    id: u64,
    endpoint: Arc<Endpoint>,
    result: Option<Result<Response, Failure>>,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.shared.under_way().by_id.remove(&self.id);
        let result = self.result.take().unwrap_or(Err(Failure::Closed));
        self.shared.completions.put(Completion { id: self.id, endpoint: Arc::clone(&self.endpoint), result });
    }
}

async fn carry_out(mut outcome: Outcome, request: Request) {
    let shared = Arc::clone(&outcome.shared);
    match exchange(&shared.dialer, &request).await {
        Ok((response, sender)) => {
            outcome.result = Some(Ok(response));
            match outcome.read(&request) {
                None => drop(outcome), // now: nobody has to wait for the connection
                Some(later) => drop(tokio::spawn(read_later(outcome, later))),
            }
            settle(&request.endpoint, sender).await;
        }
        Err(failure) => outcome.result = Some(Err(failure)),
    }
}

impl Outcome {
    /// Reads a response, or returns what takes long.
    fn read(&mut self, request: &Request) -> Option<Later> {
        let (Payload::Question(question), Some(Ok(response))) = (&request.body, &mut self.result) else { return None };
        match question.read(response)? {
            Reading::Done(answer) => response.answer = Some(answer),
            Reading::Later(later) => return Some(later),
        }
        None
    }
}

async fn read_later(mut outcome: Outcome, later: Later) {
    let turn = Arc::clone(&outcome.shared.readers).acquire_owned().await;
    // The outcome goes with it, and is known when it is read, or as it came when that panics.
    drop(tokio::task::spawn_blocking(move || {
        let _turn = turn;
        if let Some(Ok(response)) = &mut outcome.result {
            response.answer = later(response);
        }
    }));
}

/// Keeps a connection, when it is ready for another request.
async fn settle(endpoint: &Endpoint, mut sender: Sender) {
    let ready = tokio::time::timeout(SETTLES_WITHIN, sender.ready()).await;
    if matches!(ready, Ok(Ok(()))) {
        endpoint.keep(sender);
    }
}

fn run(runtime: Runtime) -> io::Result<Open> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (end, ended) = mpsc::channel();
    thread::Builder::new().name("icws-http".to_owned()).spawn(move || {
        drop(runtime.block_on(stopped)); // an error: the other half is dropped, and that is the signal
        runtime.shutdown_background(); // does not wait for names that are being resolved
        drop(end);
    })?;
    Ok(Open { stop, ended })
}
