//! The admin interface: status, metrics, health and the memory over HTTP, on a unix socket or a
//! loopback address. Who may change the memory stands in `writers`.
//!
//! The interface has its own thread and its own runtime: it answers while the threads that serve
//! queries are busy, and no failure in it reaches them. People, probes and Prometheus use the
//! interface, and so may anybody else who reaches the address; therefore everything about it is
//! bounded:
//!
//! | what | bound |
//! |---|---|
//! | connections at the same moment | 16; for a further one, the oldest unfinished request gives way (`places`) |
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
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::settings::Admin;
use crate::telemetry::events;

mod administered;
pub mod client;
mod listener;
mod places;
mod routes;
pub mod token;
mod writers;

pub use administered::{Administered, Flush, FlushScope, Flushed, Imported, ListScope, NameQuestion};
use listener::{AdminStream, Listener, Peer};
use places::{ClientHost, ConnectionPlaces, RequestProgress};
use routes::{Router, RoutesByPeer};

/// The largest size of a request's head, in bytes.
const HEAD_MAX: usize = 16 << 10;
/// The largest number of headers of a request.
const HEADERS_MAX: usize = 32;
/// How long the head of a request may take to arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may live; an export of a million answers takes some ten seconds.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// How long the start waits for the address to be opened, which may be on a file system that hangs.
const OPEN_WITHIN: Duration = Duration::from_millis(200);
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
    /// The sidecar that the interface shows; `None` until it is known.
    sidecar: watch::Sender<Option<Arc<dyn Administered>>>,
    /// Ends the interface when it is dropped.
    stop: watch::Sender<()>,
    thread: JoinHandle<()>,
}

impl AdminThread {
    /// Opens the address of the interface on a thread of its own, which logs it when that fails,
    /// and waits for that for 200 ms at most: whoever asks the sidecar for a name may ask the
    /// interface for its health next. Requests wait until [`Self::serve`].
    ///
    /// # Errors
    /// The operating system gave no thread.
    pub fn open(admin: Admin, token_file: Option<PathBuf>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(());
        let (sidecar, given) = watch::channel(None);
        let (tried, first_try) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("admin".to_owned()).stack_size(512 << 10);
        let opening = AdminOpening { admin, token_file, given, tried };
        let thread = thread.spawn(move || supervise(&opening, &stopped))?;
        let _ = first_try.recv_timeout(OPEN_WITHIN);
        Ok(Self { sidecar, stop, thread })
    }

    /// Answers requests for this sidecar, whose memory is changed over TCP with the token in the
    /// token file.
    pub fn serve(&self, sidecar: Arc<dyn Administered>) {
        self.sidecar.send_replace(Some(sidecar));
    }

    /// Ends the interface and waits for its thread, which waits at most 200 ms for work that it has
    /// begun.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// What the thread of the interface begins with.
struct AdminOpening {
    admin: Admin,
    token_file: Option<PathBuf>,
    given: watch::Receiver<Option<Arc<dyn Administered>>>,
    /// Takes a word when the address was opened, or could not be.
    tried: mpsc::SyncSender<()>,
}

/// Runs the interface until it is stopped, and starts it again when it fails or panics.
fn supervise(opening: &AdminOpening, stopped: &watch::Receiver<()>) {
    loop {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().max_blocking_threads(WORKERS).thread_keep_alive(WORKER_IDLE).build()?;
            runtime.block_on(run(opening, stopped.clone()));
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

/// Tries to open the address until that succeeds, and serves on it as soon as the sidecar is known.
async fn run(opening: &AdminOpening, mut stopped: watch::Receiver<()>) {
    let AdminOpening { admin, token_file, given, tried } = opening;
    let (mut given, mut is_logged) = (given.clone(), false);
    loop {
        let opened = Listener::bind(admin).await;
        let _ = tried.try_send(());
        match opened {
            Ok(listener) => {
                let sidecar = tokio::select! {
                    _ = stopped.changed() => return,
                    sidecar = given.wait_for(Option::is_some) => sidecar.ok().and_then(|sidecar| sidecar.clone()),
                };
                let Some(sidecar) = sidecar else { return };
                events::AdminListening { address: &listener.to_string() }.emit();
                return serve(&listener, &RoutesByPeer::new(&sidecar, token_file.clone()), stopped).await;
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
async fn serve(listener: &Listener, routes: &RoutesByPeer, mut stopped: watch::Receiver<()>) {
    let (mut places, mut connections) = (ConnectionPlaces::default(), JoinSet::new());
    loop {
        let may_take = places.may_take();
        let accepted = tokio::select! {
            _ = stopped.changed() => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if may_take => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // The process has no descriptor left, or the client has gone.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let origin = match peer {
            Peer::Owner | Peer::OtherUser | Peer::ThisHost => ClientHost::ThisHost,
            Peer::OtherHost => ClientHost::OtherHost,
        };
        if !places.make_room(origin) {
            continue;
        }
        // Serve the connection in a task of its own, with the routes that its client may use.
        let progress = RequestProgress::default();
        let task = connections.spawn(answer_one(stream, routes.of(peer), progress.clone()));
        places.take(origin, progress, task);
    }
}

/// Answers the one request of a connection, and reports when its head has arrived.
async fn answer_one(stream: Pin<Box<dyn AdminStream>>, routes: Router, progress: RequestProgress) {
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |request| {
        progress.begin();
        routes.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // An error of one connection concerns no other.
    let _ = timeout(CONNECTION_LIFE, connection).await;
}
