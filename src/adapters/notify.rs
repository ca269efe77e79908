//! Tells the service manager that holdover is ready, alive, or about to end (`sd_notify(3)`).
//!
//! The protocol is one datagram of `KEY=VALUE` lines to the socket that `NOTIFY_SOCKET` names, so
//! it needs no library. Nobody waits for the manager: a message that cannot be sent is lost, and
//! the service manager's own time-outs decide.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager's socket.
pub struct ServiceManager {
    /// Our end.
    socket: UnixDatagram,
    /// Its address.
    manager: SocketAddr,
    /// How often it wants to hear that we live.
    watchdog: Option<Duration>,
}

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// All listeners are open.
    Ready,
    /// Still alive.
    Alive,
    /// On SIGTERM.
    Stopping,
}

impl ServiceManager {
    /// From the environment; `None` where no service manager listens.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET")?;
        let manager = address(name.as_encoded_bytes())?;
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        // The variables of a parent are not meant for us.
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        // Twice as often as asked, as sd_watchdog_enabled(3) says.
        let watchdog = number("WATCHDOG_USEC")
            .filter(|micros| ours && *micros > 0)
            .map(|micros| Duration::from_micros(micros / 2));
        Some(Self { socket, manager, watchdog })
    }

    /// Tells it.
    pub fn tell(&self, message: Message) {
        let text = match message {
            Message::Ready => "READY=1\nSTATUS=Answering queries",
            Message::Alive => "WATCHDOG=1",
            Message::Stopping => "STOPPING=1\nSTATUS=Draining: queries go on being answered",
        };
        let _ = self.socket.send_to_addr(text.as_bytes(), &self.manager);
    }

    /// Says that we live for as long as it is polled; without a watchdog it only waits.
    pub async fn keep_alive(&self) {
        let Some(every) = self.watchdog else { return std::future::pending().await };
        loop {
            self.tell(Message::Alive);
            tokio::time::sleep(every).await;
        }
    }
}

/// A path, or a name in the abstract namespace behind `@`.
fn address(name: &[u8]) -> Option<SocketAddr> {
    match name.split_first()? {
        (b'@', rest) => SocketAddr::from_abstract_name(rest).ok(),
        (b'/', _) => SocketAddr::from_pathname(std::str::from_utf8(name).ok()?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_an_abstract_name_are_understood_and_nothing_else() {
        assert!(address(b"/run/systemd/notify").unwrap().as_pathname().is_some());
        assert_eq!(address(b"@holdover").unwrap().as_abstract_name(), Some(&b"holdover"[..]));
        assert!(address(b"").is_none() && address(b"vsock:2:1234").is_none());
    }
}
