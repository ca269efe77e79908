//! Why a `resolv.conf` is not taken over or given back, in the words of somebody who wants it to
//! be.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use super::ResolvConfError;
use crate::core::resolv_conf::ResolvConfWriter;

/// Why a file was not taken over or given back.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ResolvConfError),
    /// Its name does not fit into a line of text.
    #[error("{}: the path of a resolv.conf has to be one line of UTF-8", .0.display())]
    Path(PathBuf),
    /// holdover wrote it before.
    #[error("{}: holdover has taken it over already. `holdover resolvconf restore` puts the original back first; `holdover resolvconf show` tells more", .0.display())]
    Already(PathBuf),
    /// It names only holdover, though holdover did not write it.
    #[error("{}: names only {own}, where holdover answers: there is nothing to take over", file.display())]
    OnlyHoldover {
        /// The file.
        file: PathBuf,
        /// holdover's address.
        own: IpAddr,
    },
    /// It names nobody.
    #[error("{}: names no name server that holdover could forward to; name the upstreams in its configuration first", .0.display())]
    Empty(PathBuf),
    /// Docker's resolver would send everything back.
    #[error(
        "{}: names Docker's resolver 127.0.0.11, which forwards to {own}, where holdover answers: every query would go round in a circle. Take \
         `dns: {own}` away from the container, or name the upstreams in holdover's configuration", file.display()
    )]
    Circle {
        /// The file.
        file: PathBuf,
        /// holdover's address.
        own: IpAddr,
    },
    /// The original can be kept nowhere.
    #[error("the original cannot be kept anywhere, so nothing was changed: {0}. Name another file with --keep")]
    NowhereToKeep(String),
    /// The file cannot be written.
    #[error("{}: cannot be written: {}", file.display(), advice(cause))]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// There is nothing to give back.
    #[error("{}: nothing is kept of it{}", .0.display(), if *.1 { ", though holdover has taken it over: the kept original is gone. Name the name servers in it by hand" } else { "; it was not taken over" })]
    NothingKept(PathBuf, bool),
    /// Somebody else wrote it since.
    #[error(
        "{}: was written by somebody else ({}) since holdover took it over, and is left as it is; --force puts back what is kept in {}",
        file.display(), writer.name(), kept.display()
    )]
    ChangedSince {
        /// The file.
        file: PathBuf,
        /// Who.
        writer: ResolvConfWriter,
        /// Where the original is kept.
        kept: PathBuf,
    },
}

/// What to do about a file that cannot be written.
fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied. Run this as root; in a container, as user 0".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => {
            "its file system is read-only. In a container with a read-only root, set the name server from outside \
             (Kubernetes: dnsPolicy None and dnsConfig; Docker: a file mounted over it), or make the root writable"
                .to_owned()
        }
        io::ErrorKind::StorageFull => "no space is left. Nothing was changed".to_owned(),
        _ => error.to_string(),
    }
}
