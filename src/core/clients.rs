//! The clients that ask, told apart by their addresses, so that what is scarce can be shared
//! between them.
//!
//! | address | counts as one client |
//! |---|---|
//! | IPv4, also as an IPv4-mapped IPv6 address | the address |
//! | IPv6 | its /64: a host may choose among all addresses of its link (RFC 4862, RFC 8981) |
//!
//! Only queries that have to wait are told apart; what memory answers costs no look here.
//!
//! Source addresses can be forged, so that the table is bounded: [`CLIENTS_MAX`] clients have a
//! seat of their own, and keep it until they have been away for [`IDLE`]. That is long on purpose:
//! a flood from ever new addresses takes the free seats and no other, so that clients that were
//! here before it keep their shares. All that find no seat are pooled by their network (/24, /48)
//! in [`POOLS`] pools: one of them gets no more than its pool does, and a flood from one network
//! none of what other pools get. Which pool a network has follows from a seed, which nobody outside
//! knows. When a seat gets a new owner, what the old one still holds counts as the new one's; after
//! [`IDLE`] that is nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::network::IpNetwork;
use super::time::Timestamp;

/// Clients with a seat of their own: more than a node has pods (110 by default in Kubernetes).
pub const CLIENTS_MAX: usize = 256;
/// Pools for the clients that find no seat.
pub const POOLS: usize = 64;
/// Identifiers of clients and pools.
pub const CLIENT_IDS: usize = CLIENTS_MAX + POOLS;
/// How long a client has to be away before another one may have its seat; longer than any
/// resolution takes.
pub const IDLE: Duration = Duration::from_secs(600);

/// The bits of an IPv6 address that make a client.
const CLIENT_BITS_V6: u32 = 64;
/// The bits of addresses that make a pool, for IPv4 and IPv6.
const POOL_BITS: (u32, u32) = (24, 48);

/// The number of a client, or of a pool of clients: below [`CLIENT_IDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u16);

impl ClientId {
    /// The client with this number; numbers from [`CLIENT_IDS`] on count as the last pool.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "there are a few hundred identifiers")]
    pub const fn new(number: usize) -> Self {
        Self(if number < CLIENT_IDS { number } else { CLIENT_IDS - 1 } as u16)
    }

    /// The position of this client in an array with one element for each.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One client that has a seat.
#[derive(Clone, Copy, Debug)]
struct Seat {
    source: u128,
    last_seen: Timestamp,
    /// Queries of the client that had to go for those of lighter clients.
    shed: u64,
}

/// The clients that have had to wait lately.
#[derive(Clone, Debug)]
pub struct Clients {
    seed: u64,
    seats: Vec<Seat>,
    by_source: BTreeMap<u128, ClientId>,
    /// Until then no seat can be free.
    taken_until: Timestamp,
    /// What was shed of pooled clients.
    shed_of_pools: u64,
}

impl Clients {
    /// A table without clients. `seed` is a random number.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            seats: Vec::new(),
            by_source: BTreeMap::new(),
            taken_until: Timestamp::from_micros(0),
            shed_of_pools: 0,
        }
    }

    /// The client with this address, which asks just now; the pool of its network when all seats
    /// are taken.
    pub fn identify(&mut self, address: IpAddr, now: Timestamp) -> ClientId {
        let source = source(address, (32, CLIENT_BITS_V6));
        if let Some(known) = self.by_source.get(&source).copied() {
            if let Some(seat) = self.seats.get_mut(known.index()) {
                seat.last_seen = now;
            }
            return known;
        }
        let seat = Seat { source, last_seen: now, shed: 0 };
        let own = if self.seats.len() < CLIENTS_MAX {
            self.seats.push(seat);
            ClientId::new(self.seats.len() - 1)
        } else if let Some(free) = self.free(now) {
            if let Some(old) = self.seats.get_mut(free.index()) {
                self.by_source.remove(&old.source);
                *old = seat;
            }
            free
        } else {
            return self.pool(address);
        };
        self.by_source.insert(source, own);
        own
    }

    /// The seat whose client has been away longest, if that is long enough.
    fn free(&mut self, now: Timestamp) -> Option<ClientId> {
        if now < self.taken_until {
            return None;
        }
        let (number, oldest) = self.seats.iter().enumerate().min_by_key(|(_, seat)| seat.last_seen)?;
        self.taken_until = oldest.last_seen.plus(IDLE);
        (now >= self.taken_until).then(|| ClientId::new(number))
    }

    fn pool(&self, address: IpAddr) -> ClientId {
        let network = source(address, POOL_BITS);
        // The finaliser of SplitMix64, over both halves: whoever does not know the seed cannot
        // choose a network for a pool.
        let mix = |state: u64, half: u128| {
            let half = u64::try_from(half & u128::from(u64::MAX)).unwrap_or_default();
            let state = (state ^ half).wrapping_add(0x9e37_79b9_7f4a_7c15);
            let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            state ^ (state >> 31)
        };
        let hash = mix(mix(self.seed, network >> 64), network);
        ClientId::new(CLIENTS_MAX + usize::try_from(hash % POOLS as u64).unwrap_or_default())
    }

    /// Counts a query of this client that had to go for that of a lighter one.
    pub fn note_shed(&mut self, client: ClientId) {
        match self.seats.get_mut(client.index()) {
            Some(seat) => seat.shed += 1,
            None => self.shed_of_pools += 1,
        }
    }

    /// The number of queries of this client that had to go for those of lighter ones; for a pool,
    /// of all pools together.
    #[must_use]
    pub fn shed(&self, client: ClientId) -> u64 {
        self.seats.get(client.index()).map_or(self.shed_of_pools, |seat| seat.shed)
    }

    /// The client as people read it: an address, a network, or `others` for a pool.
    #[must_use]
    pub fn name(&self, client: ClientId) -> String {
        let Some(seat) = self.seats.get(client.index()) else { return "others".to_owned() };
        match IpAddr::V6(Ipv6Addr::from_bits(seat.source)).to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(first) => IpNetwork::v6(first, CLIENT_BITS_V6).to_string(),
        }
    }
}

