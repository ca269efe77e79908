//! The admin interface: status, metrics, health and the memory over HTTP, on a unix socket or a
//! loopback address.
//!
//! It has its own thread and its own runtime: it answers while the threads that serve queries are
//! busy, and nothing that happens to it touches them. It is reached by people, probes and
//! Prometheus, and by whoever else gets there; so everything is bounded:
//!
//! | what | bound |
//! |---|---|
//! | connections at the same moment | [`CONNECTIONS_MAX`]; further ones wait in the kernel |
//! | requests of a connection | one |
//! | head of a request | [`HEAD_MAX`] bytes, [`HEADERS_MAX`] headers, within [`HEAD_WITHIN`] |
//! | life of a connection | [`CONNECTION_LIFE`] |
//! | imports, exports, walks over the memory | one of each at a time |
//! | body | [`Sidecar::import_max`] bytes within 10 s for an import, none elsewhere |
//!
//! An address that cannot be had is said once and tried again every [`RETRY_EVERY`]: a sidecar must
//! not depend on its admin interface.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::settings::Admin;
use crate::core::special::Readiness;
use crate::resolver::ports::PortFuture;
use crate::telemetry::events;
use crate::telemetry::reading::Reading;
use crate::telemetry::state_file::Durable;

pub mod client;
mod listener;
mod routes;

use listener::{Listener, Peer};
pub use routes::{Flushed, Imported};

/// Connections at the same moment.
const CONNECTIONS_MAX: usize = 16;
/// Bytes of a request's head.
const HEAD_MAX: usize = 16 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 32;
/// How long a request's head may take.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may live; an export of a million answers takes some ten seconds.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// How often an address is tried that could not be had.
const RETRY_EVERY: Duration = Duration::from_secs(10);
/// Pause after an error, so that one that lasts costs nothing.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the end of the process waits for work that this interface has begun.
const END_WITHIN: Duration = Duration::from_millis(200);
/// Threads for walks over the memory, beside the interface's own.
const WORKERS: usize = 2;
/// How long such a thread stays without work.
const WORKER_IDLE: Duration = Duration::from_secs(2);

/// Which names and types are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// This name.
    pub name: Option<String>,
    /// This name and all below it.
    pub below: Option<String>,
    /// Of these only this type.
    pub rtype: Option<String>,
}

/// What was forgotten.
pub struct Flush {
    /// How many names and types that were.
    pub forgotten: u64,
    /// Waits, for a bounded time, until it cannot come back from the state file any more.
    pub durable: PortFuture<Durable>,
}

/// What the interface shows and does.
pub trait Sidecar: Send + Sync + 'static {
    /// Everything that there is to tell. May walk over the whole memory.
    fn reading(&self) -> Reading;
    /// Whether its start is over. Never waits.
    fn readiness(&self) -> Readiness;
    /// All that is remembered as a seed's text, in pieces of some kilobytes.
    fn export(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send>;
    /// Takes in a seed's text.
    ///
    /// # Errors
    /// Why nothing of it can be used.
    fn import(&self, text: &str) -> Result<Imported, String>;
    /// Bytes of such a text at the most.
    fn import_max(&self) -> usize;
    /// Forgets what is meant.
    ///
    /// # Errors
    /// What is wrong with the scope.
    fn flush(&self, scope: &Scope) -> Result<Flush, String>;
}

/// The running interface.
pub struct AdminThread {
    /// Tells it to end, by being dropped.
    stop: watch::Sender<()>,
    /// Its thread.
    thread: JoinHandle<()>,
}

impl AdminThread {
    /// Starts it. It opens its address by itself, and says when that fails.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(admin: Admin, sidecar: Arc<dyn Sidecar>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(());
        let thread = std::thread::Builder::new().name("admin".to_owned()).stack_size(512 << 10);
        let thread = thread.spawn(move || supervise(&admin, &sidecar, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends it; waits for its thread, and no longer than [`END_WITHIN`] for what that has begun.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// Runs the interface until it is told to end, whatever happens in it.
fn supervise(admin: &Admin, sidecar: &Arc<dyn Sidecar>, stopped: &watch::Receiver<()>) {
    loop {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().max_blocking_threads(WORKERS).thread_keep_alive(WORKER_IDLE).build()?;
            runtime.block_on(run(admin, sidecar, stopped.clone()));
            runtime.shutdown_timeout(END_WITHIN);
            io::Result::Ok(())
        }));
        let reason = match ended {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "panicked".to_owned(),
        };
        events::PartRestarted { part: "admin", reason: &reason }.emit();
        if stopped.has_changed().is_err() {
            return;
        }
        std::thread::sleep(PAUSE * 10);
    }
}

/// Opens the address, as often as it takes, and serves.
async fn run(admin: &Admin, sidecar: &Arc<dyn Sidecar>, mut stopped: watch::Receiver<()>) {
    let mut said = false;
    loop {
        match Listener::bind(admin).await {
            Ok(listener) => {
                events::AdminListening { address: &listener.to_string() }.emit();
                return serve(&listener, sidecar, stopped).await;
            }
            Err(error) if !said => {
                said = true;
                events::AdminUnavailable { address: &admin.to_string(), reason: &error.to_string() }.emit();
            }
            Err(_) => {}
        }
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(RETRY_EVERY) => {}
        }
    }
}

/// Takes connections until told to end.
async fn serve(listener: &Listener, sidecar: &Arc<dyn Sidecar>, mut stopped: watch::Receiver<()>) {
    let (everything, readable) = (routes::everything(sidecar), routes::readable(sidecar));
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = accepted else {
            // No descriptors, or the client is gone.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let routes = match peer {
            Peer::Here => everything.clone(),
            Peer::Elsewhere => readable.clone(),
        };
        connections.spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .max_headers(HEADERS_MAX)
                .max_buf_size(HEAD_MAX)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
            // Whatever goes wrong on it concerns nobody else.
            let _ = timeout(CONNECTION_LIFE, connection).await;
            drop(permit);
        });
    }
}
