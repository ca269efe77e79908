//! The text of a `resolv.conf` (resolv.conf(5)): what it says, and which program wrote it.
//!
//! It is read as glibc reads it: a keyword starts its line, the last `search` or `domain` counts,
//! options add up, and lines that are not understood are passed over. The scope of a link-local
//! address (`fe80::1%eth0`) stays a word here, because only the host knows its number.
//!
//! The writer decides whether a change of the file stays. The first row that fits names the writer;
//! the link is the target of the file where that is a symbolic link:
//!
//! | text or link | writer |
//! |---|---|
//! | [`MARK`] at the beginning | holdover |
//! | only `127.0.0.53` or `127.0.0.54`, or a link to `stub-resolv.conf` of systemd-resolved | systemd-resolved's stub |
//! | any other link into `systemd/resolve/` | systemd-resolved |
//! | a comment with "generated" and the generator's name | NetworkManager, dhclient, dhcpcd, resolvconf, Docker |
//! | a comment that refers to `man:systemd-resolved` | systemd-resolved |
//! | the name server `127.0.0.11` | Docker |
//! | a search path whose first domain has `svc` as its second label | kubelet |
//! | anything else | unknown |

use std::net::{IpAddr, Ipv4Addr};

use super::upstream::Transport;

/// The beginning of every file that holdover wrote.
pub const MARK: &str = "# Written by holdover";
/// The address of Docker's resolver inside a container.
pub const DOCKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// The addresses of systemd-resolved's stub listeners (systemd-resolved.service(8)).
pub const STUBS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];

/// The content of a `resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The name servers in the order of the file, each once.
    pub nameservers: Vec<Nameserver>,
    /// The search path: the domains of the last `search` or `domain` line.
    pub search: Vec<String>,
    /// The options of all `options` lines, in their order.
    pub options: Vec<String>,
}

/// A name server as it is written in a `resolv.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// The address of the name server.
    pub ip: IpAddr,
    /// The scope of an IPv6 address: a number, or the name of an interface.
    pub scope: Option<String>,
}

impl Nameserver {
    /// Reads an address, which may have a scope if it is an IPv6 address.
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
    /// Reads the text of a `resolv.conf`. Any text may be given.
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

    /// The transport over which the file wants its name servers to be asked: TCP with the option
    /// `use-vc` (or `usevc`, as it is called in BSD), else UDP.
    #[must_use]
    pub fn transport(&self) -> Transport {
        let is_tcp = self.options.iter().any(|option| option == "use-vc" || option == "usevc");
        if is_tcp { Transport::Tcp } else { Transport::Udp }
    }

    /// Whether all name servers are systemd-resolved's stub, whose upstreams are named in another
    /// file.
    #[must_use]
    pub fn is_stub(&self) -> bool {
        !self.nameservers.is_empty() && self.nameservers.iter().all(|nameserver| STUBS.contains(&nameserver.ip))
    }
}

/// The program that wrote a `resolv.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolvConfWriter {
    /// holdover wrote the file when it took it over.
    Holdover,
    /// systemd-resolved wrote the file, which names its stub.
    ResolvedStub,
    /// systemd-resolved wrote the file, which names its upstreams.
    Resolved,
    /// NetworkManager wrote the file.
    NetworkManager,
    /// ISC dhclient wrote the file.
    Dhclient,
    /// dhcpcd wrote the file.
    Dhcpcd,
    /// resolvconf(8) or openresolv wrote the file.
    Resolvconf,
    /// Docker wrote the file for a container.
    Docker,
    /// The kubelet wrote the file for a pod.
    Kubelet,
    /// Nothing in the file shows who wrote it, so it may have been a person.
    Unknown,
}

impl ResolvConfWriter {
    /// Recognises the writer by the text and, if the file is a symbolic link, by the link's target.
    #[must_use]
    pub fn of(text: &str, link: Option<&str>) -> Self {
        // The checks come in the order of the table at the top of this module.
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
        // Generators name themselves in a comment.
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
        // Without such a comment, Docker and the kubelet are recognised by what they write.
        if read.nameservers.iter().any(|nameserver| nameserver.ip == DOCKER) {
            return Self::Docker;
        }
        if read.search.first().is_some_and(|first| first.split('.').nth(1) == Some("svc")) {
            return Self::Kubelet;
        }
        Self::Unknown
    }

    /// The name of the writer, for the operator.
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