/// The first bits of an address, as many as are given for IPv4 and IPv6, in one number. IPv4
/// addresses have the numbers of their IPv4-mapped addresses, which no IPv6 client has.
const fn source(address: IpAddr, (bits_v4, bits_v6): (u32, u32)) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits() & (u128::MAX << 32_u32.saturating_sub(bits_v4)),
        IpAddr::V6(address) => address.to_bits() & (u128::MAX << 128_u32.saturating_sub(bits_v6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// The address with this number, in a network of its own.
    fn forged(number: usize) -> IpAddr {
        let number = u32::try_from(number).expect("small");
        IpAddr::V4((0x0a00_0000 + number * 256).into())
    }

    #[test]
    fn an_address_is_a_client_and_so_is_a_link_of_ipv6() {
        let mut clients = Clients::new(7);
        let mut of = |text| clients.identify(ip(text), NOW);
        let (one, other) = (of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(one, other);
        assert_eq!(of("::ffff:192.0.2.1"), one);
        let link = of("2001:db8::1");
        assert_eq!(of("2001:db8::ffff:1"), link);
        assert_ne!(of("2001:db8:0:1::1"), link);
        let names = [one, link, ClientId::new(CLIENTS_MAX)].map(|client| clients.name(client));
        assert_eq!(names, ["192.0.2.1", "2001:db8::/64", "others"]);
    }

    #[test]
    fn a_flood_of_addresses_takes_no_seat_from_who_was_there_before() {
        let mut clients = Clients::new(7);
        let before = clients.identify(ip("192.0.2.1"), NOW);
        for number in 0..10_000 {
            let client = clients.identify(forged(number), NOW.plus(Duration::from_millis(number as u64)));
            assert_ne!(client, before);
            assert_eq!(client.index() >= CLIENTS_MAX, number >= CLIENTS_MAX - 1);
        }
        assert_eq!((clients.seats.len(), clients.by_source.len()), (CLIENTS_MAX, CLIENTS_MAX));
        let later = NOW.plus(IDLE - Duration::from_secs(1));
        assert_eq!(clients.identify(ip("192.0.2.1"), later), before);
        // What came once gives its seat up in the end, and who goes on asking does not.
        let later = NOW.plus(IDLE + Duration::from_secs(300));
        assert!(clients.identify(ip("198.51.100.1"), later).index() < CLIENTS_MAX);
        assert_eq!(clients.identify(ip("192.0.2.1"), later), before);
        assert_eq!((clients.seats.len(), clients.by_source.len()), (CLIENTS_MAX, CLIENTS_MAX));
    }

    #[test]
    fn neighbours_without_a_seat_share_a_pool_and_others_have_other_pools() {
        let mut clients = Clients::new(7);
        (0..CLIENTS_MAX).for_each(|number| _ = clients.identify(forged(number), NOW));
        let pool = clients.identify(ip("198.51.100.1"), NOW);
        assert_eq!(clients.identify(ip("198.51.100.200"), NOW), pool);
        let pools: std::collections::BTreeSet<_> =
            (0..1_000).map(|number| clients.identify(forged(CLIENTS_MAX + number), NOW)).collect();
        assert_eq!(pools.len(), POOLS, "networks spread over all pools");
        let mut others = Clients::new(8);
        (0..CLIENTS_MAX).for_each(|number| _ = others.identify(forged(number), NOW));
        let mut differs = |number| {
            let address = forged(CLIENTS_MAX + number);
            clients.identify(address, NOW) != others.identify(address, NOW)
        };
        assert!((0..100).filter(|number| differs(*number)).count() > 50, "the seed decides");
    }

    #[test]
    fn what_was_shed_is_counted_by_client_and_for_all_pools_together() {
        let mut clients = Clients::new(7);
        let one = clients.identify(ip("192.0.2.1"), NOW);
        clients.note_shed(one);
        clients.note_shed(ClientId::new(CLIENTS_MAX));
        clients.note_shed(ClientId::new(CLIENT_IDS));
        assert_eq!((clients.shed(one), clients.shed(ClientId::new(CLIENTS_MAX + 1))), (1, 2));
    }
}
