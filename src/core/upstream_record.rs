//! What is known of an upstream as bytes: the form in which the state file holds it, so that a
//! restart in an outage does not begin by believing that all is well.
//!
//! | key: offset | bytes | content |
//! |---|---|---|
//! | 0 | 1 | transport: 0 UDP, 1 TCP |
//! | 1 | 1 | kind of address: 4 or 6 |
//! | 2 | 4 or 16 | address |
//! | | 2 | port |
//! | | 4 | IPv6 only: scope of a link-local address, else 0 |
//!
//! | value: offset | bytes | content |
//! |---|---|---|
//! | 0 | 1 | version of this format: 1 |
//! | 1 | 1 | state: 0 healthy, 1 impaired, 2 down |
//! | 2 | 8 | since when, µs since the Unix epoch |
//! | 10 | 8 | when it was saved, µs since the Unix epoch |
//! | 18 | 8 | 99th percentile of the round-trip times, µs; all bits 1 when it is not known |
//!
//! Numbers are big-endian. The bytes that are read may come from anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use super::health::UpstreamState;
use super::time::Timestamp;
use super::upstream::Transport;

/// The version that is written.
const VERSION: u8 = 1;
/// Bytes of a value.
const VALUE: usize = 26;
/// The largest percentile that is believed; no upstream is waited for so long.
const P99_MAX: Duration = Duration::from_secs(60);

/// What is known of one upstream address, and when that was so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedUpstream {
    /// The address and port on which the upstream listens.
    pub address: SocketAddr,
    /// The transport over which the upstream is asked.
    pub transport: Transport,
    /// How usable the upstream is.
    pub state: UpstreamState,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// The 99th percentile of its round-trip times; `None` while it has answered nothing.
    pub p99: Option<Duration>,
    /// When all of this was saved.
    pub saved: Timestamp,
}

impl RememberedUpstream {
    /// The key of this upstream, as bytes.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let transport = match self.transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
        };
        let mut key = vec![transport];
        match self.address.ip() {
            IpAddr::V4(address) => {
                key.push(4);
                key.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                key.push(6);
                key.extend_from_slice(&address.octets());
            }
        }
        key.extend_from_slice(&self.address.port().to_be_bytes());
        if let SocketAddr::V6(address) = self.address {
            key.extend_from_slice(&address.scope_id().to_be_bytes());
        }
        key
    }

    /// What is known of this upstream, as bytes.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let state = match self.state {
            UpstreamState::Healthy => 0,
            UpstreamState::Impaired => 1,
            UpstreamState::Down => 2,
        };
        let p99 = self.p99.map_or(u64::MAX, |p99| u64::try_from(p99.min(P99_MAX).as_micros()).unwrap_or(u64::MAX));
        let mut value = vec![VERSION, state];
        for number in [self.since.as_micros(), self.saved.as_micros(), p99] {
            value.extend_from_slice(&number.to_be_bytes());
        }
        value
    }
}

/// Reads what is known of an upstream from a key and its value; `None` unless both are exactly what
/// [`RememberedUpstream`] writes.
#[must_use]
pub fn read(key: &[u8], value: &[u8]) -> Option<RememberedUpstream> {
    let (address, transport) = read_key(key)?;
    let &[VERSION, state, ..] = value else { return None };
    let state = match state {
        0 => UpstreamState::Healthy,
        1 => UpstreamState::Impaired,
        2 => UpstreamState::Down,
        _ => return None,
    };
    let number = |at: usize| Some(u64::from_be_bytes(*value.get(at..)?.first_chunk()?));
    let (since, saved) = (Timestamp::from_micros(number(2)?), Timestamp::from_micros(number(10)?));
    let p99 = match number(18)? {
        u64::MAX => None,
        micros => Some(Duration::from_micros(micros)),
    };
    let is_possible = value.len() == VALUE && since <= saved && p99.is_none_or(|p99| p99 <= P99_MAX);
    is_possible.then_some(RememberedUpstream { address, transport, state, since, p99, saved })
}

