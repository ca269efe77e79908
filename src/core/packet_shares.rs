//! The shares of clients in the packets that may go upstream.
//!
//! Who asks for much gets what the others leave, and never the last packet: while several clients
//! have had to wait for upstreams lately, an eighth of the packets is kept back, half of it for
//! those below the *level* and half for those below an *equal share*. The level is what each may
//! use so that all together use the other seven eighths (max-min fairness): clients that use less
//! keep what they use, and the rest is divided equally among the others. The equal share is that of
//! as many greedy clients as there are clients, and never above the level.
//!
//! | the client in the last second | goes as far as, all clients counted |
//! |---|---|
//! | is the only one of the last ten seconds | the whole |
//! | below an equal share | the whole |
//! | below the level | fifteen sixteenths of the whole |
//! | at the level, or above it | seven eighths of the whole |
//! | above an equal share, and a slice has seen enough of such clients | no further in this slice |
//!
//! A slice has seen enough when clients above an equal share have used a tenth of the whole in it,
//! or this one its part of that.
//!
//! So a client whose need is small gets a packet at once beside any flood, from its second query
//! on: the first one finds a full window, as nothing was kept before, and waits at most until the
//! next slice of time. However many clients there are, those below an equal share never use more
//! than seven eighths together, so that greedy ones among them leave room for the others. And since
//! nobody takes all of a second at its beginning, something becomes free in every slice. A lone
//! client may use everything.
//!
//! Time is counted in the slices of [`super::budget`], whose window this one equals.

use super::clients::{CLIENT_IDS, ClientId};

/// Length of a slice, in microseconds.
pub const SLICE_MICROS: u64 = 50_000;
/// The number of slices: twenty make a second, and one more is being filled.
pub const SLICES: usize = 21;

/// The part of all packets that is kept for clients below the level: one in so many.
const KEPT_PART: u32 = 8;
/// The part that is kept for clients below an equal share.
const KEPT_FOR_LIGHT: u32 = 16;
/// The part of all packets that clients above an equal share may use in one slice: twice what they
/// could use in each.
const SLICE_PART: u32 = 10;
/// Slices for which a client counts as present after it has last wanted a packet: ten seconds.
const PRESENT_SLICES: u64 = 200;
/// Rounds in which the level is looked for. Each puts at least one more client below it, and few
/// clients lie close together; what is left is a level that is a little too low.
const LEVEL_ROUNDS: usize = 8;

/// The packets that one client used lately.
#[derive(Clone, Copy, Debug, Default)]
struct ClientUsage {
    /// A ring: what was used in the slice with number `n` lies at `n` modulo [`SLICES`].
    slices: [u16; SLICES],
    /// The number of the newest slice in the ring.
    newest: u64,
    /// The number of the slice in which the client last wanted a packet; 0 for never.
    wanted: u64,
}

impl ClientUsage {
    /// Clears what is older than a second.
    fn advance(&mut self, slice: u64) {
        let passed = usize::try_from(slice.saturating_sub(self.newest)).unwrap_or(SLICES).min(SLICES);
        for number in (slice + 1).saturating_sub(passed as u64)..=slice {
            if passed > 0
                && let Some(used) = self.slices.get_mut(index(number))
            {
                *used = 0;
            }
        }
        self.newest = self.newest.max(slice);
    }

    /// What the client used in the second up to this slice.
    fn used(&self, slice: u64) -> u32 {
        let age = usize::try_from(slice.saturating_sub(self.newest)).unwrap_or(SLICES);
        if age >= SLICES {
            return 0;
        }
        // What left the window since the newest slice lies in the places that come next.
        let gone = (1..=age).map(|step| self.slices.get(index(self.newest + step as u64)).copied().unwrap_or_default());
        let all: u32 = self.slices.iter().map(|used| u32::from(*used)).sum();
        all.saturating_sub(gone.map(u32::from).sum())
    }
}

/// The place of a slice in a ring.
fn index(slice: u64) -> usize {
    usize::try_from(slice % SLICES as u64).unwrap_or_default()
}

/// How far a client may go with its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketShare {
    /// No other client is present.
    Alone,
    /// Others are present, and the client stays below an equal share.
    Light,
    /// Others are present, and the client stays below the level.
    Level,
    /// Others are present, and the client is at the level or above it.
    Heavy,
    /// Others are present, and those above an equal share have used enough in this slice.
    Paused,
}

impl PacketShare {
    /// How many of `whole` packets may be used, all clients counted, when a client with this share
    /// takes some.
    #[must_use]
    pub const fn of(self, whole: u32) -> u32 {
        match self {
            Self::Alone | Self::Light => whole,
            Self::Level => whole - whole.div_ceil(KEPT_FOR_LIGHT),
            Self::Heavy => whole - whole.div_ceil(KEPT_PART),
            Self::Paused => 0,
        }
    }
}

