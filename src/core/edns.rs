//! What is known of EDNS at one upstream: whether queries to it carry an OPT (RFC 6891 §6.2.2).
//!
//! Old servers, and boxes on the way to new ones, stumble over an OPT: they are silent, say
//! FORMERR, NOTIMP or BADVERS, or send what cannot be read. The question in hand is then asked
//! again without OPT ([`super::attempts`]). But a resolver also passes on what *one* authoritative
//! server said to *one* odd name, and packets get lost. So the upstream itself counts as one that
//! does not understand EDNS only when nothing speaks against that:
//!
//! | what happened | what follows |
//! |---|---|
//! | a query with OPT was answered | EDNS works: all suspicion is void |
//! | only the query without OPT was answered, and EDNS worked within the last minute | nothing |
//! | the same, and EDNS did not work lately | the name is noted |
//! | names of three unrelated suffixes, or eight names at all, are noted | queries go without OPT for five minutes |
//! | that time is over | EDNS is tried again; one name in trouble is then enough |
//!
//! A question with DO always goes with OPT first: without it nobody who validates could use the
//! answer. In the five minutes the next send, which follows soon, leaves OPT out.
//!
//! An answer whose sender ignored the OPT counts as one that worked, since the OPT did no harm.
//!
//! Witnesses ([`super::witness`]) must not take such an upstream for a dead one: while EDNS is not
//! known to work, one that failed with OPT is followed by one without, and the other way round.

use std::time::Duration;

use super::message::{Records, Section, TYPE_OPT};
use super::suffix::SuffixHash;
use super::time::Timestamp;
use super::upstream_query::Extension;

/// For how long an answer to a query with OPT shows that EDNS works.
const WORKED_FOR: Duration = Duration::from_secs(60);
/// For how long an upstream is asked without OPT.
const PLAIN_FOR: Duration = Duration::from_secs(300);
/// Suffixes among the names in trouble that make it the upstream's trouble.
const SUFFIXES: usize = 3;
/// Names in trouble that are kept, and that make it the upstream's trouble whatever their suffixes:
/// an upstream may serve a single zone.
const NAMES: usize = 8;

/// A name that got an answer only without OPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdnsSuspect {
    /// The suffix of the name, which stands for the servers that are authoritative for it.
    pub suffix: SuffixHash,
    /// A hash of the whole name.
    pub name: u64,
}

/// How far an upstream is trusted with an OPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdnsTrust {
    /// A query with OPT was answered within the last minute.
    Proven,
    /// Nothing is known for certain.
    Open,
    /// Several unrelated names were answered only without OPT.
    Doubted,
}

/// What is known of EDNS at one upstream.
#[derive(Debug)]
pub struct EdnsStanding {
    worked_at: Option<Timestamp>,
    /// The names in trouble since EDNS worked for the last time.
    suspects: [Option<EdnsSuspect>; NAMES],
    plain_until: Timestamp,
    /// How the next witness is asked while nothing is known for certain.
    next_witness: Extension,
    /// Whether the last witness had an OPT and was not answered.
    missed: bool,
}

impl Default for EdnsStanding {
    fn default() -> Self {
        Self {
            worked_at: None,
            suspects: [None; NAMES],
            plain_until: Timestamp::EPOCH,
            next_witness: Extension::Edns,
            missed: false,
        }
    }
}

impl EdnsStanding {
    /// How far the upstream is trusted with an OPT now.
    #[must_use]
    pub fn trust(&self, now: Timestamp) -> EdnsTrust {
        if self.worked_at.is_some_and(|at| now.since(at) < WORKED_FOR) {
            EdnsTrust::Proven
        } else if now < self.plain_until {
            EdnsTrust::Doubted
        } else {
            EdnsTrust::Open
        }
    }

    /// Notes that a query with OPT was answered, or that the response to it has an OPT.
    pub fn note_worked(&mut self, now: Timestamp) {
        *self = Self { worked_at: Some(now), ..Self::default() };
    }

