//! The socket on which the admin interface is reached: a unix socket of mode 0600, or an address.
//!
//! | what is at the path of a unix socket | what happens |
//! |---|---|
//! | nothing | the socket is made beside the path and moved there |
//! | a socket of a process that was killed | the new socket takes its place in the same way |
//! | a socket on which a process listens | [`BindError::InUse`] |
//! | anything else | [`BindError::ForeignFile`]: it belongs to somebody |
//!
//! Beside an address there is an abstract unix socket, over which what is remembered can be
//! changed: the kernel says which user is at its other end, which it does not say over TCP.
//!
//! The socket of a path is closed to other users before it is moved to the path, so that none of
//! them can open it. It is removed at the end, unless another one has taken its place.

use std::fmt;
use std::fs::{self, Permissions};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener as StdUnixListener};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::timeout;

use crate::config::settings::Admin;
use crate::telemetry::events;

/// How long another process has to accept a connection, which shows whether it listens.
const PROBE_WITHIN: Duration = Duration::from_secs(1);

/// Why the admin interface cannot listen on its address.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindError {
    /// There is a file that is not a socket at the path.
    #[error("there is a file that is no socket, which is left alone; name another path, or move the file away")]
    ForeignFile,
    /// Another process listens on the address or on the socket at the path.
    #[error("another process listens there")]
    InUse,
    /// The folder of the path does not exist.
    #[error(
        "the folder {} does not exist; make it (systemd: RuntimeDirectory=holdover), or name another path",
        .0.display()
    )]
    NoFolder(PathBuf),
    /// The operating system refused for another reason.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// From where a client has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Over a unix socket, of the user of this process or of root.
    Owner,
    /// Over a unix socket, of another user.
    OtherUser,
    /// Over TCP from a loopback address.
    ThisHost,
    /// From another host, or from an address of this host that is not loopback.
    OtherHost,
}

/// A connection over TCP or over a unix socket.
pub(super) trait AdminStream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> AdminStream for T {}

/// An open socket of the admin interface.
pub(super) enum Listener {
    /// A TCP socket with the address that it got, and the unix socket beside it, unless another
    /// process has its name.
    Address(TcpListener, SocketAddr, Option<UnixListener>),
    /// A unix socket, whose file is removed when this is dropped.
    Path(UnixListener, SocketFile),
}

/// The file of a unix socket; dropping this removes the file.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode, which show whether the file at the path is still this one.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Opens the socket.
    ///
    /// # Errors
    /// - [`BindError::InUse`] for both kinds of address.
    /// - [`BindError::ForeignFile`] and [`BindError::NoFolder`] for a path only.
    /// - [`BindError::System`] for everything else that the operating system refuses.
    pub(super) async fn bind(admin: &Admin) -> Result<Self, BindError> {
        match admin {
            Admin::Address(address) => {
                let listener = TcpListener::bind(*address).await.map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => BindError::InUse,
                    _ => BindError::System(error),
                })?;
                let bound = listener.local_addr()?;
                let beside = bind_beside(bound);
                if let Err(error) = &beside {
                    let reason = &error.to_string();
                    events::AdminReadOnly { address: bound, reason }.emit();
                }
                Ok(Self::Address(listener, bound, beside.ok()))
            }
            Admin::Path(path) => {
                expect_replaceable(path).await?;
                let (listener, file) = bind_at(path)?;
                Ok(Self::Path(listener, file))
            }
        }
    }

    /// Waits for a client. Cancel safe.
    ///
    /// # Errors
    /// The error of the operating system; the next call may succeed.
    pub(super) async fn accept(&self) -> io::Result<(Pin<Box<dyn AdminStream>>, Peer)> {
        match self {
            Self::Address(listener, _, beside) => {
                let user = async {
                    match beside {
                        Some(listener) => accept_user(listener).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    accepted = listener.accept() => {
                        let (stream, client) = accepted?;
                        let is_loopback = client.ip().to_canonical().is_loopback();
                        Ok((Box::pin(stream), if is_loopback { Peer::ThisHost } else { Peer::OtherHost }))
                    }
                    accepted = user => accepted,
                }
            }
            Self::Path(listener, _) => accept_user(listener).await,
        }
    }
}

/// Waits for a client on a unix socket. Cancel safe.
async fn accept_user(listener: &UnixListener) -> io::Result<(Pin<Box<dyn AdminStream>>, Peer)> {
    let (stream, _) = listener.accept().await?;
    let own = rustix::process::geteuid().as_raw();
    let is_owner = stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0);
    Ok((Box::pin(stream), if is_owner { Peer::Owner } else { Peer::OtherUser }))
}

/// Opens the abstract unix socket beside an address.
fn bind_beside(address: SocketAddr) -> io::Result<UnixListener> {
    let name = UnixAddress::from_abstract_name(Admin::socket_beside(address))?;
    let listener = StdUnixListener::bind_addr(&name)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(_, address, _) => write!(f, "{address}"),
            Self::Path(_, file) => write!(f, "{}", file.path.display()),
        }
    }
}

/// Makes sure that nothing is at the path, or a socket on which no process listens.
async fn expect_replaceable(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
        Ok(found) if !found.file_type().is_socket() => Err(BindError::ForeignFile),
        Ok(_) => match timeout(PROBE_WITHIN, UnixStream::connect(path)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            // A process accepts the connection, or is too busy to do so in time.
            Ok(Ok(_)) | Err(_) => Err(BindError::InUse),
        },
    }
}

/// Makes a socket beside the path, closes it to other users, and moves it to the path.
fn bind_at(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return Err(BindError::NoFolder(folder.to_owned()));
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    if fs::symlink_metadata(&temporary).is_ok_and(|found| found.file_type().is_socket()) {
        // In a container that was started again, the process that was killed before had the same
        // number as this one.
        fs::remove_file(&temporary)?;
    }
    let listener = UnixListener::bind(&temporary)?;
    let moved = fs::set_permissions(&temporary, Permissions::from_mode(0o600))
        .and_then(|()| fs::symlink_metadata(&temporary))
        .and_then(|found| fs::rename(&temporary, path).map(|()| found));
    match moved {
        Ok(found) => Ok((listener, SocketFile { path: path.to_owned(), identity: (found.dev(), found.ino()) })),
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            Err(error.into())
        }
    }
}
