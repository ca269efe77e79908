//! The validation of `[[upstream]]`: the upstreams that the operator has named.

use std::net::SocketAddr;

use super::names::NameExtent;
use super::validator::Validator;
use crate::config::error::Problem;
use crate::config::keys;
use crate::config::layer::{GivenTable, GivenValue};
use crate::config::limits;
use crate::core::network;
use crate::core::upstream::{QueryCase, Role, Transport, UpstreamPolicy};

const SECTION: &str = "[[upstream]]";
/// Words for encrypted transports, by what they stand for.
const ENCRYPTED: [(&str, &[&str]); 3] = [
    ("DNS over TLS", &["tls", "dot", "tcp-tls"]),
    ("DNS over HTTPS", &["https", "doh", "h2", "h3"]),
    ("DNS over QUIC", &["quic", "doq"]),
];
const TRANSPORTS: [(&str, Transport); 2] = [("udp", Transport::Udp), ("tcp", Transport::Tcp)];
const CASES: [(&str, QueryCase); 2] = [("lower", QueryCase::Lower), ("random", QueryCase::Random)];
const ROLES: [(&str, Role); 2] = [("primary", Role::Primary), ("fallback", Role::Fallback)];

impl Validator<'_> {
    /// Validates `[[upstream]]`. `listen` are holdover's own addresses, which cannot be upstreams.
    pub(super) fn upstreams(&mut self, listen: &[SocketAddr]) -> Vec<UpstreamPolicy> {
        let tables = self.tables("upstream");
        let mut upstreams: Vec<(&GivenTable, UpstreamPolicy)> = Vec::new();
        for table in tables {
            let Some(upstream) = self.upstream(table, listen) else { continue };
            if upstreams.iter().any(|(_, other)| other.name == upstream.name) {
                let complaint = format!(
                    "has the name \"{}\", which another upstream has. Give each upstream a name of its own.",
                    upstream.name
                );
                self.report(Problem::place(SECTION, &table.source, complaint));
            }
            upstreams.push((table, upstream));
        }
        if let Some(extra) = tables.get(limits::UPSTREAMS_MAX) {
            let complaint = format!(
                "is one too many. Allowed: {} upstreams. One upstream may have several addresses.",
                limits::UPSTREAMS_MAX
            );
            self.report(Problem::place(SECTION, &extra.source, complaint));
        }
        self.remark_on_upstreams(&upstreams);
        upstreams.into_iter().map(|(_, upstream)| upstream).collect()
    }

    /// One upstream; `None` when it has no usable address or name.
    fn upstream(&mut self, table: &GivenTable, listen: &[SocketAddr]) -> Option<UpstreamPolicy> {
        let addresses = self.upstream_addresses(table, listen)?;
        let name = match table.values.get(keys::UPSTREAM_NAME) {
            Some(given) => self.upstream_name(given)?,
            None => addresses.first()?.to_string(),
        };
        let given = |key| table.values.get(key);
        let transport =
            given(keys::UPSTREAM_PROTOCOL).and_then(|given| self.transport(given)).unwrap_or(Transport::Udp);
        let role = given(keys::UPSTREAM_ROLE)
            .and_then(|given| self.word(keys::UPSTREAM_ROLE, given, &ROLES))
            .unwrap_or(Role::Primary);
        let case = given(keys::UPSTREAM_CASE)
            .and_then(|given| self.word(keys::UPSTREAM_CASE, given, &CASES))
            .unwrap_or(QueryCase::Lower);
        let zones = given(keys::UPSTREAM_ZONES).map(|given| self.zones(given)).unwrap_or_default();
        Some(UpstreamPolicy { name, addresses, transport, zones, role, case })
    }

    /// The transport that a word stands for; `None` after a complaint.
    fn transport(&mut self, given: &GivenValue) -> Option<Transport> {
        let word = given.raw.text().unwrap_or_default().to_ascii_lowercase();
        if let Some((meaning, _)) = ENCRYPTED.iter().find(|(_, words)| words.contains(&word.as_str())) {
            let what = format!("asks for {meaning}, which this version does not speak");
            self.complain(keys::UPSTREAM_PROTOCOL, given, &what);
            return None;
        }
        self.word(keys::UPSTREAM_PROTOCOL, given, &TRANSPORTS)
    }

    /// Notes addresses that two upstreams of the same names have, and fallbacks without anybody to
    /// fall back from.
    fn remark_on_upstreams(&mut self, tables: &[(&GivenTable, UpstreamPolicy)]) {
        for (index, (table, upstream)) in tables.iter().enumerate() {
            let shares = |zones: &[Box<[u8]>]| match (zones, upstream.zones.as_slice()) {
                ([], []) => true,
                (theirs, ours) => ours.iter().any(|zone| theirs.contains(zone)),
            };
            let earlier = || tables.iter().take(index).filter(|(_, other)| shares(&other.zones));
            let twice = upstream
                .addresses
                .iter()
                .find_map(|address| Some((address, earlier().find(|(_, other)| other.addresses.contains(address))?)));
            if let Some((address, (_, other))) = twice {
                let what = format!(
                    "has the address {address}, which \"{}\" has as well: asking it twice is no spare.",
                    other.name
                );
                self.remark_on(Problem::place(SECTION, &table.source, what));
            }
            let is_primary = |other: &UpstreamPolicy| other.role == Role::Primary && shares(&other.zones);
            if upstream.role == Role::Fallback && !tables.iter().any(|(_, other)| is_primary(other)) {
                let first = if upstream.zones.is_empty() {
                    "no other upstream is asked before it but the name servers of resolv.conf"
                } else {
                    "no other upstream of its zones is asked before it"
                };
                let what = format!("has the role fallback, but {first}. Leave the role out if that is not meant.");
                self.remark_on(Problem::place(SECTION, &table.source, what));
            }
        }
    }

    /// The addresses of one upstream; `None` when the table names none at all.
    fn upstream_addresses(&mut self, table: &GivenTable, listen: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
        let Some(given) = table.values.get(keys::UPSTREAM_ADDRESSES) else {
            let complaint = r#"has no addresses. Add a line such as addresses = ["192.0.2.1"]."#;
            self.report(Problem::place(SECTION, &table.source, complaint));
            return None;
        };
        let (at_most, port) = (limits::UPSTREAM_ADDRESSES_MAX, limits::DNS_PORT);
        let addresses = self.addresses(keys::UPSTREAM_ADDRESSES, given, at_most, port);
        let unreachable = addresses.iter().find(|address| !network::is_one_host(address.ip()) || address.port() == 0);
        if let Some(address) = unreachable {
            let what = format!("names {address}, where no resolver can be: it is not the address and port of one host");
            self.complain(keys::UPSTREAM_ADDRESSES, given, &what);
        }
        if addresses.iter().any(|address| network::is_own(listen, *address)) {
            let what = "names an address on which holdover itself listens, so that every query would come back to it";
            self.complain(keys::UPSTREAM_ADDRESSES, given, what);
        }
        Some(addresses)
    }

    fn upstream_name(&mut self, given: &GivenValue) -> Option<String> {
        let fits = |name: &&str| {
            (1..=limits::UPSTREAM_NAME_MAX).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:_-[]".contains(&byte))
        };
        let name = given.raw.text().filter(fits).map(str::to_owned);
        if name.is_none() {
            self.complain(keys::UPSTREAM_NAME, given, "is not a name for an upstream");
        }
        name
    }

    /// The zones of one upstream, in wire format and lower case.
    fn zones(&mut self, given: &GivenValue) -> Vec<Box<[u8]>> {
        let mut zones = Vec::new();
        for item in given.items() {
            let Some(zone) = self.name(keys::UPSTREAM_ZONES, &item, NameExtent::Subtree) else { continue };
            if zones.contains(&zone) {
                self.remark(keys::UPSTREAM_ZONES, &item, "is named twice");
            } else {
                zones.push(zone);
            }
        }
        if zones.len() > limits::UPSTREAM_ZONES_MAX {
            self.complain(keys::UPSTREAM_ZONES, given, "names too many zones");
        }
        zones
    }
}
