//! Notifies the service manager that holdover is ready, alive, or about to end (`sd_notify(3)`).
//!
//! The protocol is one datagram of `KEY=VALUE` lines to the socket that the variable
//! `NOTIFY_SOCKET` names, so it needs no library. holdover never waits for the service manager: a
//! message that cannot be sent is lost, and the time-outs of the service manager decide what
//! follows.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager that started this process and waits for messages about its state.
pub struct ServiceManager {
    socket: UnixDatagram,
    /// The address on which the service manager listens.
    manager: SocketAddr,
    /// How often [`Message::Alive`] is sent; `None` where no watchdog is set up.
    watchdog: Option<Duration>,
}

/// A message to the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// All listeners are open, so that units which depend on holdover may start.
    Ready,
    /// The process still works; without this message the watchdog restarts it.
    Alive,
    /// A signal has asked holdover to end. It goes on answering for a while.
    Stopping,
}

impl ServiceManager {
    /// Finds the service manager by the environment variables `NOTIFY_SOCKET`, `WATCHDOG_PID` and
    /// `WATCHDOG_USEC`; `None` where no service manager listens.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET")?;
        let manager = address(name.as_encoded_bytes())?;
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        // A parent for which a watchdog was meant may have passed its variables on to us.
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        // Twice as often as the watchdog wants it, as sd_watchdog_enabled(3) recommends.
        let watchdog = number("WATCHDOG_USEC")
            .filter(|micros| ours && *micros > 0)
            .map(|micros| Duration::from_micros(micros / 2));
        Some(Self { socket, manager, watchdog })
    }

    /// Sends a message, and does not wait; a message that cannot be sent is lost.
    pub fn send(&self, message: Message) {
        let text = match message {
            Message::Ready => "READY=1\nSTATUS=Answering queries",
            Message::Alive => "WATCHDOG=1",
            Message::Stopping => "STOPPING=1\nSTATUS=Draining: queries go on being answered",
        };
        let _ = self.socket.send_to_addr(text.as_bytes(), &self.manager);
    }

    /// Sends [`Message::Alive`] at the interval of the watchdog, for as long as the future is
    /// polled; without a watchdog it sends nothing. Never ends.
    pub async fn keep_alive(&self) {
        let Some(every) = self.watchdog else { return std::future::pending().await };
        loop {
            self.send(Message::Alive);
            tokio::time::sleep(every).await;
        }
    }
}

/// Reads the address of a Unix socket: a path, or a name in the abstract namespace behind `@`.
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