/// How the packets are divided in one slice.
#[derive(Clone, Copy, Debug)]
struct Levels {
    slice: u64,
    /// What each may use so that all together use what is not kept.
    level: u32,
    /// An equal share of that.
    equal: u32,
    /// The clients present.
    present: u32,
    /// Those of them that have used an equal share.
    greedy: u32,
}

/// The packets that clients used in the last second, of a whole that they share.
#[derive(Clone, Debug)]
pub struct PacketShares {
    /// Packets of all clients in a second.
    whole: u32,
    /// By the number of the client.
    usage: Vec<ClientUsage>,
    /// How the packets were divided when that was computed last.
    levels: Option<Levels>,
    /// What clients above an equal share used in the slice with this number.
    above: (u64, u32),
}

impl PacketShares {
    /// Shares in `whole` packets a second, of which nothing is used.
    #[must_use]
    pub const fn new(whole: u32) -> Self {
        Self { whole, usage: Vec::new(), levels: None, above: (0, 0) }
    }

    /// The share of a client that wants `packets` in the slice with this number.
    pub fn share(&mut self, client: ClientId, packets: u32, slice: u64) -> PacketShare {
        self.note_presence(client, slice);
        let Levels { level, equal, present, greedy, .. } = self.levels(slice);
        if present <= 1 {
            return PacketShare::Alone;
        }
        let used = self.used(client, slice).saturating_add(packets);
        if used <= equal {
            return PacketShare::Light;
        }
        // What this slice has seen beyond equal shares: of all clients, and of this one.
        let most = (self.whole / SLICE_PART).max(1);
        let above = if self.above.0 == slice { self.above.1 } else { 0 };
        let own = self.used_in(client, slice).saturating_add(packets).min(used - equal);
        if above.saturating_add(packets) > most || own > (most / greedy.max(1)).max(1) {
            return PacketShare::Paused;
        }
        if used <= level { PacketShare::Level } else { PacketShare::Heavy }
    }

    /// Counts packets that a client has used.
    pub fn note(&mut self, client: ClientId, packets: u32, slice: u64) {
        self.note_presence(client, slice);
        let Some(usage) = self.usage.get_mut(client.index()) else { return };
        usage.advance(slice);
        if let Some(used) = usage.slices.get_mut(index(slice)) {
            *used = used.saturating_add(u16::try_from(packets).unwrap_or(u16::MAX));
        }
        if self.used(client, slice) > self.levels(slice).equal {
            let before = if self.above.0 == slice { self.above.1 } else { 0 };
            self.above = (slice, before.saturating_add(packets));
        }
    }

    /// The packets that a client used in the second up to this slice.
    #[must_use]
    pub fn used(&self, client: ClientId, slice: u64) -> u32 {
        self.usage.get(client.index()).map_or(0, |usage| usage.used(slice))
    }

    /// The packets that a client used in this slice.
    fn used_in(&self, client: ClientId, slice: u64) -> u32 {
        let newest = self.usage.get(client.index()).filter(|usage| usage.newest == slice);
        newest.and_then(|usage| usage.slices.get(index(slice)).copied()).map_or(0, u32::from)
    }

    fn note_presence(&mut self, client: ClientId, slice: u64) {
        if self.usage.len() <= client.index() {
            self.usage.resize(CLIENT_IDS.min(client.index() + 1), ClientUsage::default());
        }
        let Some(usage) = self.usage.get_mut(client.index()) else { return };
        let was_present = is_present(usage, slice);
        usage.wanted = slice.max(1);
        // Who has just come changes what the others may use.
        if !was_present {
            self.levels = None;
        }
    }

    /// How the packets are divided in this slice.
    fn levels(&mut self, slice: u64) -> Levels {
        if let Some(levels) = self.levels
            && levels.slice == slice
        {
            return levels;
        }
        let used: Vec<u32> =
            self.usage.iter().filter(|own| is_present(own, slice)).map(|own| own.used(slice)).collect();
        let whole = PacketShare::Heavy.of(self.whole);
        let present = u32::try_from(used.len()).unwrap_or(u32::MAX);
        let equal = whole / present.max(1);
        let greedy = u32::try_from(used.iter().filter(|used| **used >= equal).count()).unwrap_or(u32::MAX);
        let levels = Levels { slice, level: fill(&used, whole), equal, present, greedy };
        self.levels = Some(levels);
        levels
    }
}

fn is_present(usage: &ClientUsage, slice: u64) -> bool {
    usage.wanted > 0 && slice.saturating_sub(usage.wanted) < PRESENT_SLICES
}

