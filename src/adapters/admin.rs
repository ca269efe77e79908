//! The admin interface: status, metrics, health and the memory over HTTP, on a unix socket or a
//! loopback address.
//!
//! The interface has its own thread and its own runtime: it answers while the threads that serve
//! queries are busy, and no failure in it reaches them. People, probes and Prometheus use the
//! interface, and so may anybody else who reaches the address; therefore everything about it is
//! bounded:
//!
//! | what | bound |
//! |---|---|
//! | connections at the same moment | [`CONNECTIONS_MAX`]; further ones wait in the kernel |
//! | requests of a connection | one |
//! | head of a request | [`HEAD_MAX`] bytes, [`HEADERS_MAX`] headers, within [`HEAD_WITHIN`] |
//! | life of a connection | [`CONNECTION_LIFE`] |
//! | imports, exports, walks over the memory | one of each at a time |
//! | body of a request | [`Administered::import_max`] bytes within 10 s for an import, none elsewhere |
//!
//! When its address cannot be opened, that is logged once, and opening is tried again every
//! [`RETRY_EVERY`]: a sidecar must not depend on its admin interface.
//!
//! What is shown comes from an implementation of [`Administered`]; the interface itself knows
//! neither the memory nor the resolver. The counterpart for the command line is [`client`].

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
use crate::telemetry::events;

mod administered;
pub mod client;
mod listener;
mod routes;

pub use administered::{Administered, Flush, FlushScope, Flushed, Imported};
use listener::{Listener, Peer};

/// The largest number of connections at the same moment.
const CONNECTIONS_MAX: usize = 16;
/// The largest size of a request's head, in bytes.
const HEAD_MAX: usize = 16 << 10;
/// The largest number of headers of a request.
const HEADERS_MAX: usize = 32;
/// How long the head of a request may take to arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may live; an export of a million answers takes some ten seconds.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// How long to wait before an address is tried again that could not be opened.
const RETRY_EVERY: Duration = Duration::from_secs(10);
/// How long to pause after an error of accepting, so that an error that lasts costs no processor
/// time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long to pause before the interface is started again after a failure.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long the end of the process waits for work that this interface has begun.
const END_WITHIN: Duration = Duration::from_millis(200);
/// Threads for walks over the memory, beside the interface's own.
const WORKERS: usize = 2;
/// How long such a thread stays without work.
const WORKER_IDLE: Duration = Duration::from_secs(2);

/// The running admin interface, with the thread that serves it.
pub struct AdminThread {
    /// Ends the interface when it is dropped.
    stop: watch::Sender<()>,
    thread: JoinHandle<()>,
}

impl AdminThread {
    /// Starts the interface for a sidecar. The thread opens the address by itself, and logs it when
    /// that fails.
    ///
    /// # Errors
    /// The operating system gave no thread.
    pub fn start(admin: Admin, sidecar: Arc<dyn Administered>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(());
        let thread = std::thread::Builder::new().name("admin".to_owned()).stack_size(512 << 10);
        let thread = thread.spawn(move || supervise(&admin, &sidecar, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends the interface and waits for its thread, which waits at most 200 ms for work that it has
    /// begun.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// Runs the interface until it is stopped, and starts it again when it fails or panics.
fn supervise(admin: &Admin, sidecar: &Arc<dyn Administered>, stopped: &watch::Receiver<()>) {
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
        events::ThreadRestarted { thread: "admin", reason: &reason }.emit();
        if stopped.has_changed().is_err() {
            return;
        }
        std::thread::sleep(RESTART_PAUSE);
    }
}

/// Tries to open the address until that succeeds, and serves on it.
async fn run(admin: &Admin, sidecar: &Arc<dyn Administered>, mut stopped: watch::Receiver<()>) {
    let mut is_logged = false;
    loop {
        match Listener::bind(admin).await {
            Ok(listener) => {
                events::AdminListening { address: &listener.to_string() }.emit();
                return serve(&listener, sidecar, stopped).await;
            }
            Err(error) if !is_logged => {
                is_logged = true;
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

/// Accepts connections until the interface is stopped.
async fn serve(listener: &Listener, sidecar: &Arc<dyn Administered>, mut stopped: watch::Receiver<()>) {
    let (all_routes, routes_for_others) = (routes::all(sidecar), routes::for_other_hosts(sidecar));
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Accept only while one more connection is within the limit.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let accepted = tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = accepted else {
            // The process has no descriptor left, or the client has gone.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Serve the connection in a task of its own, with the routes that its client may use.
        let routes = match peer {
            Peer::ThisHost => all_routes.clone(),
            Peer::OtherHost => routes_for_others.clone(),
        };
        connections.spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .max_headers(HEADERS_MAX)
                .max_buf_size(HEAD_MAX)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
            // An error of one connection concerns no other.
            let _ = timeout(CONNECTION_LIFE, connection).await;
            drop(permit);
        });
    }
}
