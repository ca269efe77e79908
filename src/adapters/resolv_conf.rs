//! Reads the upstreams of the host from `resolv.conf` (resolv.conf(5)), and takes that file over.
//!
//! | the file | upstreams |
//! |---|---|
//! | names somebody else than holdover | those |
//! | names only systemd-resolved's stub | what systemd-resolved forwards to, `/run/systemd/resolve/resolv.conf`, where that can be read |
//! | was written by holdover | what the original's writer names today, else the kept original or, where that is gone, the one in the text, else what else the file names |
//! | names only holdover, though holdover did not write it | the kept original, where there is one for this file |
//!
//! holdover's own addresses are left out everywhere.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};

use crate::config::limits::{DNS_PORT, RESOLV_CONF_MAX, RESOLV_CONF_NAMESERVERS_MAX};
use crate::core::network;
use crate::core::resolv_conf::{Nameserver, ResolvConf, ResolvConfWriter};
use crate::core::takeover::{KeptOriginal, Was, kept_in};

mod error;
mod file;
mod readers;
pub mod takeover;

pub use error::TakeoverError;
pub use readers::readers;

/// How a kept original lies there: whoever serves reads it, whatever its user.
const READABLE: Was = Was::File { mode: 0o644, owner: 0, group: 0 };
/// Characters of a line that a message shows.
const LINE_SHOWN_MAX: usize = 60;

/// Why a `resolv.conf` gives no upstream.
#[derive(Debug, thiserror::Error)]
pub enum ResolvConfError {
    /// It cannot be read.
    #[error("{}: cannot be read: {source}; name the upstreams with --upstream", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is larger than any `resolv.conf`.
    #[error("{}: is larger than {} KiB, which no resolv.conf is; name the upstreams with --upstream", .0.display(), RESOLV_CONF_MAX >> 10)]
    TooLarge(PathBuf),
    /// It names no server.
    #[error("{}: names no name server; name the upstreams with --upstream", .0.display())]
    Empty(PathBuf),
    /// It has lines that look like name servers, and none that is one.
    #[error(
        "{}:{line}: \"{}\" is not understood, and no other line names a server. Allowed: nameserver and an IP address, in small letters, without a port; \
         mend the line, or name the upstreams with --upstream",
        path.display(), text.escape_debug()
    )]
    NotUnderstood {
        /// The file.
        path: PathBuf,
        /// The first such line, from 1.
        line: usize,
        /// What stands there, cut when long.
        text: String,
    },
    /// It names only ourselves.
    #[error("{}: names only holdover itself ({own}), so there is nobody to forward to; name the upstreams with --upstream", path.display())]
    OnlyOurselves {
        /// The file.
        path: PathBuf,
        /// The first of our addresses in it.
        own: SocketAddr,
    },
}

/// Reads the upstreams that a file stands for; `own` are the addresses on which holdover listens.
///
/// # Errors
/// [`ResolvConfError`].
pub fn read(path: &Path, own: &[SocketAddr]) -> Result<Vec<SocketAddr>, ResolvConfError> {
    let text = load(path)?;
    if let Some(kept) = original(path, &text)
        && let Some(found) = original_upstreams(&kept, own)
    {
        return Ok(found);
    }
    if ResolvConf::read(&text).is_stub()
        && let Some(found) =
            ResolvConfWriter::ResolvedStub.live_source().and_then(|live| live_upstreams(Path::new(live), own))
    {
        return Ok(found);
    }
    let (ours, others): (Vec<_>, Vec<_>) =
        nameservers(&text).into_iter().partition(|address| network::is_own(own, *address));
    match (others.is_empty(), ours.first()) {
        (false, _) => Ok(bounded(others)),
        (true, Some(address)) => places(path)
            .iter()
            .find_map(|place| load_kept(place).ok().filter(|kept| Path::new(&kept.file) == path))
            .and_then(|kept| original_upstreams(&kept, own))
            .ok_or_else(|| ResolvConfError::OnlyOurselves { path: path.to_owned(), own: *address }),
        (true, None) => Err(none_named(path, &text)),
    }
}

