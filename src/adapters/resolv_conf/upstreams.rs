//! Finds the upstreams that a `resolv.conf` stands for.
//!
//! | the file | upstreams |
//! |---|---|
//! | names another name server than holdover | the name servers in it |
//! | names only systemd-resolved's stub | the name servers to which systemd-resolved forwards |
//! | was written by holdover | the name servers of the original, as they are today |
//! | names only holdover, though holdover did not write it | those of a kept original, if there is one |
//!
//! systemd-resolved writes its own name servers to `/run/systemd/resolve/resolv.conf`; where that
//! cannot be read, the stub itself is the upstream. Behind a file that holdover wrote, the name
//! servers come from the first of these that names any: the file that the original's writer keeps
//! up to date; the kept original or, where that is gone, the original in the text; the other name
//! servers of the file itself.
//!
//! The addresses on which holdover listens are left out everywhere, and at most
//! [`RESOLV_CONF_NAMESERVERS_MAX`] name servers are used. The options of the text that names them
//! decide whether they are asked over UDP or TCP. No name server is asked here whether it answers.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::error::ResolvConfError;
use super::file::load;
use super::nameservers::nameservers;
use super::original::{kept_for, original_behind};
use crate::config::limits::RESOLV_CONF_NAMESERVERS_MAX;
use crate::core::network;
use crate::core::resolv_conf::{ResolvConf, ResolvConfWriter};
use crate::core::takeover::KeptOriginal;
use crate::core::upstream::Transport;

/// Characters of a line that a message shows.
const LINE_SHOWN_MAX: usize = 60;

/// The upstreams that a `resolv.conf` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNameservers {
    /// The addresses of the name servers in the order of the file, each once.
    pub addresses: Vec<SocketAddr>,
    /// The transport over which the file wants them to be asked.
    pub transport: Transport,
}

impl HostNameservers {
    /// The name servers of a host that names none.
    pub const NONE: Self = Self { addresses: Vec::new(), transport: Transport::Udp };

    /// These name servers, of which no more are used than allowed, with the transport that `text`
    /// asks for.
    fn of(text: &str, mut addresses: Vec<SocketAddr>) -> Self {
        addresses.truncate(RESOLV_CONF_NAMESERVERS_MAX);
        Self { addresses, transport: ResolvConf::read(text).transport() }
    }
}

/// Reads the upstreams that a `resolv.conf` stands for; `own` are the addresses on which holdover
/// listens.
///
/// # Errors
/// - [`ResolvConfError::Unreadable`] and [`ResolvConfError::TooLarge`] when the file cannot be
///   read.
/// - [`ResolvConfError::Empty`] and [`ResolvConfError::NotUnderstood`] when it names no name
///   server.
/// - [`ResolvConfError::OnlyOurselves`] when it names only holdover and no original is kept for it.
pub fn read(path: &Path, own: &[SocketAddr]) -> Result<HostNameservers, ResolvConfError> {
    let text = load(path)?;
    // Where holdover wrote the file, the original behind it counts.
    if let Some(kept) = original_behind(path, &text)
        && let Some(found) = original_upstreams(&kept, own)
    {
        return Ok(found);
    }
    // Where the file names only systemd-resolved's stub, the stub's own upstreams stand in another
    // file.
    if ResolvConf::read(&text).is_stub()
        && let Some(found) =
            ResolvConfWriter::ResolvedStub.live_source().and_then(|live| live_upstreams(Path::new(live), own))
    {
        return Ok(found);
    }
    // In all other cases the file names the upstreams itself.
    let (ours, others): (Vec<_>, Vec<_>) =
        nameservers(&text).into_iter().partition(|address| network::is_own(own, *address));
    match (others.is_empty(), ours.first()) {
        (false, _) => Ok(HostNameservers::of(&text, others)),
        (true, Some(address)) => kept_for(path)
            .and_then(|kept| original_upstreams(&kept, own))
            .ok_or_else(|| ResolvConfError::OnlyOurselves { path: path.to_owned(), own: *address }),
        (true, None) => Err(none_named(path, &text)),
    }
}

/// Whether a `resolv.conf` names this address as a name server, whichever program wrote the file;
/// `false` when the file cannot be read.
#[must_use]
pub fn names(path: &Path, address: IpAddr) -> bool {
    load(path).is_ok_and(|text| ResolvConf::read(&text).nameservers.iter().any(|nameserver| nameserver.ip == address))
}