/// The level up to which each may go so that all together use no more than `whole`; what somebody
/// uses less is left to the others.
fn fill(used: &[u32], whole: u32) -> u32 {
    let count = u32::try_from(used.len()).unwrap_or(u32::MAX);
    let mut level = whole / count.max(1);
    for _ in 0..LEVEL_ROUNDS {
        let below = used.iter().filter(|used| **used < level);
        let (sum, below) = below.fold((0_u32, 0), |(sum, count), used| (sum.saturating_add(*used), count + 1));
        // While there is enough for all, nobody is promised more than an equal share: whoever has
        // taken what was left in one moment would have it for a second.
        if below == count {
            break;
        }
        let next = whole.saturating_sub(sum) / (count - below);
        if next <= level {
            break;
        }
        level = next;
    }
    level
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: u32 = 891;
    const GREEDY: ClientId = ClientId::new(3);
    const MODEST: ClientId = ClientId::new(9);
    const START: u64 = 1_000_000;

    /// Lets a client take packets one by one in a slice, as many as it wants and as there are.
    /// Gives how many it got.
    fn take(shares: &mut PacketShares, client: ClientId, wanted: u32, total: &mut u32, slice: u64) -> u32 {
        for taken in 0..wanted {
            if *total >= shares.share(client, 1, slice).of(WHOLE) {
                return taken;
            }
            shares.note(client, 1, slice);
            *total += 1;
        }
        wanted
    }

    /// Seconds of wants per slice: what each client got in the last second.
    fn last_second(wants: &[(ClientId, u32)], seconds: u64) -> Vec<u32> {
        let mut shares = PacketShares::new(WHOLE);
        for slice in START..START + seconds * 20 {
            for (client, wanted) in wants {
                let mut total = wants.iter().map(|(client, _)| shares.used(*client, slice)).sum();
                let _ = take(&mut shares, *client, *wanted, &mut total, slice);
            }
        }
        wants.iter().map(|(client, _)| shares.used(*client, START + seconds * 20 - 1)).collect()
    }

    #[test]
    fn a_lone_client_may_use_everything() {
        let mut shares = PacketShares::new(WHOLE);
        assert_eq!(take(&mut shares, GREEDY, 2_000, &mut 0, START), WHOLE);
        assert_eq!(shares.used(GREEDY, START + 20), WHOLE);
        assert_eq!(shares.used(GREEDY, START + 21), 0, "a second later nothing counts");
    }

    #[test]
    fn a_modest_client_gets_all_it_wants_beside_a_greedy_one_whoever_asks_first() {
        for wants in [[(GREEDY, 100), (MODEST, 1)], [(MODEST, 1), (GREEDY, 100)]] {
            let mut got = last_second(&wants, 3);
            got.sort_unstable();
            assert!(got[0] >= 20, "{got:?}");
            assert!(got[1] >= WHOLE * 7 / 8 - 21, "{got:?}: what the modest one leaves is used");
        }
    }

    #[test]
    fn greedy_clients_share_equally_what_modest_ones_leave() {
        let other = ClientId::new(12);
        let got = last_second(&[(GREEDY, 100), (other, 100), (MODEST, 2)], 5);
        assert!(got[2] >= 40 && got[0].abs_diff(got[1]) <= 120, "{got:?}");
    }

    #[test]
    fn one_client_gets_its_share_beside_fifty_greedy_ones_whether_it_asks_first_or_last() {
        let greedy = || (20..70).map(|number| (ClientId::new(number), 100));
        let modest = || std::iter::once((MODEST, 1));
        let (last, first): (Vec<_>, Vec<_>) = (greedy().chain(modest()).collect(), modest().chain(greedy()).collect());
        for seconds in 2..8 {
            assert!(last_second(&last, seconds)[50] >= 15, "an equal share, of the 20 that it wants");
            assert!(last_second(&first, seconds)[0] >= 15);
        }
    }

    #[test]
    fn the_whole_is_there_again_when_the_others_have_been_away_for_ten_seconds() {
        let mut shares = PacketShares::new(WHOLE);
        shares.note(MODEST, 1, START);
        assert_eq!(shares.share(GREEDY, 880, START + 100), PacketShare::Paused);
        assert_eq!(shares.share(GREEDY, 880, START + PRESENT_SLICES), PacketShare::Alone);
    }

    proptest! {
        /// The level never gives away more than there is, and leaves nothing that somebody wants.
        #[test]
        fn the_level_divides_what_there_is(used in prop::collection::vec(0..900_u32, 1..40)) {
            let whole = 779;
            let level = fill(&used, whole);
            let taken: u32 = used.iter().map(|used| (*used).min(level)).sum();
            prop_assert!(taken <= whole);
            prop_assert!(level >= whole / u32::try_from(used.len()).unwrap());
        }
    }
}