    /// Notes a name that was answered without OPT, after it was not with it.
    pub fn note_trouble(&mut self, suspect: EdnsSuspect, now: Timestamp) {
        if self.trust(now) == EdnsTrust::Proven {
            return;
        }
        let is_known = self.suspects.contains(&Some(suspect));
        if let Some(free) = self.suspects.iter_mut().find(|place| place.is_none()).filter(|_| !is_known) {
            *free = Some(suspect);
        }
        if self.is_upstreams_trouble() {
            self.plain_until = now.plus(PLAIN_FOR);
        }
    }

    /// Whether so many names are in trouble that it is not theirs.
    fn is_upstreams_trouble(&self) -> bool {
        let suspects = || self.suspects.iter().flatten();
        let is_first = |(place, own): &(usize, &EdnsSuspect)| suspects().take(*place).all(|it| it.suffix != own.suffix);
        suspects().enumerate().filter(is_first).count() >= SUFFIXES || suspects().count() >= NAMES
    }

    /// How the next witness is asked.
    #[must_use]
    pub fn of_witness(&self, now: Timestamp) -> Extension {
        match self.trust(now) {
            EdnsTrust::Proven => Extension::Edns,
            EdnsTrust::Doubted => Extension::Plain,
            EdnsTrust::Open => self.next_witness,
        }
    }

    /// Notes how a witness went that was asked with this extension: whether it was answered.
    pub fn note_witness(&mut self, suspect: EdnsSuspect, asked: Extension, answer: WitnessAnswer, now: Timestamp) {
        let missed = std::mem::replace(&mut self.missed, (asked, answer) == (Extension::Edns, WitnessAnswer::Missing));
        match (asked, answer) {
            (Extension::Edns, WitnessAnswer::Came) => self.note_worked(now),
            // Without a failure right before it, that shows nothing.
            (Extension::Plain, WitnessAnswer::Came) if missed => self.note_trouble(suspect, now),
            (Extension::Plain, WitnessAnswer::Came) => {}
            (Extension::Edns, WitnessAnswer::Missing) => self.next_witness = Extension::Plain,
            (Extension::Plain, WitnessAnswer::Missing) => self.next_witness = Extension::Edns,
        }
    }
}

/// Whether a witness was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// An answer came in time.
    Came,
    /// None came in time, or a response that is no answer.
    Missing,
}

/// Where a response has its OPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptPlace {
    /// There is none, or the response cannot be read.
    Nowhere,
    /// In the additional section, where it belongs: the sender understands EDNS (RFC 6891 §6.1.1).
    Additional,
    /// In another section: the sender took it for something else.
    Elsewhere,
}

