//! Addresses of the servers, by way of holdover itself: when the shared cache is needed, DNS is
//! down, and only our own memory knows where it is.
//!
//! A host that is an address is just that. A name is asked for like any client's, so what is
//! remembered of it is served stale, kept in the state file and refreshed while it is in use. What
//! a name had last is kept here as well. Full names only; search domains are not tried.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::core::key::{Dnssec, Key};
use crate::core::message::{Records, Section};
use crate::core::upstream_query::{self, Extension};
use crate::resolver::Resolver;
use crate::resolver::ports::Chance;
use crate::telemetry::tally::Tally;

/// How long a name may be waited for.
const LOOKUP_MAX: Duration = Duration::from_millis(700);
/// Addresses that one name is tried at.
const ADDRESSES_MAX: usize = 4;
/// Names whose last addresses are kept: those of the configuration, and those to which servers
/// point.
const NAMES_MAX: usize = 32;
/// Types of addresses, in the order in which they are asked for.
const TYPES: [u16; 2] = [1, 28];

/// Finds servers.
pub(super) struct Directory {
    /// Knows names.
    resolver: Arc<Resolver>,
    /// Numbers our queries.
    chance: Arc<dyn Chance>,
    /// Counts them, as they are no client's.
    tally: Tally,
    /// What names had last.
    known: Vec<(String, Vec<IpAddr>)>,
}

impl Directory {
    /// Finds what this resolver knows.
    pub(super) fn new(resolver: Arc<Resolver>, chance: Arc<dyn Chance>) -> Self {
        Self { resolver, chance, tally: Tally::default(), known: Vec::new() }
    }

    /// The addresses of a host; none when it has none, or they cannot be found out in time.
    pub(super) async fn find(&mut self, host: &str, port: u16) -> Vec<SocketAddr> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return vec![SocketAddr::new(address, port)];
        }
        let mut found = Vec::new();
        let lookup = async {
            for qtype in TYPES {
                if found.is_empty() {
                    found = self.ask(host, qtype).await;
                }
            }
        };
        let _ = tokio::time::timeout(LOOKUP_MAX, lookup).await;
        let known = self.known.iter().position(|(name, _)| name == host);
        match known {
            Some(at) if found.is_empty() => {
                found = self.known.get(at).map(|(_, known)| known.clone()).unwrap_or_default()
            }
            _ if found.is_empty() => {}
            at => {
                if let Some(at) = at {
                    self.known.swap_remove(at);
                }
                self.known.truncate(NAMES_MAX - 1);
                self.known.push((host.to_owned(), found.clone()));
            }
        }
        found.truncate(ADDRESSES_MAX);
        found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
    }

    /// Asks for one type of a name.
    async fn ask(&self, host: &str, qtype: u16) -> Vec<IpAddr> {
        let Some(name) = wire(host) else { return Vec::new() };
        let key = Key::new(&name, qtype, 1, Dnssec::default());
        let [high, low, ..] = self.chance.number().to_be_bytes();
        let query = upstream_query::write(&key, u16::from_be_bytes([high, low]), Extension::Plain);
        let answer = self.resolver.answer(query, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &self.tally).await;
        answer.map(|answer| addresses(&answer)).unwrap_or_default()
    }
}

/// A name as it stands in a query.
fn wire(host: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(host.len() + 2);
    for label in host.trim_end_matches('.').split('.') {
        wire.push(u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?);
        wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    wire.push(0);
    (wire.len() <= crate::core::key::NAME_MAX).then_some(wire)
}

/// All addresses in the answer section of a response.
fn addresses(response: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let Ok(mut records) = Records::new(response) else { return found };
    while let Ok(Some(record)) = records.next_record() {
        let data = response.get(record.data..record.end).unwrap_or_default();
        let address = match (record.section, record.rtype) {
            (Section::Answer, 1) => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
            (Section::Answer, 28) => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
            (Section::Answer | Section::Authority | Section::Additional, _) => None,
        };
        found.extend(address);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::Response;

    #[test]
    fn addresses_stand_in_the_answer_section() {
        let response = Response::new("cache.example.com", 1).a("cache.example.com", 60).bytes();
        assert_eq!(addresses(&response).len(), 1);
        assert!(addresses(&response[..20]).is_empty());
    }

    #[test]
    fn names_become_wire_form_or_nothing() {
        assert_eq!(wire("Cache.example.com.").as_deref(), Some(b"\x05cache\x07example\x03com\x00".as_slice()));
        for wrong in ["", "a..b", &"a".repeat(64), &"a.".repeat(130)] {
            assert_eq!(wire(wrong), None, "{wrong}");
        }
    }
}
