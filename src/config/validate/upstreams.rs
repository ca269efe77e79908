//! Judges addresses and upstreams.

use std::net::SocketAddr;

use super::Judge;
use super::text::{items, read_address, read_name, text};
use crate::config::error::Problem;
use crate::config::keys;
use crate::config::layer::{Given, Record};
use crate::config::limits;
use crate::core::network;
use crate::core::upstream::{Role, Transport, UpstreamPolicy};

impl Judge<'_> {
    /// A list of addresses, at least one.
    pub(super) fn addresses(&mut self, key: &'static str, given: &Given, at_most: usize) -> Vec<SocketAddr> {
        let before = self.problems.len();
        let mut addresses = Vec::new();
        for item in items(given) {
            match text(&item.raw).and_then(|text| read_address(text, limits::DNS_PORT)) {
                Some(address) => addresses.push(address),
                None => self.complain(
                    key,
                    &item,
                    "is not an IP address with an optional port, such as 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:53",
                ),
            }
        }
        if self.problems.len() == before && (addresses.is_empty() || addresses.len() > at_most) {
            self.complain(
                key,
                given,
                if addresses.is_empty() { "names no address" } else { "names too many addresses" },
            );
        }
        addresses.dedup();
        addresses
    }

    /// Whom holdover asks.
    pub(super) fn upstreams(&mut self, listen: &[SocketAddr]) -> Vec<UpstreamPolicy> {
        let layer = self.layer;
        let records = layer.records.get("upstream").map(Vec::as_slice).unwrap_or_default();
        let mut upstreams: Vec<UpstreamPolicy> = Vec::new();
        for record in records {
            let Some(upstream) = self.upstream(record, listen) else { continue };
            if upstreams.iter().any(|other| other.name == upstream.name) {
                self.problems.push(Problem::place(
                    &record.origin,
                    "[[upstream]]",
                    format!(
                        "has the name \"{}\", which another upstream has. Give each upstream a name of its own.",
                        upstream.name
                    ),
                ));
            }
            upstreams.push(upstream);
        }
        if let Some(extra) = records.get(limits::UPSTREAMS_MAX) {
            self.problems.push(Problem::place(
                &extra.origin,
                "[[upstream]]",
                format!(
                    "is one too many. Allowed: {} upstreams. One upstream may have several addresses.",
                    limits::UPSTREAMS_MAX
                ),
            ));
        }
        upstreams
    }

    /// One upstream.
    fn upstream(&mut self, record: &Record, listen: &[SocketAddr]) -> Option<UpstreamPolicy> {
        let Some(given) = record.values.get(keys::UPSTREAM_ADDRESSES) else {
            self.problems.push(Problem::place(
                &record.origin,
                "[[upstream]]",
                r#"has no addresses. Add a line such as addresses = ["192.0.2.1"]."#,
            ));
            return None;
        };
        let addresses = self.addresses(keys::UPSTREAM_ADDRESSES, given, limits::UPSTREAM_ADDRESSES_MAX);
        if let Some(nobody) =
            addresses.iter().find(|address| !network::is_one_host(address.ip()) || address.port() == 0)
        {
            let what = format!("names {nobody}, where no resolver can be: it is not the address and port of one host");
            self.complain(keys::UPSTREAM_ADDRESSES, given, &what);
        }
        if addresses.iter().any(|address| network::is_own(listen, *address)) {
            self.complain(
                keys::UPSTREAM_ADDRESSES,
                given,
                "is an address on which holdover itself listens: queries would go round in a circle",
            );
        }
        let name = match record.values.get(keys::UPSTREAM_NAME) {
            Some(given) => self.upstream_name(given)?,
            None => addresses.first()?.to_string(),
        };
        let transport = record
            .values
            .get(keys::UPSTREAM_PROTOCOL)
            .and_then(|given| {
                self.word(keys::UPSTREAM_PROTOCOL, given, &[("udp", Transport::Udp), ("tcp", Transport::Tcp)])
            })
            .unwrap_or(Transport::Udp);
        let role = record
            .values
            .get(keys::UPSTREAM_ROLE)
            .and_then(|given| {
                self.word(keys::UPSTREAM_ROLE, given, &[("primary", Role::Primary), ("fallback", Role::Fallback)])
            })
            .unwrap_or(Role::Primary);
        let zones = record.values.get(keys::UPSTREAM_ZONES).map(|given| self.zones(given)).unwrap_or_default();
        Some(UpstreamPolicy { name, addresses, transport, zones, role })
    }

    /// The name of an upstream.
    fn upstream_name(&mut self, given: &Given) -> Option<String> {
        let fits = |name: &&str| {
            (1..=limits::UPSTREAM_NAME_MAX).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:_-[]".contains(&byte))
        };
        let name = text(&given.raw).filter(fits).map(str::to_owned);
        if name.is_none() {
            self.complain(keys::UPSTREAM_NAME, given, "is not a name for an upstream");
        }
        name
    }

    /// The zones of an upstream.
    fn zones(&mut self, given: &Given) -> Vec<Box<[u8]>> {
        let mut zones = Vec::new();
        for item in items(given) {
            match text(&item.raw).and_then(read_name) {
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
