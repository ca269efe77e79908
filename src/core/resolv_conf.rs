//! The text of a `resolv.conf` (resolv.conf(5)): what it says, and who wrote it.
//!
//! It is read as glibc reads it: a keyword starts its line, the last `search` or `domain` holds,
//! options add up, lines that are not understood are passed over. Addresses stay words here,
//! because the scope of a link-local one (`fe80::1%eth0`) has a number only on the host.
//!
//! Who wrote it decides whether a change stays. Generated files say so in their first lines; where
//! they do not, what they name tells:
//!
//! | what is seen | writer |
//! |---|---|
//! | [`MARK`] in the first line | holdover |
//! | only `127.0.0.53` or `127.0.0.54`, or a link to `stub-resolv.conf` | systemd-resolved, its stub |
//! | a link below `/run/systemd/resolve/` | systemd-resolved, its upstreams |
//! | a comment with the generator's name | NetworkManager, dhclient, dhcpcd, resolvconf, Docker |
//! | `127.0.0.11` | Docker |
//! | a search path that ends in `svc.<cluster domain>` | kubelet |

use std::net::{IpAddr, Ipv4Addr};

/// How the first line of a file begins that holdover wrote.
pub const MARK: &str = "# Written by holdover";
/// Docker's resolver inside a container.
pub const DOCKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// systemd-resolved's stub listeners (systemd-resolved.service(8)).
pub const STUBS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];

/// What a `resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The name servers as they are written, each once.
    pub nameservers: Vec<Nameserver>,
    /// The search path that holds.
    pub search: Vec<String>,
    /// All options.
    pub options: Vec<String>,
}

/// A name server as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// Its address.
    pub ip: IpAddr,
    /// The scope of an IPv6 address, a number or the name of an interface.
    pub scope: Option<String>,
}

impl Nameserver {
    /// Reads an address, an IPv6 one perhaps with a scope.
    fn read(word: &str) -> Option<Self> {
        match word.split_once('%') {
            None => Some(Self { ip: word.parse().ok()?, scope: None }),
            Some((address, scope)) => {
                Some(Self { ip: IpAddr::V6(address.parse().ok()?), scope: Some(scope.to_owned()) })
            }
        }
    }
}

impl std::fmt::Display for Nameserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.scope {
            None => write!(f, "{}", self.ip),
            Some(scope) => write!(f, "{}%{scope}", self.ip),
        }
    }
}

impl ResolvConf {
    /// Reads a text; every text is one.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            match keyword {
                "nameserver" => {
                    if let Some(nameserver) = words.next().and_then(Nameserver::read)
                        && !read.nameservers.contains(&nameserver)
                    {
                        read.nameservers.push(nameserver);
                    }
                }
                "search" => read.search = words.map(str::to_owned).collect(),
                "domain" => read.search = words.take(1).map(str::to_owned).collect(),
                "options" => read.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        read
    }

    /// Whether it names only systemd-resolved's stub, whose own upstreams stand elsewhere.
    #[must_use]
    pub fn is_stub(&self) -> bool {
        !self.nameservers.is_empty() && self.nameservers.iter().all(|nameserver| STUBS.contains(&nameserver.ip))
    }
}

/// Who wrote a `resolv.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// holdover, when it took the file over.
    Holdover,
    /// systemd-resolved; the file names its stub.
    ResolvedStub,
    /// systemd-resolved; the file names its upstreams.
    Resolved,
    /// NetworkManager.
    NetworkManager,
    /// ISC dhclient.
    Dhclient,
    /// dhcpcd.
    Dhcpcd,
    /// resolvconf(8) or openresolv.
    Resolvconf,
    /// Docker, for a container.
    Docker,
    /// The kubelet, for a pod.
    Kubelet,
    /// Nobody who says so.
    Unknown,
}

