//! Where the admin interface is reached: a unix socket of mode 0600, or an address.
//!
//! | at the path there is | what happens |
//! |---|---|
//! | nothing | the socket is made beside it, closed to others, and moved there: nobody can open it before |
//! | a socket that nobody listens on: a process was killed | likewise, in its place |
//! | a socket that somebody listens on | refused |
//! | anything else | refused; it is somebody's file |
//!
//! The socket is taken away at the end, unless another has taken its place.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::timeout;

use crate::config::settings::Admin;

/// How long another process has to take our call.
const CALL_WITHIN: Duration = Duration::from_secs(1);

/// Why an address cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindError {
    /// Somebody's file.
    #[error("there is a file that is no socket, which is left alone; name another path, or move it away")]
    ForeignFile,
    /// Another process.
    #[error("another process listens there")]
    InUse,
    /// The folder does not exist.
    #[error("the folder {} does not exist; make it (systemd: RuntimeDirectory=holdover), or name another path", .0.display())]
    NoFolder(PathBuf),
    /// What the operating system said.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// From where a client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// This host, or over the socket.
    Here,
    /// Another host.
    Elsewhere,
}

/// A connection of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// An open address.
pub(super) enum Listener {
    /// Over TCP.
    Address(TcpListener, SocketAddr),
    /// A unix socket, which is taken away when it is dropped.
    Path(UnixListener, SocketFile),
}

/// The file of a unix socket.
pub(super) struct SocketFile {
    /// Where it is.
    path: PathBuf,
    /// Device and number by which it is known again.
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
    /// Opens the address.
    ///
    /// # Errors
    /// [`BindError`].
    pub(super) async fn bind(admin: &Admin) -> Result<Self, BindError> {
        match admin {
            Admin::Address(address) => {
                let listener = TcpListener::bind(*address).await.map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => BindError::InUse,
                    _ => BindError::System(error),
                })?;
                let bound = listener.local_addr()?;
                Ok(Self::Address(listener, bound))
            }
            Admin::Path(path) => {
                make_way(path).await?;
                let (listener, file) = bind_at(path)?;
                Ok(Self::Path(listener, file))
            }
        }
    }

    /// Waits for a client. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<(Pin<Box<dyn Stream>>, Peer)> {
        match self {
            Self::Address(listener, _) => {
                let (stream, client) = listener.accept().await?;
                let peer = if client.ip().to_canonical().is_loopback() { Peer::Here } else { Peer::Elsewhere };
                Ok((Box::pin(stream), peer))
            }
            Self::Path(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::pin(stream), Peer::Here))
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(_, address) => write!(f, "{address}"),
            Self::Path(_, file) => write!(f, "{}", file.path.display()),
        }
    }
}

/// Makes sure that whatever is at the path may be replaced.
async fn make_way(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
        Ok(found) if !found.file_type().is_socket() => Err(BindError::ForeignFile),
        Ok(_) => match timeout(CALL_WITHIN, UnixStream::connect(path)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            // It takes the call, or is too busy to.
            Ok(Ok(_)) | Err(_) => Err(BindError::InUse),
        },
    }
}

/// Makes a socket beside the path, closes it to others, and moves it there.
fn bind_at(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return Err(BindError::NoFolder(folder.to_owned()));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    if fs::symlink_metadata(&beside).is_ok_and(|found| found.file_type().is_socket()) {
        // In a container the process that was killed had our number, too.
        fs::remove_file(&beside)?;
    }
    let listener = UnixListener::bind(&beside)?;
    let moved = fs::set_permissions(&beside, Permissions::from_mode(0o600))
        .and_then(|()| fs::symlink_metadata(&beside))
        .and_then(|found| fs::rename(&beside, path).map(|()| found));
    match moved {
        Ok(found) => Ok((listener, SocketFile { path: path.to_owned(), identity: (found.dev(), found.ino()) })),
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Err(error.into())
        }
    }
}
