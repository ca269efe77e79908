//! The validation of `[[upstream]]`: the upstreams that the operator has named.

use std::net::SocketAddr;

use super::validator::Validator;
use crate::config::error::Problem;
use crate::config::keys;
use crate::config::layer::{GivenTable, GivenValue};
use crate::config::limits;
use crate::core::key::read_name;
use crate::core::network;
use crate::core::upstream::{Role, Transport, UpstreamPolicy};

const SECTION: &str = "[[upstream]]";
const TRANSPORTS: [(&str, Transport); 2] = [("udp", Transport::Udp), ("tcp", Transport::Tcp)];
const ROLES: [(&str, Role); 2] = [("primary", Role::Primary), ("fallback", Role::Fallback)];

impl Validator<'_> {
    /// Validates `[[upstream]]`. `listen` are holdover's own addresses, which cannot be upstreams.
    pub(super) fn upstreams(&mut self, listen: &[SocketAddr]) -> Vec<UpstreamPolicy> {
        let tables = self.tables("upstream");
        let mut upstreams: Vec<UpstreamPolicy> = Vec::new();
        for table in tables {
            let Some(upstream) = self.upstream(table, listen) else { continue };
            if upstreams.iter().any(|other| other.name == upstream.name) {
                let complaint = format!(
                    "has the name \"{}\", which another upstream has. Give each upstream a name of its own.",
                    upstream.name
                );
                self.report(Problem::place(SECTION, &table.source, complaint));
            }
            upstreams.push(upstream);
        }
        if let Some(extra) = tables.get(limits::UPSTREAMS_MAX) {
            let complaint = format!(
                "is one too many. Allowed: {} upstreams. One upstream may have several addresses.",
                limits::UPSTREAMS_MAX
            );
            self.report(Problem::place(SECTION, &extra.source, complaint));
        }
        upstreams
    }

    /// One upstream; `None` when it has no usable address or name.
    fn upstream(&mut self, table: &GivenTable, listen: &[SocketAddr]) -> Option<UpstreamPolicy> {
        let addresses = self.upstream_addresses(table, listen)?;
        let name = match table.values.get(keys::UPSTREAM_NAME) {
            Some(given) => self.upstream_name(given)?,
            None => addresses.first()?.to_string(),
        };
        let given = |key| table.values.get(key);
        let transport = given(keys::UPSTREAM_PROTOCOL)
            .and_then(|given| self.word(keys::UPSTREAM_PROTOCOL, given, &TRANSPORTS))
            .unwrap_or(Transport::Udp);
        let role = given(keys::UPSTREAM_ROLE)
            .and_then(|given| self.word(keys::UPSTREAM_ROLE, given, &ROLES))
            .unwrap_or(Role::Primary);
        let zones = given(keys::UPSTREAM_ZONES).map(|given| self.zones(given)).unwrap_or_default();
        Some(UpstreamPolicy { name, addresses, transport, zones, role })
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
            match item.raw.text().and_then(read_name) {
                Some(zone) => zones.push(zone),
                None => self.complain(keys::UPSTREAM_ZONES, &item, "is not a domain name"),
            }
        }
        if zones.len() > limits::UPSTREAM_ZONES_MAX {
            self.complain(keys::UPSTREAM_ZONES, given, "names too many zones");
        }
        zones
    }
}
