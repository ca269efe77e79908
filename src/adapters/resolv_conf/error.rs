//! Errors of reading a `resolv.conf`, taking it over and putting it back, each with the next step
//! for the operator who reads the message.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::config::limits::RESOLV_CONF_MAX;
use crate::core::resolv_conf::ResolvConfWriter;

/// Why a `resolv.conf` gives no upstream.
#[derive(Debug, thiserror::Error)]
pub enum ResolvConfError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read: {source}; name the upstreams with --upstream", path.display())]
    Unreadable {
        /// The file that cannot be read.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is larger than [`RESOLV_CONF_MAX`] bytes.
    #[error(
        "{}: is larger than {} KiB, too large for a resolv.conf; name the upstreams with --upstream",
        .0.display(), RESOLV_CONF_MAX >> 10
    )]
    TooLarge(PathBuf),
    /// No line of the file looks like a name server.
    #[error("{}: names no name server; name the upstreams with --upstream", .0.display())]
    Empty(PathBuf),
    /// The file has lines that look like name servers, but none that can be understood.
    #[error(
        "{}:{line}: \"{}\" is not understood, and no other line names a name server. Allowed: nameserver in lower \
         case, then an IP address without a port; correct the line, or name the upstreams with --upstream",
        path.display(), text.escape_debug()
    )]
    NotUnderstood {
        /// The file that has the line.
        path: PathBuf,
        /// The number of the first such line, counted from 1.
        line: usize,
        /// The line's text, shortened when it is long.
        text: String,
    },
    /// All name servers of the file are addresses on which holdover listens.
    #[error(
        "{}: names only holdover itself ({own}), so there is nobody to forward to; name the upstreams with --upstream",
        path.display()
    )]
    OnlyOurselves {
        /// The file that names only holdover.
        path: PathBuf,
        /// The first of holdover's addresses in it.
        own: SocketAddr,
    },
}

/// Why a `resolv.conf` was not taken over or not put back.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ResolvConfError),
    /// The path is not UTF-8 or has a line break, so that no line of text can name it.
    #[error("{}: the path of a resolv.conf has to be one line of UTF-8", .0.display())]
    Path(PathBuf),
    /// The file was taken over before for another address, and its original is gone.
    #[error(
        "{}: holdover has taken it over already, for another address, and its original is lost. Write the name \
         servers into it by hand, then take it over again",
        .0.display()
    )]
    PointsElsewhere(PathBuf),
    /// The file names no name server but holdover, though holdover did not write it.
    #[error("{}: names only {own}, where holdover answers, so there is nothing to take over", file.display())]
    OnlyHoldover {
        /// The file that names only holdover.
        file: PathBuf,
        /// The address on which holdover answers.
        own: IpAddr,
    },
    /// The file names no name server, and no upstream is configured.
    #[error(
        "{}: names no name server that holdover could forward to; name the upstreams in its configuration first",
        .0.display()
    )]
    Empty(PathBuf),
    /// The file names only Docker's resolver, and that forwards to holdover.
    #[error(
        "{}: names Docker's resolver 127.0.0.11, which forwards to {own}, where holdover answers: every query would \
         go round in a circle. Remove `dns: {own}` from the container's settings, or name the upstreams in \
         holdover's configuration",
        file.display()
    )]
    Circle {
        /// The file that names Docker's resolver.
        file: PathBuf,
        /// The address on which holdover answers.
        own: IpAddr,
    },
    /// No place takes a copy of the original; the message names each place and its reason.
    #[error("the original cannot be kept anywhere, so nothing was changed: {0}. Name another file with --keep")]
    NowhereToKeep(String),
    /// The file, or the kept copy of its original, cannot be written.
    #[error("{}: cannot be written: {}", file.display(), advice(cause))]
    Unwritable {
        /// The file that cannot be written.
        file: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// The file was taken over, but its original is neither kept anywhere nor part of its text.
    #[error(
        "{}: holdover has taken it over, but the original is not kept any more. Write the name servers into it by hand",
        .0.display()
    )]
    OriginalLost(PathBuf),
    /// The file was not taken over, so there is nothing to put back.
    #[error("{}: nothing is kept of it; it was not taken over", .0.display())]
    NotTakenOver(PathBuf),
    /// Another program or a person has written the file since it was taken over.
    #[error(
        "{}: was written by somebody else ({}) since holdover took it over, and is left as it is; --force puts back \
         what is kept in {}",
        file.display(), writer.name(), kept.display()
    )]
    ChangedSince {
        /// The file that was changed.
        file: PathBuf,
        /// The program that wrote the file last, as far as the text shows.
        writer: ResolvConfWriter,
        /// Where the original is kept.
        kept: PathBuf,
    },
}

/// Advice for the operator about a file that cannot be written.
fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied. Run this as root; in a container, as user 0".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => {
            "its file system is read-only. In a container with a read-only root, set the name server from outside \
             (Kubernetes: dnsPolicy None and dnsConfig; Docker: a file mounted over it), or make the root writable"
                .to_owned()
        }
        io::ErrorKind::StorageFull => "no space is left on its file system. Nothing was changed".to_owned(),
        _ => error.to_string(),
    }
}
