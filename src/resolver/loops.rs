//! Finds out whether an upstream sends our own queries back to us, directly or through another
//! forwarder.
//!
//! A loop does not amplify in any case: the query that comes back joins the resolution that sent
//! it. But the resolution never ends with an answer either, and looks like an outage. So each
//! upstream is asked for a name that only this process knows, at the start and again while it does
//! not answer; if that query arrives here, the upstream is left out. The name lies under `test.`
//! (RFC 6761), so that it cannot belong to anybody. CoreDNS' `loop` plug-in does the same, and
//! exits; holdover goes on with the other upstreams and with what it remembers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::key::{Dnssec, Key, is_within};
use crate::core::message::{CLASS_IN, TYPE_TXT};
use crate::core::upstream::UpstreamId;

/// The suffix of the names by which loops are found.
const SUFFIX: &[u8] = b"\x0dholdover-loop\x04test\x00";
/// Hexadecimal digits of the first label: 16 of the nonce, 4 of the upstream.
const DIGITS: usize = 20;
/// Upstreams that are distinguished: one bit each.
const UPSTREAMS: usize = 64;

/// Makes queries that look for loops, and recognises them when they come back.
pub(super) struct Loops {
    /// The number that only this process knows.
    nonce: u64,
    /// One bit for each upstream that sent a query back.
    seen: AtomicU64,
}

impl Loops {
    /// Makes the search for loops of this process. `nonce` must be a number that nobody can guess.
    #[must_use]
    pub(super) const fn new(nonce: u64) -> Self {
        Self { nonce, seen: AtomicU64::new(0) }
    }

    /// The question by which a loop through this upstream is found.
    #[must_use]
    pub(super) fn query(&self, upstream: UpstreamId) -> Key {
        let mut name = vec![20];
        name.extend_from_slice(format!("{:016x}{:04x}", self.nonce, upstream.index() % UPSTREAMS).as_bytes());
        name.extend_from_slice(SUFFIX);
        // Any type would do.
        Key::new(&name, TYPE_TXT, CLASS_IN, Dnssec::default())
    }

    /// Notes a query that arrived; true when it is one of our own.
    pub(super) fn note_arrival(&self, key: &Key) -> bool {
        let Some((&length, rest)) = key.name().split_first() else { return false };
        if usize::from(length) != DIGITS || !is_within(key.name(), SUFFIX) {
            return false;
        }
        let Some(text) = rest.get(..DIGITS).and_then(|digits| std::str::from_utf8(digits).ok()) else { return false };
        let Some((nonce, upstream)) = text.split_at_checked(16) else { return false };
        let (Ok(nonce), Ok(upstream)) = (u64::from_str_radix(nonce, 16), u32::from_str_radix(upstream, 16)) else {
            return false;
        };
        if nonce != self.nonce {
            return false;
        }
        self.seen.fetch_or(1_u64.checked_shl(upstream).unwrap_or(0), Ordering::Relaxed);
        true
    }

    /// Whether a query to this upstream has come back since the last call.
    pub(super) fn take(&self, upstream: UpstreamId) -> bool {
        let bit =
            u32::try_from(upstream.index() % UPSTREAMS).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0);
        self.seen.fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::name;

    #[test]
    fn our_own_query_is_recognised_and_nobody_elses() {
        let loops = Loops::new(0xfeed_beef);
        assert!(!Loops::new(1).note_arrival(&loops.query(UpstreamId::new(3))));
        assert!(!loops.note_arrival(&Key::new(&name("www.example.com"), 1, 1, Dnssec::default())));
        assert!(loops.note_arrival(&loops.query(UpstreamId::new(3))));
        assert!(!loops.take(UpstreamId::new(2)));
        assert!(loops.take(UpstreamId::new(3)));
        assert!(!loops.take(UpstreamId::new(3)));
    }
}
