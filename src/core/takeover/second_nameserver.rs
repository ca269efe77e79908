//! The second name server of a `resolv.conf` that holdover takes over, and which name servers of
//! the original holdover may ask itself.

use std::net::IpAddr;

use crate::core::resolv_conf::{DOCKER, Nameserver, ResolvConf, STUBS, docker_forwards_to};

/// The operator's choice about the second name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// A second name server is written where it helps.
    Auto,
    /// A second name server is written if the original has one.
    Yes,
    /// No second name server is written.
    No,
}

/// The programs on the host, or in the container, that read the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readers {
    /// Whether musl's loader is installed.
    pub musl: bool,
    /// Whether glibc's own loader is installed, and not a replacement of musl for it.
    pub glibc: bool,
    /// Whether the system is Alpine, whose programs are linked to musl whatever else is installed.
    pub alpine: bool,
    /// Whether systemd-resolved runs on this host.
    pub resolved: bool,
}

/// The second name server, or the reason for which there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondNameserver {
    /// A name server that is written behind holdover's address.
    Written(Nameserver),
    /// No second name server is written, for this reason.
    LeftOut(LeftOut),
}

/// The reason for which there is no second name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// The operator wants no second name server.
    AskedFor,
    /// Programs on this host use musl, which asks all name servers at once.
    Musl,
    /// systemd-resolved reads the file, and stays with whichever name server answered last.
    Resolved,
    /// The original names no name server but those that lead back to holdover.
    Nobody,
}

impl LeftOut {
    /// The reason in words, for the operator.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::AskedFor => "--fallback no",
            Self::Musl => "programs here use musl, which asks all name servers at once",
            Self::Resolved => "systemd-resolved reads the file, and stays with the second once that has answered",
            Self::Nobody => "the original has no name server but those that lead back to holdover",
        }
    }
}

/// Decides whether the first of `candidates` is written behind holdover's address.
#[must_use]
pub fn second_nameserver(fallback: Fallback, readers: Readers, candidates: &[Nameserver]) -> SecondNameserver {
    // Where both libraries are installed, programs use glibc, except on Alpine.
    let musl = readers.musl && (readers.alpine || !readers.glibc);
    match (fallback, candidates.first()) {
        (Fallback::No, _) => SecondNameserver::LeftOut(LeftOut::AskedFor),
        (Fallback::Auto, _) if musl => SecondNameserver::LeftOut(LeftOut::Musl),
        (Fallback::Auto, _) if readers.resolved => SecondNameserver::LeftOut(LeftOut::Resolved),
        (Fallback::Auto | Fallback::Yes, None) => SecondNameserver::LeftOut(LeftOut::Nobody),
        (Fallback::Auto | Fallback::Yes, Some(first)) => SecondNameserver::Written(first.clone()),
    }
}

/// The name servers of a text to which holdover at the address `own` may forward: all but itself,
/// and but Docker's resolver where that forwards to holdover.
#[must_use]
pub fn upstreams(text: &str, own: IpAddr) -> Vec<Nameserver> {
    let circle = leads_back(text, own);
    let named = ResolvConf::read(text).nameservers;
    named
        .into_iter()
        .filter(|nameserver| nameserver.ip.to_canonical() != own.to_canonical() && !(circle && nameserver.ip == DOCKER))
        .collect()
}

/// Whether the text names Docker's resolver and says that it forwards to `own`.
#[must_use]
pub fn leads_back(text: &str, own: IpAddr) -> bool {
    ResolvConf::read(text).nameservers.iter().any(|nameserver| nameserver.ip == DOCKER)
        && docker_forwards_to(text).contains(&own)
}

/// Whether a live source can stand for the original: it names a name server that is neither
/// holdover nor a stub of systemd-resolved.
#[must_use]
pub fn is_usable_source(text: &str, own: IpAddr) -> bool {
    let others = upstreams(text, own);
    others.iter().any(|nameserver| !STUBS.contains(&nameserver.ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const GLIBC: Readers = Readers { musl: false, glibc: true, alpine: false, resolved: false };

    fn servers(text: &str) -> Vec<Nameserver> {
        ResolvConf::read(text).nameservers
    }

    #[test]
    fn the_second_name_server_is_written_where_it_helps() {
        let one = servers("nameserver 192.0.2.1\nnameserver 192.0.2.2\n");
        let written = SecondNameserver::Written(one[0].clone());
        let musl = Readers { musl: true, ..Readers::default() };
        let cases = [
            (Fallback::Auto, GLIBC, written.clone()),
            // An empty image with one static binary: Go's own resolver, most likely.
            (Fallback::Auto, Readers::default(), written.clone()),
            (Fallback::Auto, musl, SecondNameserver::LeftOut(LeftOut::Musl)),
            // Debian with the package musl: its programs use glibc.
            (Fallback::Auto, Readers { musl: true, ..GLIBC }, written.clone()),
            (Fallback::Auto, Readers { musl: true, alpine: true, ..GLIBC }, SecondNameserver::LeftOut(LeftOut::Musl)),
            (Fallback::Auto, Readers { resolved: true, ..GLIBC }, SecondNameserver::LeftOut(LeftOut::Resolved)),
            (Fallback::Yes, musl, written),
            (Fallback::No, GLIBC, SecondNameserver::LeftOut(LeftOut::AskedFor)),
        ];
        for (fallback, readers, expected) in cases {
            assert_eq!(second_nameserver(fallback, readers, &one), expected, "{fallback:?} {readers:?}");
        }
        assert_eq!(second_nameserver(Fallback::Yes, GLIBC, &[]), SecondNameserver::LeftOut(LeftOut::Nobody));
    }

    #[test]
    fn a_name_server_that_leads_back_is_no_upstream() {
        let docker = "nameserver 127.0.0.11\nnameserver 127.0.0.1\n# ExtServers: [127.0.0.1]\n";
        assert!(leads_back(docker, OWN) && upstreams(docker, OWN).is_empty());
        let docker = docker.replace("[127.0.0.1]", "[host(127.0.0.1)]");
        assert_eq!(
            upstreams(&docker, OWN),
            servers("nameserver 127.0.0.11"),
            "127.0.0.1 of the host is another address"
        );
        assert!(!is_usable_source("nameserver 127.0.0.1\nnameserver 127.0.0.53\n", OWN));
        assert!(is_usable_source("nameserver 127.0.0.1\nnameserver 192.0.2.1\n", OWN));
    }
}