impl Writer {
    /// Recognises the writer by the text and, where the file is a symbolic link, by its target.
    #[must_use]
    pub fn of(text: &str, link: Option<&str>) -> Self {
        let read = ResolvConf::read(text);
        if is_marked(text) {
            return Self::Holdover;
        }
        if read.is_stub() || link.is_some_and(|link| link.ends_with("systemd/resolve/stub-resolv.conf")) {
            return Self::ResolvedStub;
        }
        if link.is_some_and(|link| link.contains("systemd/resolve/")) {
            return Self::Resolved;
        }
        let comments: Vec<String> =
            text.lines().filter(|line| line.starts_with(['#', ';'])).map(|line| line.to_ascii_lowercase()).collect();
        let says = |word: &str| comments.iter().any(|line| line.contains("generated") && line.contains(word));
        let named = [
            ("networkmanager", Self::NetworkManager),
            ("dhclient", Self::Dhclient),
            ("dhcpcd", Self::Dhcpcd),
            ("resolvconf", Self::Resolvconf),
            ("docker engine", Self::Docker),
        ];
        if let Some((_, writer)) = named.into_iter().find(|(word, _)| says(word)) {
            return writer;
        }
        if comments.iter().any(|line| line.contains("man:systemd-resolved")) {
            return Self::Resolved;
        }
        if read.nameservers.iter().any(|nameserver| nameserver.ip == DOCKER) {
            return Self::Docker;
        }
        if read.search.first().is_some_and(|first| first.split('.').nth(1) == Some("svc")) {
            return Self::Kubelet;
        }
        Self::Unknown
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holdover => "holdover",
            Self::ResolvedStub => "systemd-resolved (its stub)",
            Self::Resolved => "systemd-resolved",
            Self::NetworkManager => "NetworkManager",
            Self::Dhclient => "dhclient",
            Self::Dhcpcd => "dhcpcd",
            Self::Resolvconf => "resolvconf",
            Self::Docker => "Docker",
            Self::Kubelet => "kubelet",
            Self::Unknown => "unknown",
        }
    }

    /// What will write over a change, and how to make it stay; `None` where nothing is known to.
    #[must_use]
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Holdover | Self::Unknown => None,
            Self::ResolvedStub | Self::Resolved => Some(
                "systemd-resolved leaves a plain file in place of its link alone, so this stays. Programs that ask systemd-resolved itself \
                 (nss-resolve, D-Bus) get its answers; with DNS=127.0.0.1 and Domains=~. in /etc/systemd/resolved.conf.d/holdover.conf they come \
                 here too",
            ),
            Self::NetworkManager => Some(
                "NetworkManager writes the file anew with every lease. To make this stay, put `[main]` and `dns=none` in \
                 /etc/NetworkManager/conf.d/holdover.conf and run `nmcli general reload`; its own servers stay readable in \
                 /run/NetworkManager/resolv.conf, where holdover goes on reading them",
            ),
            Self::Dhclient => Some(
                "dhclient writes the file anew with every lease. To make this stay, put `supersede domain-name-servers 127.0.0.1;` in \
                 /etc/dhcp/dhclient.conf (where the second name server was written, append it), or set PEERDNS=no in the interface's file",
            ),
            Self::Dhcpcd => Some(
                "dhcpcd writes the file anew with every lease. To make this stay, put `nohook resolv.conf` in /etc/dhcpcd.conf",
            ),
            Self::Resolvconf => Some(
                "resolvconf writes the file anew with every change of the network. To make this stay, run `resolvconf --disable-updates` \
                 (Debian's), or put `resolvconf=NO` in /etc/resolvconf.conf (openresolv)",
            ),
            Self::Docker => Some(
                "Docker leaves a changed file alone until the container is made anew. To have it changed in every new one, let \
                 `holdover run -- COMMAND` be its entry point",
            ),
            Self::Kubelet => Some(
                "The kubelet writes one file for all containers of a pod, so this stays until the pod is made anew. To have it changed in every \
                 new one, set dnsPolicy None and dnsConfig in the pod, or let `holdover run -- COMMAND` be the container's command",
            ),
        }
    }

    /// Where the writer keeps what it knows, readable also after its file was replaced.
    #[must_use]
    pub const fn live_source(self) -> Option<&'static str> {
        match self {
            Self::ResolvedStub | Self::Resolved => Some("/run/systemd/resolve/resolv.conf"),
            Self::NetworkManager => Some("/run/NetworkManager/resolv.conf"),
            Self::Holdover
            | Self::Dhclient
            | Self::Dhcpcd
            | Self::Resolvconf
            | Self::Docker
            | Self::Kubelet
            | Self::Unknown => None,
        }
    }
}

