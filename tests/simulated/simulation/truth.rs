//! The truth of a simulated world: what each name resolves to at each moment.

use std::time::Duration;

use hickory_proto::op::ResponseCode;

use crate::world::{Dice, message};

/// What is true of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The name has an address, in which this version is encoded.
    Address(u32),
    /// The name does not exist.
    NxDomain,
    /// The name exists without data of this type.
    NoData,
}

/// How one name changes over time.
#[derive(Clone, Copy, Debug)]
struct Story {
    /// Seconds.
    ttl: u32,
    /// Time between two changes.
    period: Duration,
    changes: Changes,
}

#[derive(Clone, Copy, Debug)]
enum Changes {
    Address,
    AddressAndNxDomain,
    NeverExists,
    NeverHasData,
}

/// All names of a world.
pub struct Zone {
    stories: Vec<Story>,
}

impl Zone {
    /// Names of all kinds, with TTLs of 0 to 7200 s.
    pub fn new(names: usize, dice: &Dice) -> Self {
        let ttls = [1, 2, 5, 10, 30, 60, 300, 7200];
        let story = |index: usize| Story {
            ttl: if index % 20 == 9 { 0 } else { ttls[dice.below(ttls.len() as u64) as usize] },
            period: Duration::from_secs(40 + dice.below(2_000)),
            changes: match index % 10 {
                6 => Changes::AddressAndNxDomain,
                7 => Changes::NeverExists,
                8 => Changes::NeverHasData,
                _ => Changes::Address,
            },
        };
        Self { stories: (0..names).map(story).collect() }
    }

    /// Names that exist, with TTLs of 1 to 60 s.
    pub fn steady(names: usize, dice: &Dice) -> Self {
        let ttls = [1, 2, 5, 10, 30, 60];
        let story = |_| Story {
            ttl: ttls[dice.below(6) as usize],
            period: Duration::from_secs(600),
            changes: Changes::Address,
        };
        Self { stories: (0..names).map(story).collect() }
    }

    pub fn names(&self) -> usize {
        self.stories.len()
    }

    /// The name with this index. Every tenth name lies below another suffix.
    pub fn text(name: usize) -> String {
        format!("n{name}.s{}.test.", name % 10)
    }

    /// The index of a name.
    pub fn index(text: &str) -> Option<usize> {
        text.strip_prefix('n')?.split('.').next()?.parse().ok()
    }

    pub fn ttl(&self, name: usize) -> u32 {
        self.stories[name].ttl
    }

    fn version(&self, name: usize, at: Duration) -> u32 {
        (at.as_millis() / self.stories[name].period.as_millis()) as u32
    }

    /// What is true of a name at a moment.
    pub fn fact(&self, name: usize, at: Duration) -> Fact {
        let version = self.version(name, at);
        match self.stories[name].changes {
            Changes::Address => Fact::Address(version),
            Changes::AddressAndNxDomain if version % 3 == 2 => Fact::NxDomain,
            Changes::AddressAndNxDomain => Fact::Address(version),
            Changes::NeverExists => Fact::NxDomain,
            Changes::NeverHasData => Fact::NoData,
        }
    }

    /// Whether a fact was true at any moment in a span.
    pub fn was_true(&self, name: usize, fact: Fact, from: Duration, to: Duration) -> bool {
        let (first, last) = (self.version(name, from), self.version(name, to));
        (first..=last).any(|version| self.fact(name, self.stories[name].period * version) == fact)
    }

    /// The correct response to a query.
    pub fn response(&self, query: &[u8], at: Duration) -> Vec<u8> {
        let known =
            message::question(query).and_then(|(text, _)| Self::index(&text)).filter(|name| *name < self.names());
        let Some(name) = known else { return message::negative(query, ResponseCode::NXDomain, 60) };
        let ttl = self.ttl(name);
        match self.fact(name, at) {
            Fact::Address(version) => message::positive(query, &[&Self::address(name, version)], ttl),
            Fact::NxDomain => message::negative(query, ResponseCode::NXDomain, ttl.max(1)),
            Fact::NoData => message::negative(query, ResponseCode::NoError, ttl.max(1)),
        }
    }

    /// The address in which a name's index and version are encoded.
    pub fn address(name: usize, version: u32) -> String {
        format!("2001:db8::{:x}:{:x}:{:x}", name + 1, version >> 16, version & 0xffff)
    }
}
