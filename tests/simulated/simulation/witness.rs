//! Watches every answer and every packet, and compares them with the truth of the simulated zone
//! and with holdover's promises.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdover::core::restore::Shift;

use super::truth::{Fact, Zone};
use super::weather::Weather;
use crate::world::message::{self, Kind, Seen};
use crate::world::{Reply, Sent};

/// The longest wait for a name in the cache: the client response timer, and a millisecond.
const IN_TIME: Duration = Duration::from_millis(201);
/// The longest wait for any name: the deadline of a resolution, and a millisecond.
const DEADLINE: Duration = Duration::from_millis(4_801);
/// The longest life of a fresh positive answer.
const FRESH_MAX: Duration = Duration::from_secs(3_600);
const NEGATIVE_MAX: Duration = Duration::from_secs(30);
/// The largest age of a response when it arrives: as long as a resolution waits for a late one.
const LINGER: Duration = Duration::from_secs(7);
/// How long names may be stale after the last fault: the longest failure recheck timer, and the
/// time to notice.
const CALM_AFTER: Duration = Duration::from_secs(40);
/// Most packets upstream in any one second.
const PACKETS_MAX: usize = 900;

/// A query that was sent.
pub struct Asked {
    name: usize,
    id: u16,
    at: Duration,
    life: u64,
    stops: u64,
    /// When the name was last answered fresh before this query.
    known: Option<Duration>,
}

/// How many queries were answered in which way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub queries: u64,
    pub fresh: u64,
    pub stale: u64,
    pub failed: u64,
    /// Answers from the cache that took longer than they may.
    pub late: u64,
}

impl Sums {
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            queries: self.queries - earlier.queries,
            fresh: self.fresh - earlier.fresh,
            stale: self.stale - earlier.stale,
            failed: self.failed - earlier.failed,
            late: self.late - earlier.late,
        }
    }
}

#[derive(Default)]
struct Memory {
    sums: Sums,
    open: u64,
    /// When each name was last answered fresh, with a TTL above 0, in this life of the process.
    known: Vec<Option<Duration>>,
    /// The newest version of each name that was seen, in any life of the process.
    newest: Vec<u32>,
    life: u64,
    stops: u64,
    stopped_at: Duration,
    /// By how much restored answers may be older than they seem, because the wall clock was set
    /// back and the process could not know.
    doubt: Duration,
}

/// What a restart from the state file brings back.
pub struct Written {
    known: Vec<Option<Duration>>,
    newest: Vec<u32>,
}

/// Knows the truth and all earlier answers, and panics at the first broken promise.
pub struct Witness {
    seed: u64,
    zone: Arc<Zone>,
    weather: Arc<Weather>,
    maximum_stale: Duration,
    memory: Mutex<Memory>,
}

impl Witness {
    pub fn new(seed: u64, zone: Arc<Zone>, weather: Arc<Weather>, maximum_stale: Duration) -> Self {
        let names = zone.names();
        let memory = Memory { known: vec![None; names], newest: vec![0; names], ..Memory::default() };
        Self { seed, zone, weather, maximum_stale, memory: Mutex::new(memory) }
    }

    pub fn label(&self) -> String {
        format!("seed {}", self.seed)
    }

    pub fn sums(&self) -> Sums {
        self.memory.lock().unwrap().sums
    }

    pub fn process_restarted(&self) {
        let mut memory = self.memory.lock().unwrap();
        memory.known.fill(None);
        memory.life += 1;
    }

    /// The state file is written now.
    pub fn written(&self) -> Written {
        let memory = self.memory.lock().unwrap();
        Written { known: memory.known.clone(), newest: memory.newest.clone() }
    }

    /// The process was restarted with the state file. `moved` is by how much the wall clock was
    /// set, as far as the process cannot know it.
    pub fn process_restored(&self, written: Written, moved: Shift) {
        let mut memory = self.memory.lock().unwrap();
        memory.life += 1;
        // What was learned since the last write of the file is lost.
        memory.newest = written.newest;
        memory.known = written.known;
        match moved {
            // All answers seem to be older by this much.
            Shift::Ahead(by) => {
                memory.known.iter_mut().for_each(|known| *known = known.and_then(|at| at.checked_sub(by)))
            }
            Shift::Back(by) => memory.doubt += by,
        }
    }

    pub fn process_stopped(&self, at: Duration) {
        let mut memory = self.memory.lock().unwrap();
        memory.stops += 1;
        memory.stopped_at = at;
    }

    pub fn asked(&self, name: usize, id: u16, at: Duration) -> Asked {
        let mut memory = self.memory.lock().unwrap();
        memory.open += 1;
        Asked { name, id, at, life: memory.life, stops: memory.stops, known: memory.known[name] }
    }