    /// Advice for the operator: whether the writer will overwrite a change of the file, and how to
    /// make the change stay. `None` where nothing is known to overwrite it.
    #[must_use]
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Holdover | Self::Unknown => None,
            Self::ResolvedStub | Self::Resolved => Some(
                "systemd-resolved does not touch a plain file that stands in place of its link, so this change stays. \
                 Programs that ask systemd-resolved itself (nss-resolve, D-Bus) get its answers; with DNS=127.0.0.1 \
                 and Domains=~. in /etc/systemd/resolved.conf.d/holdover.conf they are answered by holdover too",
            ),
            Self::NetworkManager => Some(
                "NetworkManager rewrites the file with every lease. To make this change stay, put `[main]` and \
                 `dns=none` in /etc/NetworkManager/conf.d/holdover.conf and run `nmcli general reload`; \
                 NetworkManager's own name servers stay readable in /run/NetworkManager/resolv.conf, where holdover \
                 goes on reading them",
            ),
            Self::Dhclient => Some(
                "dhclient rewrites the file with every lease. To make this change stay, put \
                 `supersede domain-name-servers 127.0.0.1;` in /etc/dhcp/dhclient.conf (with the second name server \
                 behind the first, if one was written), or set PEERDNS=no in the interface's file",
            ),
            Self::Dhcpcd => Some(
                "dhcpcd rewrites the file with every lease. To make this change stay, put `nohook resolv.conf` in \
                 /etc/dhcpcd.conf",
            ),
            Self::Resolvconf => Some(
                "resolvconf rewrites the file with every change of the network. To make this change stay, run \
                 `resolvconf --disable-updates` (Debian), or put `resolvconf=NO` in /etc/resolvconf.conf (openresolv)",
            ),
            Self::Docker => Some(
                "Docker does not touch a changed file until the container is created again. To have the file changed \
                 in every new container, make `holdover run -- COMMAND` its entry point",
            ),
            Self::Kubelet => Some(
                "The kubelet writes one file for all containers of a pod, so this change stays until the pod is \
                 created again. To have the file changed in every new pod, set dnsPolicy None and dnsConfig in the \
                 pod, or make `holdover run -- COMMAND` the container's command",
            ),
        }
    }

    /// The file in which the writer's own name servers stay readable after its `resolv.conf` was
    /// replaced; `None` where the writer keeps no such file.
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

/// Whether a text was written by holdover.
#[must_use]
pub fn is_marked(text: &str) -> bool {
    text.starts_with(MARK)
}

/// The addresses to which Docker's resolver forwards from within the container's own network, as
/// stated by the comment that Docker writes into the file.
///
/// Name servers that Docker asks from the host's network (`host(192.0.2.1)`) are left out: their
/// addresses mean something else inside the container.
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
    fn the_last_search_counts_and_options_add_up() {
        let read = ResolvConf::read(
            "; a comment\nsearch a.example.com b.example.com\ndomain c.example.com\noptions ndots:2 rotate\n\
             options timeout:1\nnameserver 192.0.2.1 # x\nnameserver\nnameserver fe80::1%eth0\n\
             nameserver 192.0.2.1\nsortlist 192.0.2.0\n",
        );
        assert_eq!(read.search, ["c.example.com"]);
        assert_eq!(read.options, ["ndots:2", "rotate", "timeout:1"]);
        assert_eq!(read.nameservers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.1", "fe80::1%eth0"]);
    }

    #[test]
    fn use_vc_on_any_line_means_tcp() {
        let transport = |text: &str| ResolvConf::read(text).transport();
        assert_eq!(transport("options ndots:2 use-vc\nnameserver 192.0.2.1\noptions rotate\n"), Transport::Tcp);
        assert_eq!(transport("options usevc\n"), Transport::Tcp);
        assert_eq!(transport("# options use-vc\noptions use-vc2 timeout:1\n"), Transport::Udp);
    }

    #[test]
    fn the_writer_is_recognised() {
        let cases = [
            ("# Written by holdover: x\nnameserver 127.0.0.1\n", None, ResolvConfWriter::Holdover),
            ("nameserver 127.0.0.53\noptions edns0 trust-ad\n", None, ResolvConfWriter::ResolvedStub),
            (
                "nameserver 127.0.0.53\n",
                Some("../run/systemd/resolve/stub-resolv.conf"),
                ResolvConfWriter::ResolvedStub,
            ),
            ("nameserver 192.0.2.1\n", Some("/run/systemd/resolve/resolv.conf"), ResolvConfWriter::Resolved),
            (
                "# This is /run/systemd/resolve/resolv.conf managed by man:systemd-resolved(8).\n\
                 nameserver 192.0.2.1\n",
                None,
                ResolvConfWriter::Resolved,
            ),
            ("# Generated by NetworkManager\nnameserver 192.0.2.1\n", None, ResolvConfWriter::NetworkManager),
            (
                "; generated by /usr/sbin/dhclient-script\nsearch ec2.internal\nnameserver 192.0.2.2\n",
                None,
                ResolvConfWriter::Dhclient,
            ),
            ("# Generated by dhcpcd from eth0.dhcp\nnameserver 192.0.2.1\n", None, ResolvConfWriter::Dhcpcd),
            (
                "# Dynamic resolv.conf(5) file for glibc resolver(3) generated by resolvconf(8)\n",
                None,
                ResolvConfWriter::Resolvconf,
            ),
            ("# Generated by Docker Engine.\n\nnameserver 192.0.2.1\n", None, ResolvConfWriter::Docker),
            ("nameserver 127.0.0.11\noptions ndots:0\n", None, ResolvConfWriter::Docker),
            (
                "search shop.svc.cluster.local svc.cluster.local\nnameserver 203.0.113.10\noptions ndots:5\n",
                None,
                ResolvConfWriter::Kubelet,
            ),
            ("# mine\nnameserver 192.0.2.1\nnameserver 127.0.0.53\n", None, ResolvConfWriter::Unknown),
            ("", None, ResolvConfWriter::Unknown),
        ];
        for (text, link, writer) in cases {
            assert_eq!(ResolvConfWriter::of(text, link), writer, "{text}");
        }
    }

    #[test]
    fn the_comment_of_docker_names_the_servers_asked_from_within_the_container() {
        let text = "nameserver 127.0.0.11\n# ExtServers: [127.0.0.1 host(192.0.2.53) 2001:db8::1]\n\
                    # Overrides: [nameservers]\n";
        assert_eq!(docker_forwards_to(text), ["127.0.0.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
        assert!(docker_forwards_to("nameserver 127.0.0.11\n").is_empty());
    }
}