/// The original of a text that holdover wrote: its kept copy, else what the text carries, else a
/// copy for the same file under another name.
fn original(path: &Path, text: &str) -> Option<KeptOriginal> {
    let kept = kept_in(text).and_then(|kept| load_kept(Path::new(kept)).ok());
    let of_this = |kept: &KeptOriginal| std::path::absolute(path).is_ok_and(|path| path == Path::new(&kept.file));
    let (kept, other) = if kept.as_ref().is_some_and(of_this) { (kept, None) } else { (None, kept) };
    kept.or_else(|| KeptOriginal::recover(text, &READABLE, &path.to_string_lossy())).or(other)
}

/// Whether a file names this address, whoever wrote it.
#[must_use]
pub fn names(path: &Path, address: IpAddr) -> bool {
    load(path).is_ok_and(|text| ResolvConf::read(&text).nameservers.iter().any(|nameserver| nameserver.ip == address))
}

/// Why a file names nobody.
fn none_named(path: &Path, text: &str) -> ResolvConfError {
    let looks_like_one =
        |line: &str| line.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("nameserver"));
    match text.lines().zip(1..).find(|(line, _)| looks_like_one(line)) {
        Some((text, line)) => ResolvConfError::NotUnderstood {
            path: path.to_owned(),
            line,
            text: text.trim().chars().take(LINE_SHOWN_MAX).collect(),
        },
        None => ResolvConfError::Empty(path.to_owned()),
    }
}

/// Where the original of a file may be kept, the first place first.
///
/// Beside the file each container has its own, also where several with a `resolv.conf` each share
/// one state directory. The others are for a folder that cannot be written. All may be gone while
/// the file stands: in a pod it is mounted into every container, and one that is started again has
/// a new root; therefore what is written carries the original, too ([`KeptOriginal::recover`]).
#[must_use]
pub fn places(file: &Path) -> Vec<PathBuf> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".before-holdover");
    vec![beside.into(), "/var/lib/holdover/resolv.conf.original".into(), "/run/holdover/resolv.conf.original".into()]
}

/// The upstreams that a kept original stands for; `None` when it names none.
fn original_upstreams(kept: &KeptOriginal, own: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
    let own: Vec<SocketAddr> = own.iter().copied().chain(kept.own()).collect();
    // Where it was a link to what somebody writes elsewhere, that may be newer than what was kept.
    let live = kept.live.as_deref().and_then(|live| live_upstreams(Path::new(live), &own));
    live.or_else(|| others(&String::from_utf8_lossy(&kept.original), &own))
}

/// The upstreams of a file that its writer keeps up to date; a stub's own address in it is none.
fn live_upstreams(path: &Path, own: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
    let text = load(path).ok()?;
    (!ResolvConf::read(&text).is_stub()).then(|| others(&text, own)).flatten()
}

/// The name servers of a text that are not ours; `None` for none.
fn others(text: &str, own: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
    let others: Vec<_> = nameservers(text).into_iter().filter(|address| !network::is_own(own, *address)).collect();
    (!others.is_empty()).then(|| bounded(others))
}

/// As many as are used.
fn bounded(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.into_iter().take(RESOLV_CONF_NAMESERVERS_MAX).collect()
}

/// The text of a file, whose size is bounded.
fn load(path: &Path) -> Result<String, ResolvConfError> {
    Ok(String::from_utf8_lossy(&load_bytes(path)?).into_owned())
}