    pub fn everybody_was_answered(&self) {
        assert_eq!(self.memory.lock().unwrap().open, 0, "{}: queries without an answer", self.label());
    }

    /// Checks one answer.
    pub fn answered(&self, asked: &Asked, reply: &Reply, now: Duration) {
        let mut memory = self.memory.lock().unwrap();
        let place = format!("{} at {now:?}, {}, asked at {:?}", self.label(), Zone::text(asked.name), asked.at);
        memory.open -= 1;
        memory.sums.queries += 1;
        let seen = message::read(reply.bytes.as_ref().unwrap_or_else(|| panic!("{place}: no answer at all")));
        assert_eq!(seen.id, asked.id, "{place}: another ID");
        let undisturbed = asked.life == memory.life && asked.stops == memory.stops;
        let limit = self.maximum_stale;
        let known = undisturbed && asked.known.is_some_and(|at| now < at + limit);
        if undisturbed {
            assert!(reply.took <= DEADLINE, "{place}: took {:?}", reply.took);
        }
        match seen.kind {
            Kind::ServFail => {
                memory.sums.failed += 1;
                assert!(!known, "{place}: SERVFAIL for a name that was known at {:?}", asked.known);
            }
            Kind::Answer | Kind::NxDomain | Kind::NoData => {
                if known && reply.took > IN_TIME {
                    memory.sums.late += 1;
                    panic!("{place}: known, and took {:?}", reply.took);
                }
                self.judge(&mut memory, asked, &seen, now, &place);
            }
            Kind::Other => panic!("{place}: {seen}"),
        }
    }

    /// Compares an answer with the truth.
    fn judge(&self, memory: &mut Memory, asked: &Asked, seen: &Seen, now: Duration, place: &str) {
        let fact = self.fact(seen, asked.name, place);
        let (life, most) = match fact {
            Fact::Address(_) => (Duration::from_secs(self.zone.ttl(asked.name).into()), FRESH_MAX),
            Fact::NxDomain | Fact::NoData => {
                (Duration::from_secs(self.zone.ttl(asked.name).max(1).into()), NEGATIVE_MAX)
            }
        };
        let oldest =
            if seen.stale { self.maximum_stale + life + LINGER } else { life.min(most) + LINGER } + memory.doubt;
        // A process that was stopped accepts responses that arrived meanwhile.
        let stopped = if asked.stops == memory.stops && now.saturating_sub(memory.stopped_at) > oldest {
            Duration::ZERO
        } else {
            oldest + FRESH_MAX
        };
        let from = now.saturating_sub(oldest + stopped);
        assert!(self.zone.was_true(asked.name, fact, from, now), "{place}: {seen} was not true since {from:?}");
        if let Fact::Address(version) = fact {
            let newest = &mut memory.newest[asked.name];
            assert!(*newest <= version, "{place}: went back from version {newest} to {version}");
            *newest = version;
        }
        assert!(!seen.stale || !seen.ttls.contains(&0), "{place}: a stale answer with TTL 0: {seen}");
        if seen.stale {
            memory.sums.stale += 1;
            let calm =
                self.weather.calm_since(now).is_some_and(|since| now > since.max(memory.stopped_at) + CALM_AFTER);
            assert!(!calm, "{place}: stale, though every upstream has been fine for long: {seen}");
        } else {
            memory.sums.fresh += 1;
            if asked.life == memory.life && self.zone.ttl(asked.name) > 0 {
                // The answer was fresh just now, so it may be served stale for at least the whole
                // maximum stale time.
                memory.known[asked.name] = Some(now);
            }
        }
    }

    /// The fact that an answer states.
    fn fact(&self, seen: &Seen, name: usize, place: &str) -> Fact {
        match seen.kind {
            Kind::NxDomain => Fact::NxDomain,
            Kind::NoData => Fact::NoData,
            Kind::Answer | Kind::ServFail | Kind::Other => {
                let address: std::net::Ipv6Addr = seen.data[0].parse().unwrap();
                let [.., owner, high, low] = address.segments();
                assert_eq!(usize::from(owner), name + 1, "{place}: the answer to another question");
                Fact::Address(u32::from(high) << 16 | u32::from(low))
            }
        }
    }

    /// Checks that the packets upstream keep within the budget, and gives the highest number in one
    /// second.
    pub fn packets(&self, sent: &[Sent]) -> usize {
        let times: Vec<Duration> = sent.iter().map(|sent| sent.at).collect();
        let (mut from, mut peak) = (0, 0);
        for (index, at) in times.iter().enumerate() {
            while *at - times[from] >= Duration::from_secs(1) {
                from += 1;
            }
            peak = peak.max(index - from + 1);
        }
        assert!(peak <= PACKETS_MAX, "{}: {peak} packets in one second", self.label());
        peak
    }
}
