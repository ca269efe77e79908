//! The signals that `holdover run` receives: those that it passes on to the application, and
//! SIGCHLD, which says that a child process has ended.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::adapters::children;

/// Signals that are passed on to the application, unless a terminal has sent them to it already.
const FORWARDED: [SignalKind; 7] = [
    SignalKind::hangup(),
    SignalKind::interrupt(),
    SignalKind::quit(),
    SignalKind::terminate(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
    SignalKind::window_change(),
];
/// Signals that a terminal sends to all processes of its foreground group, the application among
/// them.
const FROM_TERMINAL: [SignalKind; 3] = [SignalKind::interrupt(), SignalKind::quit(), SignalKind::window_change()];

/// All signals that this process listens for.
pub(super) struct Signals(Vec<(SignalKind, Signal)>);

impl Signals {
    /// Starts to listen. A signal that was ignored when this process was started stays ignored, for
    /// the application too.
    pub(super) fn listen() -> io::Result<Self> {
        let kinds = FORWARDED.into_iter().filter(|kind| !children::is_ignored(kind.as_raw_value()));
        kinds.chain([SignalKind::child()]).map(|kind| Ok((kind, signal(kind)?))).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for the next signal. Cancel safe.
    pub(super) async fn next(&mut self) -> SignalKind {
        poll_fn(|context| {
            let ready =
                self.0.iter_mut().find_map(|(kind, signal)| signal.poll_recv(context).is_ready().then_some(*kind));
            ready.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Whether a terminal has sent this signal to the application as well.
pub(super) fn has_reached_all(kind: SignalKind) -> bool {
    FROM_TERMINAL.contains(&kind) && children::is_in_foreground()
}