/// Finds the OPT of a response. Any bytes may be given.
#[must_use]
pub fn opt_of(response: &[u8]) -> OptPlace {
    let mut place = OptPlace::Nowhere;
    let Ok(mut records) = Records::new(response) else { return place };
    while let Ok(Some(record)) = records.next_record() {
        match (record.rtype == TYPE_OPT, record.section) {
            (true, Section::Additional) => place = OptPlace::Additional,
            (true, Section::Answer | Section::Authority) => return OptPlace::Elsewhere,
            (false, _) => {}
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::Response;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn suspect(suffix: u64, name: u64) -> EdnsSuspect {
        EdnsSuspect { suffix: SuffixHash::new(suffix), name }
    }

    /// The standing after these names of these suffixes were in trouble.
    fn troubled(suspects: &[(u64, u64)]) -> EdnsStanding {
        let mut standing = EdnsStanding::default();
        suspects.iter().for_each(|(suffix, name)| standing.note_trouble(suspect(*suffix, *name), NOW));
        standing
    }

    #[test]
    fn a_few_names_of_one_suffix_say_nothing_about_the_upstream() {
        assert_eq!(troubled(&[(1, 1), (1, 2), (1, 3), (1, 4), (2, 5)]).trust(NOW), EdnsTrust::Open);
        assert_eq!(troubled(&[(1, 1), (2, 2), (1, 1), (2, 2)]).trust(NOW), EdnsTrust::Open);
    }

    #[test]
    fn three_unrelated_names_or_eight_related_ones_do_for_minutes() {
        for suspects in [&[(1, 1), (2, 2), (3, 3)][..], &(0..8).map(|name| (1, name)).collect::<Vec<_>>()] {
            let standing = troubled(suspects);
            assert_eq!((standing.trust(NOW), standing.trust(at(299))), (EdnsTrust::Doubted, EdnsTrust::Doubted));
            assert_eq!(standing.trust(at(300)), EdnsTrust::Open, "then it is tried again");
        }
    }

    #[test]
    fn after_the_minutes_one_name_is_enough() {
        let mut standing = troubled(&[(1, 1), (2, 2), (3, 3)]);
        standing.note_trouble(suspect(1, 1), at(400));
        assert_eq!(standing.trust(at(401)), EdnsTrust::Doubted);
    }

    #[test]
    fn what_worked_in_the_last_minute_is_not_doubted_and_what_worked_at_all_voids_suspicion() {
        let mut standing = troubled(&[(1, 1), (2, 2)]);
        standing.note_worked(NOW);
        (1..9).for_each(|number| standing.note_trouble(suspect(number, number), at(59)));
        assert_eq!(standing.trust(at(61)), EdnsTrust::Open);
        (1..3).for_each(|number| standing.note_trouble(suspect(number, number), at(61)));
        assert_eq!(standing.trust(at(61)), EdnsTrust::Open, "it begins anew");
        standing.note_trouble(suspect(3, 3), at(61));
        assert_eq!(standing.trust(at(61)), EdnsTrust::Doubted);
        standing.note_worked(at(62));
        assert_eq!(standing.trust(at(62)), EdnsTrust::Proven);
    }

    #[test]
    fn witnesses_try_both_ways_until_one_works() {
        let mut standing = EdnsStanding::default();
        assert_eq!(standing.of_witness(NOW), Extension::Edns);
        standing.note_witness(suspect(1, 1), Extension::Edns, WitnessAnswer::Missing, NOW);
        assert_eq!(standing.of_witness(NOW), Extension::Plain);
        standing.note_witness(suspect(1, 1), Extension::Plain, WitnessAnswer::Came, NOW);
        assert_eq!(standing.of_witness(NOW), Extension::Plain, "what worked is kept to");
        standing.note_witness(suspect(1, 1), Extension::Plain, WitnessAnswer::Missing, NOW);
        assert_eq!(standing.of_witness(NOW), Extension::Edns);
        standing.note_witness(suspect(1, 1), Extension::Edns, WitnessAnswer::Came, NOW);
        standing.note_witness(suspect(1, 1), Extension::Edns, WitnessAnswer::Missing, NOW);
        assert_eq!(standing.of_witness(at(59)), Extension::Edns, "silence means something else");
        assert_eq!(standing.of_witness(at(60)), Extension::Plain);
    }

    #[test]
    fn an_opt_counts_in_the_additional_section_alone() {
        let answer = || Response::new("www.example.com", 1).a("www.example.com", 60);
        assert_eq!(opt_of(&answer().opt(0, &[]).bytes()), OptPlace::Additional);
        assert_eq!(opt_of(&answer().bytes()), OptPlace::Nowhere);
        for section in [6, 8] {
            let misplaced = answer().record(section, "", 41, 0, &[]).opt(0, &[]).bytes();
            assert_eq!(opt_of(&misplaced), OptPlace::Elsewhere);
        }
        let cut_off = answer().opt(0, &[]).bytes();
        assert_eq!([opt_of(&cut_off[..cut_off.len() - 1]), opt_of(&[])], [OptPlace::Nowhere; 2]);
    }
}