/// Reads the key of an upstream.
fn read_key(key: &[u8]) -> Option<(SocketAddr, Transport)> {
    let (&[transport, kind], rest) = key.split_first_chunk()?;
    let transport = match transport {
        0 => Transport::Udp,
        1 => Transport::Tcp,
        _ => return None,
    };
    let address = match (kind, rest) {
        (4, &[a, b, c, d, high, low]) => {
            SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))
        }
        (6, _) => {
            let (octets, rest) = rest.split_first_chunk::<16>()?;
            let &[high, low, a, b, c, d] = rest else { return None };
            let (port, scope) = (u16::from_be_bytes([high, low]), u32::from_be_bytes([a, b, c, d]));
            SocketAddrV6::new(Ipv6Addr::from(*octets), port, 0, scope).into()
        }
        _ => return None,
    };
    Some((address, transport))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn examples() -> Vec<RememberedUpstream> {
        let one = |address: &str, transport, state, p99| RememberedUpstream {
            address: address.parse().unwrap(),
            transport,
            state,
            since: NOW.minus(Duration::from_secs(90)),
            p99,
            saved: NOW,
        };
        vec![
            one("192.0.2.53:53", Transport::Udp, UpstreamState::Healthy, None),
            one("192.0.2.53:53", Transport::Tcp, UpstreamState::Impaired, Some(Duration::from_millis(3))),
            one("[2001:db8::53]:5353", Transport::Udp, UpstreamState::Down, Some(Duration::ZERO)),
            one("[fe80::1%3]:53", Transport::Tcp, UpstreamState::Healthy, Some(P99_MAX)),
        ]
    }

    #[test]
    fn what_was_written_is_read_back_and_each_upstream_has_a_key_of_its_own() {
        for upstream in examples() {
            assert_eq!(read(&upstream.key(), &upstream.value()), Some(upstream));
        }
        let keys: std::collections::BTreeSet<Vec<u8>> = examples().iter().map(RememberedUpstream::key).collect();
        assert_eq!(keys.len(), examples().len());
    }

    #[test]
    fn a_percentile_beyond_its_bound_is_written_as_the_bound() {
        let slow = RememberedUpstream { p99: Some(Duration::MAX), ..examples()[0] };
        assert_eq!(read(&slow.key(), &slow.value()).unwrap().p99, Some(P99_MAX));
    }

    #[test]
    fn what_is_cut_or_longer_or_of_another_version_or_impossible_is_no_upstream() {
        for upstream in examples() {
            let (key, value) = (upstream.key(), upstream.value());
            for cut in 0..key.len() {
                assert_eq!(read(&key[..cut], &value), None);
            }
            for cut in 0..value.len() {
                assert_eq!(read(&key, &value[..cut]), None);
            }
            assert_eq!(read(&[&key[..], &[0]].concat(), &value), None);
            assert_eq!(read(&key, &[&value[..], &[0]].concat()), None);
            assert_eq!(read(&key, &[&[2], &value[1..]].concat()), None);
            assert_eq!(read(&key, &[&[1, 3], &value[2..]].concat()), None);
        }
        let late = RememberedUpstream { since: NOW.plus(Duration::from_secs(1)), ..examples()[0] };
        assert_eq!(read(&late.key(), &late.value()), None, "it was saved before it began");
    }

    proptest! {
        #[test]
        fn any_bytes_are_rejected_or_written_the_same_way(
            key in proptest::collection::vec(0_u8..7, 0..26),
            value in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            let value = if value.len() > 1 { [&[1, value[1] % 4], &value[2..]].concat() } else { value };
            if let Some(upstream) = read(&key, &value) {
                prop_assert_eq!(upstream.key(), key);
                prop_assert_eq!(upstream.value(), value);
            }
        }
    }
}