/// Distinguishes a file without name servers from one whose name servers are not understood.
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

/// The upstreams that a kept original stands for; `None` when it names none.
fn original_upstreams(kept: &KeptOriginal, own: &[SocketAddr]) -> Option<HostNameservers> {
    let own: Vec<SocketAddr> = own.iter().copied().chain(kept.own()).collect();
    // Where the original was a link to a file that its writer keeps up to date, that file may be
    // newer than the kept copy.
    let live = kept.live.as_deref().and_then(|live| live_upstreams(Path::new(live), &own));
    live.or_else(|| others(&String::from_utf8_lossy(&kept.original), &own))
}

/// The upstreams of a file that its writer keeps up to date. A file that names only the address of
/// systemd-resolved's stub gives none.
fn live_upstreams(path: &Path, own: &[SocketAddr]) -> Option<HostNameservers> {
    let text = load(path).ok()?;
    (!ResolvConf::read(&text).is_stub()).then(|| others(&text, own)).flatten()
}

/// The name servers of a text that are not holdover's own addresses; `None` when there are none.
fn others(text: &str, own: &[SocketAddr]) -> Option<HostNameservers> {
    let others: Vec<_> = nameservers(text).into_iter().filter(|address| !network::is_own(own, *address)).collect();
    (!others.is_empty()).then(|| HostNameservers::of(text, others))
}

#[cfg(test)]
mod tests {
    use super::super::original::places;
    use super::*;
    use crate::core::takeover::Was;

    #[test]
    fn our_own_address_is_left_out_and_alone_it_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let own = ["127.0.0.1:53".parse().unwrap()];
        std::fs::write(&path, "nameserver 127.0.0.1\nnameserver 192.0.2.1\n").unwrap();
        assert_eq!(read(&path, &own).unwrap().addresses, ["192.0.2.1:53".parse().unwrap()]);
        std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
        let message = read(&path, &own).unwrap_err().to_string();
        assert!(
            message.ends_with(
                "names only holdover itself (127.0.0.1:53), so there is nobody to forward to; \
                 name the upstreams with --upstream"
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
            was: Was::File { mode: 0o644, owner: 0, group: 0 },
            live: None,
            wrote: "nameserver 127.0.0.1\n".into(),
            original: b"nameserver 192.0.2.1\nnameserver 127.0.0.1\nnameserver 192.0.2.2\n".to_vec(),
        };
        // Somebody wrote it by hand, or with half of what we wrote.
        std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
        std::fs::write(&places(&path)[0], kept(&path).write()).unwrap();
        assert_eq!(
            read(&path, &own).unwrap().addresses,
            ["192.0.2.1:53".parse().unwrap(), "192.0.2.2:53".parse().unwrap()]
        );
        // What is kept of another file is not ours.
        std::fs::write(&places(&path)[0], kept(Path::new("/other")).write()).unwrap();
        assert!(matches!(read(&path, &own), Err(ResolvConfError::OnlyOurselves { .. })));
        // What others wrote since holds.
        std::fs::write(&places(&path)[0], kept(&path).write()).unwrap();
        std::fs::write(&path, "nameserver 127.0.0.1\nnameserver 192.0.2.9\n").unwrap();
        assert_eq!(read(&path, &own).unwrap().addresses, ["192.0.2.9:53".parse().unwrap()]);
    }

    #[test]
    fn the_options_of_the_text_that_names_them_choose_the_transport() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let own = ["127.0.0.1:53".parse().unwrap()];
        std::fs::write(&path, "nameserver 192.0.2.1\noptions ndots:2\n").unwrap();
        assert_eq!(read(&path, &own).unwrap().transport, Transport::Udp);
        std::fs::write(&path, "nameserver 192.0.2.1\noptions use-vc\n").unwrap();
        assert_eq!(read(&path, &own).unwrap().transport, Transport::Tcp);
        // Behind our own text the original counts.
        let kept = KeptOriginal {
            file: path.display().to_string(),
            was: Was::File { mode: 0o644, owner: 0, group: 0 },
            live: None,
            wrote: "nameserver 127.0.0.1\n".into(),
            original: b"options use-vc\nnameserver 192.0.2.1\n".to_vec(),
        };
        std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
        std::fs::write(&places(&path)[0], kept.write()).unwrap();
        let found = read(&path, &own).unwrap();
        assert_eq!((found.addresses.len(), found.transport), (1, Transport::Tcp));
    }
}
