//! Judges where the fleet's memory is, and with what we prove who we are. What lies in files is
//! read at the start, not here.

use std::net::IpAddr;
use std::path::PathBuf;

use super::Judge;
use super::text::text;
use crate::config::error::Problem;
use crate::config::keys::shared_cache::{
    SHARED_CACHE_CA_FILE, SHARED_CACHE_FORMER_KEY_FILE, SHARED_CACHE_GROUP, SHARED_CACHE_KEY_FILE,
    SHARED_CACHE_PASSWORD_FILE, SHARED_CACHE_URL, SHARED_CACHE_USERNAME,
};
use crate::config::layer::Given;
use crate::config::limits;
use crate::config::settings::{Password, Server, Servers, SharedCacheSettings, Topology, Transport};

/// The word for none.
const OFF: &str = "off";
/// Longest name of a user.
const USERNAME_MAX: usize = 256;
/// Longest group.
const GROUP_MAX: usize = 64;
/// Hosts of one URL.
const HOSTS_MAX: usize = 16;
/// Port of a server.
const PORT: u16 = 6379;
/// Port of a sentinel.
const SENTINEL_PORT: u16 = 26_379;

impl Judge<'_> {
    /// What is shared with others.
    pub(super) fn shared_cache(&mut self) -> Option<SharedCacheSettings> {
        let given = self.layer.values.get(SHARED_CACHE_URL).cloned()?;
        let url = text(&given.raw).map(str::trim).unwrap_or_default().to_owned();
        let (timeout, start_names) =
            (self.bounded(&limits::SHARED_CACHE_TIMEOUT), self.bounded(&limits::SHARED_CACHE_START_NAMES));
        if url == OFF {
            return None;
        }
        if !cfg!(feature = "shared-cache") {
            self.about_url(
                &given,
                "names a shared cache, and this holdover was built without the feature shared-cache. Use one that has it.",
            );
            return None;
        }
        let servers = match read_url(&url) {
            Ok(servers) => Some(servers),
            Err(wrong) => {
                self.about_url(&given, wrong);
                None
            }
        };
        let key_file = self.path(SHARED_CACHE_KEY_FILE);
        if key_file.is_none() {
            let what = "names a shared cache, and shared_cache.key_file names no key: nothing in it could be believed. Make a key with \
                        `openssl rand -hex 32`, and give all instances of the fleet the same.";
            self.about_url(&given, what);
        }
        let ca_file = self.path(SHARED_CACHE_CA_FILE);
        if let (Some(Servers { transport: Transport::Plain, .. }), Some(_)) = (&servers, &ca_file)
            && let Some(given) = self.layer.values.get(SHARED_CACHE_CA_FILE).cloned()
        {
            self.complain(SHARED_CACHE_CA_FILE, &given, "is for TLS, and the URL is not: write rediss");
        }
        let password = match self.layer.shared_cache_password.clone() {
            Some(secret) => Some(Password::Given(secret)),
            None => self.path(SHARED_CACHE_PASSWORD_FILE).map(Password::File),
        };
        let username = self.short(SHARED_CACHE_USERNAME, USERNAME_MAX);
        if let (Some(_), None, Some(given)) =
            (&username, &password, self.layer.values.get(SHARED_CACHE_USERNAME).cloned())
        {
            self.complain(SHARED_CACHE_USERNAME, &given, "has no password: name shared_cache.password_file");
        }
        let group = self.group();
        let former_key_file = self.path(SHARED_CACHE_FORMER_KEY_FILE);
        Some(SharedCacheSettings {
            url,
            servers: servers?,
            group,
            key_file: key_file?,
            former_key_file,
            username,
            password,
            ca_file,
            timeout,
            start_names,
        })
    }

    /// Complains about the URL without showing it: somebody may have written a password into it.
    fn about_url(&mut self, given: &Given, what: &str) {
        self.problems.push(Problem::place(&given.origin, SHARED_CACHE_URL, what));
    }

    /// The group.
    fn group(&mut self) -> String {
        let Some(given) = self.layer.values.get(SHARED_CACHE_GROUP).cloned() else { return "default".to_owned() };
        let fits = |group: &&str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            (1..=GROUP_MAX).contains(&group.len()) && group.bytes().all(allowed)
        };
        match text(&given.raw).filter(fits) {
            Some(group) => group.to_owned(),
            None => {
                self.complain(SHARED_CACHE_GROUP, &given, "is no group");
                String::new()
            }
        }
    }

    /// A path, if one is given.
    fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.short(key, limits::PATH_MAX).map(PathBuf::from)
    }

    /// A text of so many bytes at the most, if one is given.
    fn short(&mut self, key: &'static str, longest: usize) -> Option<String> {
        let given = self.layer.values.get(key).cloned()?;
        match text(&given.raw) {
            Some("") => None,
            Some(text) if text.len() <= longest && !text.contains('\0') => Some(text.to_owned()),
            Some(_) | None => {
                self.complain(key, &given, "cannot be used");
                None
            }
        }
    }
}

