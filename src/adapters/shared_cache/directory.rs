//! Finds the addresses of the servers by asking holdover itself: when the shared cache is needed,
//! DNS is down, and only our own memory has the addresses.
//!
//! A host that is given as an address needs no lookup. A name is asked for like the name of any
//! client, so the answer to it is served stale, kept in the state file, and refreshed while it is
//! in use. The last addresses of each name are kept here as well. Names are full names; search
//! domains are not tried.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::core::key::{Dnssec, Key};
use crate::core::message::{CLASS_IN, Records, Section, TYPE_A, TYPE_AAAA};
use crate::core::upstream_query::{self, Extension};
use crate::resolver::ports::{Answer, Chance};

/// How long the lookup of one name may take, all types of addresses together.
const LOOKUP_MAX: Duration = Duration::from_millis(700);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Names whose last addresses are kept: those of the configuration, and those to which servers
/// redirect.
const NAMES_MAX: usize = 32;
/// A and AAAA, in the order in which they are asked for.
const TYPES: [u16; 2] = [TYPE_A, TYPE_AAAA];

/// The addresses of servers, by their names.
pub(super) struct Directory {
    /// Answers queries for names of servers.
    answer: Arc<dyn Answer>,
    /// Gives the IDs of these queries.
    chance: Arc<dyn Chance>,
    /// The last addresses of each name.
    known: Vec<(String, Vec<IpAddr>)>,
}

impl Directory {
    /// A directory that has found no addresses yet.
    pub(super) fn new(answer: Arc<dyn Answer>, chance: Arc<dyn Chance>) -> Self {
        Self { answer, chance, known: Vec::new() }
    }

    /// The first 4 addresses of a host, each with the port, as [`Self::addresses`] gives them.
    pub(super) async fn find(&mut self, host: &str, port: u16) -> Vec<SocketAddr> {
        let found = self.addresses(host).await;
        found.into_iter().take(ADDRESSES_MAX).map(|ip| SocketAddr::new(ip, port)).collect()
    }

    /// All addresses of a host. When they cannot be found within 700 ms, these are the last ones
    /// that the host is known to have had; none when there are none.
    pub(super) async fn addresses(&mut self, host: &str) -> Vec<IpAddr> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return vec![address];
        }
        // A name without IPv4 addresses is asked for IPv6 addresses.
        let mut found = Vec::new();
        let lookup = async {
            for qtype in TYPES {
                if found.is_empty() {
                    found = self.ask(host, qtype).await;
                }
            }
        };
        let _ = tokio::time::timeout(LOOKUP_MAX, lookup).await;
        // What was found replaces what is kept; what is kept makes up for what was not found.
        let known = self.known.iter().position(|(name, _)| name == host);
        if found.is_empty() {
            let last = known.and_then(|at| self.known.get(at));
            found = last.map(|(_, addresses)| addresses.clone()).unwrap_or_default();
        } else {
            if let Some(at) = known {
                self.known.swap_remove(at);
            }
            self.known.truncate(NAMES_MAX - 1);
            self.known.push((host.to_owned(), found.clone()));
        }
        found
    }

    async fn ask(&self, host: &str, qtype: u16) -> Vec<IpAddr> {
        let Some(name) = wire_form(host) else { return Vec::new() };
        let key = Key::new(&name, qtype, CLASS_IN, Dnssec::default());
        let [high, low, ..] = self.chance.number().to_be_bytes();
        let query = upstream_query::write(&key, u16::from_be_bytes([high, low]), Extension::Plain);
        let answer = self.answer.answer(query, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
        answer.map(|answer| addresses(&answer)).unwrap_or_default()
    }
}

/// A name in lower-cased wire form; `None` when it is no domain name.
fn wire_form(host: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(host.len() + 2);
    for label in host.trim_end_matches('.').split('.') {
        wire.push(u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?);
        wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    wire.push(0);
    (wire.len() <= crate::core::key::NAME_MAX).then_some(wire)
}

/// All A and AAAA records in the answer section of a response.
fn addresses(response: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let Ok(mut records) = Records::new(response) else { return found };
    while let Ok(Some(record)) = records.next_record() {
        let data = response.get(record.data..record.end).unwrap_or_default();
        let address = match (record.section, record.rtype) {
            (Section::Answer, TYPE_A) => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
            (Section::Answer, TYPE_AAAA) => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
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
        assert_eq!(wire_form("Cache.example.com.").as_deref(), Some(b"\x05cache\x07example\x03com\x00".as_slice()));
        for wrong in ["", "a..b", &"a".repeat(64), &"a.".repeat(130)] {
            assert_eq!(wire_form(wrong), None, "{wrong}");
        }
    }
}
