//! What goes over the wire: a whole sidecar on real sockets, a scripted upstream, and packets as
//! clients send them.

mod clients;
mod extensions;
mod forgers;
mod memory;
mod upstreams;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use holdover::config::settings::Settings;
use holdover::core::upstream::UpstreamPolicy;

use crate::support::frames::blocking::{read_frame, write_frame};
use crate::support::messages::*;
use crate::support::sidecar::Sidecar;
use crate::support::upstream::{Reaction, Upstream, Via};
use crate::support::waiting::{PATIENCE, eventually};

/// The default settings with this upstream.
fn settings(upstream: &Upstream) -> Settings {
    let mut settings = Settings::standard();
    settings.listen.addresses = vec!["127.0.0.1:0".parse().unwrap()];
    settings.upstreams = vec![UpstreamPolicy::plain("test", vec![upstream.address])];
    settings
}

/// A sidecar before a well-behaved upstream, which answers NODATA for names that begin with
/// `nodata`, NXDOMAIN for `gone`, a CNAME and an address for `chain`, and addresses for all others.
fn healthy(ttl: u32) -> (Upstream, Sidecar) {
    let upstream = Upstream::start(move |query, _| Reaction::Send(well_behaved(query, ttl)));
    let sidecar = Sidecar::start(settings(&upstream));
    (upstream, sidecar)
}

fn well_behaved(query: &hickory_proto::op::Message, ttl: u32) -> Vec<u8> {
    let name = qname(query).to_string();
    if name.starts_with("gone") {
        negative(query, ResponseCode::NXDomain, ttl)
    } else if name.starts_with("nodata") {
        negative(query, ResponseCode::NoError, ttl)
    } else if name.starts_with("chain") {
        chain(query, ttl, "target.example.com.")
    } else {
        address(query, ttl, 1)
    }
}
