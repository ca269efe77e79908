//! The reader of the URL of a shared cache.
//!
//! | URL | the hosts are | the path is |
//! |---|---|---|
//! | `redis://host,host/0` | servers; the first that answers is used | the database |
//! | `redis-sentinel://host,host/primary/0` | sentinels | the primary, and the database |
//! | `redis-cluster://host,host` | members of a cluster | empty: there is one database |
//!
//! With `rediss` in place of `redis`, connections use TLS. User and password have keys of their
//! own: a URL that holds them is rejected, because URLs are shown in logs and statuses.

use std::net::IpAddr;

use crate::config::limits::{SHARED_CACHE_GROUP_MAX, SHARED_CACHE_HOSTS_MAX};
use crate::config::settings::{Server, SharedCacheServers, SharedCacheTransport, Topology};
use crate::core::key::read_name;

/// Port of a server that names none.
const PORT: u16 = 6379;
/// Port of a sentinel that names none.
const SENTINEL_PORT: u16 = 26_379;

/// Why a text is not the URL of a shared cache. The message follows the name of the key, and never
/// shows the URL itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharedCacheUrlError {
    /// The URL has no scheme, or one that is not known.
    #[error(
        "has a scheme that is not known. Allowed: redis, rediss, redis-sentinel, rediss-sentinel, redis-cluster, \
         rediss-cluster, each followed by :// and hosts."
    )]
    Scheme,
    /// The URL holds a user or a password.
    #[error(
        "holds a user or password, which would be shown wherever the URL is shown. Use shared_cache.username and \
         shared_cache.password_file, or the variable HOLDOVER_SHARED_CACHE_PASSWORD."
    )]
    Credentials,
    /// The URL of a cluster names a database.
    #[error("names a database, but a cluster has only one. Leave out what follows the hosts.")]
    ClusterDatabase,
    /// The URL of sentinels does not name the primary, or its name is too long.
    #[error("names sentinels but no primary. Write redis-sentinel://host,host/name-of-the-primary.")]
    Primary,
    /// The database is not a number.
    #[error("names a database that is not a number. Write it as in redis://host:6379/0.")]
    Database,
    /// The hosts are too few or too many, or one of them is neither an address nor a name.
    #[error(
        "does not name 1 to {SHARED_CACHE_HOSTS_MAX} hosts. Write addresses or full names, each with an optional port, \
         with commas between them."
    )]
    Hosts,
}

/// Reads the URL of a shared cache.
///
/// # Errors
/// [`SharedCacheUrlError`] names the part of the URL that is wrong.
pub fn read_url(url: &str) -> Result<SharedCacheServers, SharedCacheUrlError> {
    // The scheme says whether connections use TLS, and what kind of servers the hosts are.
    let (scheme, rest) = url.split_once("://").ok_or(SharedCacheUrlError::Scheme)?;
    let (base, kind) = scheme.split_once('-').unwrap_or((scheme, ""));
    let transport = match base {
        "redis" => SharedCacheTransport::Plain,
        "rediss" => SharedCacheTransport::Tls,
        _ => return Err(SharedCacheUrlError::Scheme),
    };
    if rest.contains('@') {
        return Err(SharedCacheUrlError::Credentials);
    }

    // The meaning of the path depends on the kind of the hosts.
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (topology, database, port) = match kind {
        "" => (Topology::Single, path, PORT),
        "cluster" if path.is_empty() => (Topology::Cluster, "", PORT),
        "cluster" => return Err(SharedCacheUrlError::ClusterDatabase),
        "sentinel" => {
            let (primary, database) = path.split_once('/').unwrap_or((path, ""));
            if primary.is_empty() || primary.len() > SHARED_CACHE_GROUP_MAX {
                return Err(SharedCacheUrlError::Primary);
            }
            (Topology::Sentinel { primary: primary.to_owned() }, database, SENTINEL_PORT)
        }
        _ => return Err(SharedCacheUrlError::Scheme),
    };
    let database = match database {
        "" => 0,
        number => number.parse().map_err(|_| SharedCacheUrlError::Database)?,
    };

    // Each host may have a port; the default port depends on the kind of the hosts too.
    let hosts: Option<Vec<Server>> = hosts.split(',').map(|host| server(host, port)).collect();
    let hosts = hosts.filter(|hosts| hosts.len() <= SHARED_CACHE_HOSTS_MAX).ok_or(SharedCacheUrlError::Hosts)?;
    Ok(SharedCacheServers { topology, hosts, transport, database })
}

/// Reads a host with an optional port; a host without one gets the given port.
fn server(text: &str, port: u16) -> Option<Server> {
    let text = text.trim();
    // An IPv6 address without a port comes first, since its last group looks like a port.
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some(Server { host: ip.to_string(), port });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => {
            (host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok().filter(|port| *port > 0)?)
        }
        None => (text, port),
    };
    // DNS allows any byte in a name; a host in a URL does not.
    let is_name =
        read_name(host).is_some() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    (host.parse::<IpAddr>().is_ok() || is_name).then(|| Server { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<String> {
        read_url(url).unwrap().hosts.iter().map(|server| format!("{}|{}", server.host, server.port)).collect()
    }

    #[test]
    fn urls_name_servers_sentinels_or_members() {
        assert_eq!(hosts("redis://cache.example.com"), ["cache.example.com|6379"]);
        assert_eq!(hosts("rediss://192.0.2.1:6380/2"), ["192.0.2.1|6380"]);
        assert_eq!(hosts("redis://[2001:db8::1]:6380,2001:db8::2"), ["2001:db8::1|6380", "2001:db8::2|6379"]);
        let sentinels = read_url("redis-sentinel://s1.example.com,192.0.2.2:26380/main/3").unwrap();
        assert_eq!(sentinels.topology, Topology::Sentinel { primary: "main".to_owned() });
        assert_eq!((sentinels.hosts[0].port, sentinels.hosts[1].port, sentinels.database), (26_379, 26_380, 3));
        let cluster = read_url("rediss-cluster://192.0.2.1,192.0.2.2").unwrap();
        assert_eq!((cluster.topology, cluster.transport), (Topology::Cluster, SharedCacheTransport::Tls));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_showing_it() {
        for (wrong, told) in [
            ("cache.example.com", "scheme"),
            ("http://cache.example.com", "scheme"),
            ("redis-x://cache.example.com", "scheme"),
            ("redis://user:secret@cache.example.com", "password"),
            ("redis://", "hosts"),
            ("redis://a..b", "hosts"),
            ("redis://cache.example.com:0", "hosts"),
            ("redis://cache.example.com:99999", "hosts"),
            ("redis://cache.example.com/one", "database"),
            ("redis://cache.example.com/0?protocol=resp3", "database"),
            ("redis-sentinel://192.0.2.1", "primary"),
            ("redis-cluster://192.0.2.1/1", "cluster"),
        ] {
            let message = read_url(wrong).unwrap_err().to_string();
            assert!(message.contains(told) && !message.contains("secret"), "{wrong}: {message}");
        }
        assert!(read_url(&format!("redis://{}", vec!["192.0.2.1"; 17].join(","))).is_err());
    }
}