/// The bytes of a file, whose size is bounded.
fn load_bytes(path: &Path) -> Result<Vec<u8>, ResolvConfError> {
    let unreadable = |source| ResolvConfError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(RESOLV_CONF_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > RESOLV_CONF_MAX {
        return Err(ResolvConfError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

/// Reads a kept original; it holds an original, what was written for it, and a head.
fn load_kept(path: &Path) -> io::Result<KeptOriginal> {
    let mut bytes = Vec::new();
    File::open(path)?.take(3 * RESOLV_CONF_MAX).read_to_end(&mut bytes)?;
    KeptOriginal::read(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The name servers in the order in which they stand, each once. Lines that are not understood are
/// passed over, as by libc.
#[must_use]
pub fn nameservers(text: &str) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for address in ResolvConf::read(text).nameservers.iter().filter_map(address) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// The address of a name server; a scope becomes its number.
fn address(nameserver: &Nameserver) -> Option<SocketAddr> {
    match (&nameserver.scope, nameserver.ip) {
        (Some(scope), std::net::IpAddr::V6(ip)) => Some(SocketAddrV6::new(ip, DNS_PORT, 0, scope_id(scope)?).into()),
        (_, ip) => Some(SocketAddr::new(ip, DNS_PORT)),
    }
}

/// The number of an interface.
fn scope_id(scope: &str) -> Option<u32> {
    if let Ok(number) = scope.parse() {
        return Some(number);
    }
    if scope.is_empty()
        || !scope.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte))
        || scope.starts_with('.')
    {
        return None;
    }
    std::fs::read_to_string(format!("/sys/class/net/{scope}/ifindex")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        nameservers(text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn name_servers_are_read_and_the_rest_is_passed_over() {
        let text = "# made by hand\nsearch example.com\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # second\nnameserver nonsense\nnameserver 192.0.2.1\noptions ndots:5\n";
        assert_eq!(texts(text), ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }

    #[test]
    fn a_scope_is_kept() {
        assert_eq!(
            texts("nameserver fe80::1%7\nnameserver fe80::2%lo\nnameserver fe80::3%no/such"),
            ["[fe80::1%7]:53", "[fe80::2%1]:53"]
        );
    }

    #[test]
    fn our_own_address_is_left_out_and_alone_it_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let own = ["127.0.0.1:53".parse().unwrap()];
        std::fs::write(&path, "nameserver 127.0.0.1\nnameserver 192.0.2.1\n").unwrap();
        assert_eq!(read(&path, &own).unwrap(), ["192.0.2.1:53".parse().unwrap()]);
        std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
        let message = read(&path, &own).unwrap_err().to_string();
        assert!(
            message.ends_with(
                "names only holdover itself (127.0.0.1:53), so there is nobody to forward to; name the upstreams with --upstream"
            ),
            "{message}"
        );
        std::fs::write(&path, "").unwrap();
        assert!(matches!(read(&path, &own), Err(ResolvConfError::Empty(_))));
        std::fs::write(&path, "#".repeat(70_000)).unwrap();
        assert!(matches!(read(&path, &own), Err(ResolvConfError::TooLarge(_))));
        assert!(matches!(read(&folder.path().join("none"), &own), Err(ResolvConfError::Unreadable { .. })));
    }

    #[test]
    fn what_names_only_us_stands_for_the_kept_original() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let own = ["127.0.0.1:53".parse().unwrap()];
        let kept = |file: &Path| KeptOriginal {
            file: file.display().to_string(),
            was: crate::core::takeover::Was::File { mode: 0o644, owner: 0, group: 0 },
            live: None,
            wrote: "nameserver 127.0.0.1\n".into(),
            original: b"nameserver 192.0.2.1\nnameserver 127.0.0.1\nnameserver 192.0.2.2\n".to_vec(),
        };
        // Somebody wrote it by hand, or with half of what we wrote.
        std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
        std::fs::write(&places(&path)[0], kept(&path).write()).unwrap();
        assert_eq!(read(&path, &own).unwrap(), ["192.0.2.1:53".parse().unwrap(), "192.0.2.2:53".parse().unwrap()]);
        // What is kept of another file is not ours.
        std::fs::write(&places(&path)[0], kept(Path::new("/other")).write()).unwrap();
        assert!(matches!(read(&path, &own), Err(ResolvConfError::OnlyOurselves { .. })));
        // What others wrote since holds.
        std::fs::write(&places(&path)[0], kept(&path).write()).unwrap();
        std::fs::write(&path, "nameserver 127.0.0.1\nnameserver 192.0.2.9\n").unwrap();
        assert_eq!(read(&path, &own).unwrap(), ["192.0.2.9:53".parse().unwrap()]);
    }

    #[test]
    fn no_text_panics() {
        for text in ["nameserver", "nameserver %", "nameserver ::%", "nameserver fe80::1%../..", "\0\0"] {
            assert!(texts(text).is_empty(), "{text}");
        }
    }
}
