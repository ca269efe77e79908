//! The clock of the zone: which addresses are valid at a moment, and how old those are that a
//! client was given.
//!
//! | addresses | valid | old | gone |
//! |---|---|---|---|
//! | change every second | those within their TTL | all others | |
//! | move once, when the fault begins | the new ones; the former ones until 1 s after their TTL | | the former ones |

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::zone::Generation;

/// Time beyond its TTL for which the address from before a move may still be given.
pub const MOVE_GRACE: Duration = Duration::from_secs(1);
/// Generation of the addresses from before a move.
const FORMER: Duration = Duration::from_secs(1);
/// Generation of the addresses after it.
const MOVED: Duration = Duration::from_secs(2);

/// How often the addresses of the zone change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Every second.
    EverySecond,
    /// Once, when the fault begins.
    Once,
}

/// Age of an address that a client was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressAge {
    /// The address is within its TTL.
    Valid,
    /// The address is older than its TTL allows.
    Old,
    /// The name gave the address up for good, longer ago than its TTL.
    Gone,
}

/// Clock that upstreams and clients of one drill share.
#[derive(Clone, Debug)]
pub struct ZoneClock {
    began: Instant,
    /// Moment of the move; `None` where addresses change every second.
    moved: Option<Arc<OnceLock<Instant>>>,
}

impl ZoneClock {
    /// A clock of a zone that begins now.
    #[must_use]
    pub fn new(renewal: Renewal) -> Self {
        let moved = match renewal {
            Renewal::EverySecond => None,
            Renewal::Once => Some(Arc::default()),
        };
        Self { began: Instant::now(), moved }
    }

    /// Moves all names to other addresses, unless these change every second anyway.
    pub fn move_names(&self) {
        if let Some(moved) = &self.moved {
            let _ = moved.set(Instant::now());
        }
    }

    /// Generation of the addresses that are valid now.
    #[must_use]
    pub fn generation(&self) -> Generation {
        match &self.moved {
            None => Generation::at(self.began.elapsed()),
            Some(moved) if moved.get().is_some() => Generation::at(MOVED),
            Some(_) => Self::former(),
        }
    }

    /// Generation of the addresses from before a move.
    #[must_use]
    pub fn former() -> Generation {
        Generation::at(FORMER)
    }

    /// Age of an address of this generation and TTL, in seconds, that a client has asked for at
    /// `asked` and has just been given.
    #[must_use]
    pub fn age(&self, address: Generation, ttl: u32, asked: Instant) -> AddressAge {
        let Some(moved) = &self.moved else {
            let is_old = address.is_older_than(ttl, Generation::at(self.began.elapsed()));
            return if is_old { AddressAge::Old } else { AddressAge::Valid };
        };
        let kept_for = Duration::from_secs(u64::from(ttl)) + MOVE_GRACE;
        match moved.get() {
            Some(moved) if address == Self::former() && asked > *moved + kept_for => AddressAge::Gone,
            Some(_) | None => AddressAge::Valid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn addresses_that_change_every_second_are_old_beyond_their_ttl() {
        let clock = ZoneClock::new(Renewal::EverySecond);
        let first = clock.generation();
        clock.move_names();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.age(first, 5, Instant::now()), AddressAge::Valid);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(clock.age(first, 5, Instant::now()), AddressAge::Old);
        assert_eq!(clock.age(clock.generation(), 5, Instant::now()), AddressAge::Valid);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_move_once_are_gone_a_second_after_their_ttl() {
        let clock = ZoneClock::new(Renewal::Once);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(clock.generation(), ZoneClock::former());
        assert_eq!(clock.age(ZoneClock::former(), 2, Instant::now()), AddressAge::Valid);
        clock.move_names();
        assert_ne!(clock.generation(), ZoneClock::former());
        tokio::time::advance(Duration::from_secs(3)).await;
        let asked = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(clock.age(ZoneClock::former(), 2, asked), AddressAge::Valid, "it was asked for in time");
        assert_eq!(clock.age(ZoneClock::former(), 2, Instant::now()), AddressAge::Gone);
        assert_eq!(clock.age(clock.generation(), 2, Instant::now()), AddressAge::Valid);
    }
}
