//! Reads the upstreams of the host from `resolv.conf` (resolv.conf(5)), leaving out holdover's own addresses.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};

use crate::config::limits::{DNS_PORT, RESOLV_CONF_MAX, RESOLV_CONF_NAMESERVERS_MAX};
use crate::core::network;

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
    /// It names only ourselves.
    #[error("{}: names only holdover itself ({own}), so there is nobody to forward to; name the upstreams with --upstream", path.display())]
    OnlyOurselves {
        /// The file.
        path: PathBuf,
        /// The first of our addresses in it.
        own: SocketAddr,
    },
}

/// Reads the name servers of a file; `own` are the addresses on which holdover listens.
///
/// # Errors
/// [`ResolvConfError`].
pub fn read(path: &Path, own: &[SocketAddr]) -> Result<Vec<SocketAddr>, ResolvConfError> {
    let unreadable = |source| ResolvConfError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(RESOLV_CONF_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > RESOLV_CONF_MAX {
        return Err(ResolvConfError::TooLarge(path.to_owned()));
    }
    let named = nameservers(&String::from_utf8_lossy(&bytes));
    let (ours, others): (Vec<_>, Vec<_>) = named.into_iter().partition(|address| network::is_own(own, *address));
    match (others.is_empty(), ours.first()) {
        (false, _) => Ok(others.into_iter().take(RESOLV_CONF_NAMESERVERS_MAX).collect()),
        (true, Some(own)) => Err(ResolvConfError::OnlyOurselves { path: path.to_owned(), own: *own }),
        (true, None) => Err(ResolvConfError::Empty(path.to_owned())),
    }
}

/// The name servers in the order in which they stand, each once. Lines that are not understood are passed over, as by libc.
#[must_use]
pub fn nameservers(text: &str) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        if let Some(address) = words.next().and_then(read_address)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// Reads an address, an IPv6 one perhaps with a scope as number or interface name (`fe80::1%eth0`).
fn read_address(word: &str) -> Option<SocketAddr> {
    match word.split_once('%') {
        None => Some(SocketAddr::new(word.parse().ok()?, DNS_PORT)),
        Some((address, scope)) => {
            let IpAddr::V6(address) = address.parse().ok()? else { return None };
            Some(SocketAddrV6::new(address, DNS_PORT, 0, scope_id(scope)?).into())
        }
    }
}

/// The number of an interface.
fn scope_id(scope: &str) -> Option<u32> {
    if let Ok(number) = scope.parse() {
        return Some(number);
    }
    if scope.is_empty() || !scope.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte)) || scope.starts_with('.') {
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
        assert_eq!(texts("nameserver fe80::1%7\nnameserver fe80::2%lo\nnameserver fe80::3%no/such"), ["[fe80::1%7]:53", "[fe80::2%1]:53"]);
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
    fn no_text_panics() {
        for text in ["nameserver", "nameserver %", "nameserver ::%", "nameserver fe80::1%../..", "\0\0"] {
            assert!(texts(text).is_empty(), "{text}");
        }
    }
}