/// Whether holdover wrote this text.
#[must_use]
pub fn is_marked(text: &str) -> bool {
    text.starts_with(MARK)
}

/// The addresses to which Docker's resolver forwards from within the container's own network, as
/// its comment says; servers of the host (`host(192.0.2.1)`) are asked from the host's network and
/// left out.
#[must_use]
pub fn docker_forwards_to(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().find_map(|line| line.strip_prefix("# ExtServers: [")?.strip_suffix(']'));
    servers.map_or_else(Vec::new, |servers| {
        servers.split_ascii_whitespace().filter_map(|server| server.parse().ok()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_search_holds_and_options_add_up() {
        let read = ResolvConf::read(
            "; a comment\nsearch a.example.com b.example.com\ndomain c.example.com\noptions ndots:2 rotate\noptions timeout:1\nnameserver 192.0.2.1 # x\n\
             nameserver\nnameserver fe80::1%eth0\nnameserver 192.0.2.1\nsortlist 192.0.2.0\n",
        );
        assert_eq!(read.search, ["c.example.com"]);
        assert_eq!(read.options, ["ndots:2", "rotate", "timeout:1"]);
        assert_eq!(read.nameservers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.1", "fe80::1%eth0"]);
    }

    #[test]
    fn who_wrote_it_is_recognised() {
        let cases = [
            ("# Written by holdover: x\nnameserver 127.0.0.1\n", None, Writer::Holdover),
            ("nameserver 127.0.0.53\noptions edns0 trust-ad\n", None, Writer::ResolvedStub),
            ("nameserver 127.0.0.53\n", Some("../run/systemd/resolve/stub-resolv.conf"), Writer::ResolvedStub),
            ("nameserver 192.0.2.1\n", Some("/run/systemd/resolve/resolv.conf"), Writer::Resolved),
            (
                "# This is /run/systemd/resolve/resolv.conf managed by man:systemd-resolved(8).\nnameserver 192.0.2.1\n",
                None,
                Writer::Resolved,
            ),
            ("# Generated by NetworkManager\nnameserver 192.0.2.1\n", None, Writer::NetworkManager),
            (
                "; generated by /usr/sbin/dhclient-script\nsearch ec2.internal\nnameserver 192.0.2.2\n",
                None,
                Writer::Dhclient,
            ),
            ("# Generated by dhcpcd from eth0.dhcp\nnameserver 192.0.2.1\n", None, Writer::Dhcpcd),
            (
                "# Dynamic resolv.conf(5) file for glibc resolver(3) generated by resolvconf(8)\n",
                None,
                Writer::Resolvconf,
            ),
            ("# Generated by Docker Engine.\n\nnameserver 192.0.2.1\n", None, Writer::Docker),
            ("nameserver 127.0.0.11\noptions ndots:0\n", None, Writer::Docker),
            (
                "search shop.svc.cluster.local svc.cluster.local\nnameserver 203.0.113.10\noptions ndots:5\n",
                None,
                Writer::Kubelet,
            ),
            ("# mine\nnameserver 192.0.2.1\nnameserver 127.0.0.53\n", None, Writer::Unknown),
            ("", None, Writer::Unknown),
        ];
        for (text, link, writer) in cases {
            assert_eq!(Writer::of(text, link), writer, "{text}");
        }
    }

    #[test]
    fn docker_tells_whom_it_asks_from_within_the_container() {
        let text = "nameserver 127.0.0.11\n# ExtServers: [127.0.0.1 host(192.0.2.53) 2001:db8::1]\n# Overrides: [nameservers]\n";
        assert_eq!(docker_forwards_to(text), ["127.0.0.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
        assert!(docker_forwards_to("nameserver 127.0.0.11\n").is_empty());
    }
}
