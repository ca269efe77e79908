//! Finds out whether an upstream sends our own queries back to us, directly or through another
//! forwarder.
//!
//! A loop does not amplify in any case: the query that comes back joins the resolution that sent
//! it. But the resolution never ends with an answer either, and looks like an outage. So each
//! upstream is asked for a name that only this process knows, at the start and again while it does
//! not answer; if that query arrives here, the upstream is left out. The name lies under `test.`
//! (RFC 6761), so that it cannot belong to anybody. CoreDNS' `loop` plug-in does the same, and
//! exits; holdover goes on with the other upstreams and with what it remembers.
//!
//! Each look has a name of its own, which counts once. Whoever sees such a query and sends it to us
//! later, or again and again, cannot keep an upstream out: a name that comes back too late only has
//! the next look wait longer (the way may be that long), and any other is nobody's.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::key::{Dnssec, Key, is_within};
use crate::core::message::{CLASS_IN, TYPE_TXT};
use crate::core::upstream::UpstreamId;

/// The suffix of the names by which loops are found.
const SUFFIX: &[u8] = b"\x0dholdover-loop\x04test\x00";
/// Hexadecimal digits of the first label: 16 of the nonce, 4 of the upstream.
const DIGITS: usize = 20;
/// Upstreams that are distinguished.
const UPSTREAMS: usize = 64;

/// Makes queries that look for loops, and recognises them when they come back.
pub(super) struct Loops {
    /// The nonce of the last look at each upstream; 0 before the first.
    nonces: [AtomicU64; UPSTREAMS],
    /// One bit for each upstream whose last query has not come back so far.
    awaited: AtomicU64,
    /// One bit for each upstream that sent a query back.
    seen: AtomicU64,
}

impl Default for Loops {
    fn default() -> Self {
        Self { nonces: [const { AtomicU64::new(0) }; UPSTREAMS], awaited: AtomicU64::new(0), seen: AtomicU64::new(0) }
    }
}

/// The question of one look for a loop.
pub(super) struct LoopLook {
    /// The question that the upstream is asked.
    pub(super) key: Key,
    /// Whether the question of the last look came back when that was over.
    pub(super) was_late: bool,
}

impl Loops {
    /// Begins a look for a loop through this upstream, which ends the last one. `nonce` must be a
    /// number that nobody can guess.
    #[must_use]
    pub(super) fn begin(&self, upstream: UpstreamId, nonce: u64) -> LoopLook {
        let was_late = self.take(upstream);
        // Zero stands for none.
        let nonce = nonce.max(1);
        let place = upstream.index() % UPSTREAMS;
        self.nonces.get(place).into_iter().for_each(|own| own.store(nonce, Ordering::Relaxed));
        self.awaited.fetch_or(bit(place), Ordering::Relaxed);
        let mut name = vec![20];
        name.extend_from_slice(format!("{nonce:016x}{place:04x}").as_bytes());
        name.extend_from_slice(SUFFIX);
        // Any type would do.
        LoopLook { key: Key::new(&name, TYPE_TXT, CLASS_IN, Dnssec::default()), was_late }
    }

    /// Notes a query that arrived; true when it is that of the last look at an upstream.
    pub(super) fn note_arrival(&self, key: &Key) -> bool {
        let Some((&length, rest)) = key.name().split_first() else { return false };
        if usize::from(length) != DIGITS || !is_within(key.name(), SUFFIX) {
            return false;
        }
        let Some(text) = rest.get(..DIGITS).and_then(|digits| std::str::from_utf8(digits).ok()) else { return false };
        let Some((nonce, place)) = text.split_at_checked(16) else { return false };
        let (Ok(nonce), Ok(place)) = (u64::from_str_radix(nonce, 16), usize::from_str_radix(place, 16)) else {
            return false;
        };
        let is_ours = |own: &AtomicU64| nonce != 0 && own.load(Ordering::Relaxed) == nonce;
        if !self.nonces.get(place).is_some_and(is_ours) {
            return false;
        }
        // It counts once.
        if self.awaited.fetch_and(!bit(place), Ordering::Relaxed) & bit(place) != 0 {
            self.seen.fetch_or(bit(place), Ordering::Relaxed);
        }
        true
    }

    /// Whether a query to this upstream has come back since the last call.
    pub(super) fn take(&self, upstream: UpstreamId) -> bool {
        let bit = bit(upstream.index() % UPSTREAMS);
        self.seen.fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }
}

/// The bit of an upstream's place.
fn bit(place: usize) -> u64 {
    u32::try_from(place).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::name;

    fn upstream(index: usize) -> UpstreamId {
        UpstreamId::new(index)
    }

    #[test]
    fn our_own_query_is_recognised_and_nobody_elses() {
        let loops = Loops::default();
        let look = loops.begin(upstream(3), 0xfeed_beef);
        assert!(!Loops::default().note_arrival(&look.key));
        assert!(!loops.note_arrival(&Key::new(&name("www.example.com"), 1, 1, Dnssec::default())));
        let none = name("00000000000000000005.holdover-loop.test");
        assert!(!loops.note_arrival(&Key::new(&none, TYPE_TXT, 1, Dnssec::default())), "nobody looks there");
        assert!(loops.note_arrival(&look.key));
        assert!(!loops.take(upstream(2)));
        assert!(loops.take(upstream(3)));
        assert!(!loops.take(upstream(3)));
    }

    #[test]
    fn a_query_counts_once_and_for_its_own_look() {
        let loops = Loops::default();
        let first = loops.begin(upstream(3), 1).key;
        assert!(loops.note_arrival(&first) && loops.take(upstream(3)));
        let second = loops.begin(upstream(3), 2);
        // Whoever has seen the first query sends it again.
        assert!(!loops.note_arrival(&first) && !loops.take(upstream(3)));
        assert!(!second.was_late);
        assert!(loops.note_arrival(&second.key));
        // It came when the look was over: the next one waits longer, and does not count it.
        assert!(loops.begin(upstream(3), 3).was_late && !loops.take(upstream(3)));
        let fourth = loops.begin(upstream(3), 4).key;
        assert!(loops.note_arrival(&fourth) && loops.take(upstream(3)));
        assert!(loops.note_arrival(&fourth) && !loops.take(upstream(3)), "it is ours, and counts no more");
    }
}
