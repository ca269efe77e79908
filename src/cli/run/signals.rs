//! The signals that `holdover run` receives: those that it passes on to the application, and
//! SIGCHLD, which says that a child process has ended.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::adapters::children;

/// Signals that are passed on to the application, unless a terminal has sent them to it already.
const FORWARDED: [SignalKind; 12] = [
    SignalKind::hangup(),
    SignalKind::interrupt(),
    SignalKind::quit(),
    SignalKind::terminate(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
    SignalKind::window_change(),
    // What ends a process by default must not end this one before the application.
    SignalKind::alarm(),
    SignalKind::from_raw(26), // SIGVTALRM
    SignalKind::from_raw(27), // SIGPROF
    SignalKind::io(),
    SignalKind::from_raw(30), // SIGPWR
];
/// Signals that a terminal sends to all processes of its foreground group, the application among
/// them.
const FROM_TERMINAL: [SignalKind; 3] = [SignalKind::interrupt(), SignalKind::quit(), SignalKind::window_change()];

/// A signal that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) kind: SignalKind,
    /// Whether the application has got it as well, from the terminal.
    pub(super) has_reached_all: bool,
}

/// All signals that this process listens for.
pub(super) struct Signals {
    signals: Vec<(SignalKind, Signal)>,
    /// Those that a terminal may have sent, of which only the kernel knows who did.
    attributed: Option<children::AttributedSignals>,
}

impl Signals {
    /// Starts to listen. A signal that was ignored when this process was started stays ignored, for
    /// the application too.
    pub(super) fn listen() -> io::Result<Self> {
        let is_heard = |kind: &SignalKind| !children::is_ignored(kind.as_raw_value());
        let attributed: Vec<i32> = FROM_TERMINAL.into_iter().filter(is_heard).map(|kind| kind.as_raw_value()).collect();
        let others = FORWARDED.into_iter().filter(|kind| !FROM_TERMINAL.contains(kind)).filter(is_heard);
        let signals = others.chain([SignalKind::child()]).map(|kind| Ok((kind, signal(kind)?)));
        let attributed = if attributed.is_empty() { None } else { Some(children::listen_attributed(&attributed)?) };
        Ok(Self { signals: signals.collect::<io::Result<_>>()?, attributed })
    }

    /// Waits for the next signal. Cancel safe.
    pub(super) async fn next(&mut self) -> Arrived {
        poll_fn(|context| {
            let ready = self
                .signals
                .iter_mut()
                .find_map(|(kind, signal)| signal.poll_recv(context).is_ready().then_some(*kind));
            if let Some(kind) = ready {
                return Poll::Ready(Arrived { kind, has_reached_all: false });
            }
            match self.attributed.as_mut().map(|signals| signals.poll_recv(context)) {
                Some(Poll::Ready(Some((number, sender)))) => {
                    let has_reached_all = sender == children::Sender::Terminal && children::is_in_foreground();
                    Poll::Ready(Arrived { kind: SignalKind::from_raw(number), has_reached_all })
                }
                Some(Poll::Ready(None) | Poll::Pending) | None => Poll::Pending,
            }
        })
        .await
    }
}
