//! The history of a question: how often upstreams answered it, and how often the data changed.
//!
//! Names differ. The address of a database stays for months and moves once; the addresses of a load
//! balancer take turns with every answer. Six bytes beside each answer tell them apart:
//!
//! | answers so far | changes | the data |
//! |---|---|---|
//! | fewer than 6 | any | not known well enough |
//! | 6 or more | none among the last 16 answers | steady |
//! | 6 or more | one among the last 16 | have moved, or take turns |
//! | 6 or more | two within 16 answers, less than 255 answers ago | take turns, if seldom |
//!
//! A change is what [`super::fingerprint::of_data`] says: the order of the records, their TTLs and
//! the aliases that lead to them do not count. Only answers of upstreams do, and a denial between
//! two answers neither adds to a history nor ends it. A history lies in the state file and in the
//! shared cache beside its answer, so that a restart does not forget which addresses stay.

/// Answers after which a history says anything: of two sets that take turns at random, one in 32
/// names looks steady by then.
const KNOWN_AFTER: u16 = 6;

/// How steady the data of one question were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Answers of upstreams, this one included.
    answers: u16,
    /// One bit for each of the last 16 answers, the latest lowest: whether its data differed from
    /// those of the answer before.
    changes: u16,
    /// After data that take turns: how many answers have to be the same before they count as steady
    /// again.
    unsettled: u8,
}

/// What is known of the time before an answer: it is kept with the answer when the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// The number of queries that the answer has served.
    pub hits: u32,
    /// How steady its data were.
    pub history: History,
}

impl From<u32> for Past {
    /// The past of an answer of which only its hits are known.
    fn from(hits: u32) -> Self {
        Self { hits, history: History::FIRST }
    }
}

/// How the data of an answer compare with those of the answer that it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succeeding {
    /// The data are the same, in whatever order.
    Same,
    /// The data are others.
    Other,
}

impl History {
    /// The history of a question that was answered for the first time.
    pub const FIRST: Self = Self { answers: 1, changes: 0, unsettled: 0 };

    /// The history after one more answer.
    #[must_use]
    pub const fn next(self, data: Succeeding) -> Self {
        let answers = self.answers.saturating_add(1);
        match data {
            Succeeding::Same => {
                Self { answers, changes: self.changes << 1, unsettled: self.unsettled.saturating_sub(1) }
            }
            Succeeding::Other => Self {
                answers,
                changes: self.changes << 1 | 1,
                unsettled: if self.changes == 0 { self.unsettled } else { u8::MAX },
            },
        }
    }

    /// The history as bytes, in the form in which it outlives the process.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 5] {
        let ([a, b], [c, d]) = (self.answers.to_be_bytes(), self.changes.to_be_bytes());
        [a, b, c, d, self.unsettled]
    }

    /// The history that these bytes stand for; `None` when they stand for none.
    #[must_use]
    pub const fn from_bytes([a, b, c, d, unsettled]: [u8; 5]) -> Option<Self> {
        let (answers, changes) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if answers == 0 { None } else { Some(Self { answers, changes, unsettled }) }
    }

    /// Whether the data are known well enough, and have not changed lately.
    #[must_use]
    pub const fn is_steady(self) -> bool {
        self.answers >= KNOWN_AFTER && self.changes == 0 && self.unsettled == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(changes: &[Succeeding]) -> History {
        changes.iter().fold(History::FIRST, |history, data| history.next(*data))
    }

    #[test]
    fn a_question_is_steady_after_six_answers_with_the_same_data() {
        assert!(!after(&[Succeeding::Same; 4]).is_steady());
        assert!(after(&[Succeeding::Same; 5]).is_steady());
        assert!(after(&[Succeeding::Same; 100_000]).is_steady());
    }

    #[test]
    fn data_that_take_turns_are_not_steady_however_seldom_they_do() {
        for every in 1..=16 {
            let turns: Vec<_> =
                (0..200).map(|nth| if nth % every == 0 { Succeeding::Other } else { Succeeding::Same }).collect();
            for length in 1..200 {
                assert!(!after(&turns[..length]).is_steady(), "each {every} answers, after {length}");
            }
        }
    }

    #[test]
    fn after_a_change_that_stays_the_data_are_steady_again() {
        let mut history = after(&[Succeeding::Same; 20]).next(Succeeding::Other);
        for _ in 0..15 {
            assert!(!history.is_steady());
            history = history.next(Succeeding::Same);
        }
        assert!(history.next(Succeeding::Same).is_steady());
    }

    #[test]
    fn data_that_came_back_are_not_steady_for_long() {
        use Succeeding::{Other, Same};
        let mut history = after(&[&[Same; 20][..], &[Other, Same, Other]].concat());
        for _ in 0..u8::MAX {
            assert!(!history.is_steady());
            history = history.next(Same);
        }
        assert!(history.is_steady());
    }

    #[test]
    fn a_history_is_the_same_after_it_was_bytes() {
        use Succeeding::{Other, Same};
        for changes in [&[][..], &[Same; 7], &[Same, Other, Same, Other, Same], &[Other; 700]] {
            let history = after(changes);
            assert_eq!(History::from_bytes(history.to_bytes()), Some(history));
        }
        assert_eq!(History::from_bytes([0; 5]), None, "there was one answer at least");
    }
}