/// Reads a URL.
///
/// # Errors
/// What is wrong, without saying what was given.
pub fn read_url(url: &str) -> Result<Servers, &'static str> {
    const SCHEME: &str = "has a scheme that is not known. Allowed: redis, rediss, redis-sentinel, rediss-sentinel, redis-cluster, \
                          rediss-cluster, each followed by :// and hosts.";
    let (scheme, rest) = url.split_once("://").ok_or(SCHEME)?;
    let (base, kind) = scheme.split_once('-').unwrap_or((scheme, ""));
    let transport = match base {
        "redis" => Transport::Plain,
        "rediss" => Transport::Tls,
        _ => return Err(SCHEME),
    };
    if rest.contains('@') {
        return Err(
            "holds a user or password, which would be shown where URLs are shown. Name shared_cache.username and \
                    shared_cache.password_file, or set HOLDOVER_SHARED_CACHE_PASSWORD.",
        );
    }
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (topology, database, port) = match kind {
        "" => (Topology::Single, path, PORT),
        "cluster" if path.is_empty() => (Topology::Cluster, "", PORT),
        "cluster" => {
            return Err("names a database, of which a cluster has only one. Leave out what is behind the hosts.");
        }
        "sentinel" => {
            let (primary, database) = path.split_once('/').unwrap_or((path, ""));
            if primary.is_empty() || primary.len() > GROUP_MAX {
                return Err("names sentinels and no primary. Write redis-sentinel://host,host/name-of-the-primary.");
            }
            (Topology::Sentinel { primary: primary.to_owned() }, database, SENTINEL_PORT)
        }
        _ => return Err(SCHEME),
    };
    let database = match database {
        "" => 0,
        number => {
            number.parse().map_err(|_| "names a database that is no number. Write such as redis://host:6379/0.")?
        }
    };
    let hosts: Option<Vec<Server>> = hosts.split(',').map(|host| server(host, port)).collect();
    let hosts = hosts
        .filter(|hosts| hosts.len() <= HOSTS_MAX)
        .ok_or("does not name 1 to 16 hosts. Write addresses or full names, each with an optional port, with commas between them.")?;
    Ok(Servers { topology, hosts, transport, database })
}

/// Reads a host with an optional port.
fn server(text: &str, otherwise: u16) -> Option<Server> {
    let text = text.trim();
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some(Server { host: ip.to_string(), port: otherwise });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => {
            (host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok().filter(|port| *port > 0)?)
        }
        None => (text, otherwise),
    };
    let is_name = super::text::read_name(host).is_some()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
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
        assert_eq!((cluster.topology, cluster.transport), (Topology::Cluster, Transport::Tls));
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
            let message = read_url(wrong).unwrap_err();
            assert!(message.contains(told) && !message.contains("secret"), "{wrong}: {message}");
        }
        assert!(read_url(&format!("redis://{}", vec!["192.0.2.1"; 17].join(","))).is_err());
    }
}
