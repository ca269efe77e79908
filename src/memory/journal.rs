//! The journal reports the changes of the memory to those parts that keep answers elsewhere as
//! well: the state file and the shared cache.
//!
//! Writing to the journal never waits: each reader has a bounded page of its own. A reader that
//! does not take its page for too long finds it empty and [`Taken::missed`] set; it has to compare
//! with the whole store instead. An eviction is no change: the answer is dropped because the cache
//! is full, and a reader that keeps answers elsewhere has a bound of its own.
//!
//! A page refers to answers without keeping them in memory. An answer that is replaced or evicted
//! before the reader comes is gone for the reader as well, so a reader that hangs with its disk
//! takes no memory for what the cache has no room for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::cached::CachedAnswer;
pub use super::origin::Origin;
use crate::core::key::Key;

/// Changes that one reader may be behind. Each is a reference, and up to 250 bytes that an answer
/// leaves behind as long as somebody refers to it, or it is a key when it is a flush: 1 MiB. When
/// more is learned than that in the two seconds between two writes of the state file, comparing it
/// with the whole memory costs no more than the changes would.
const CHANGES_MAX: usize = 4_096;

/// A change in the memory: something was learned, or flushed.
#[derive(Clone, Debug)]
pub enum Change {
    /// An answer of this origin was remembered. The reference is dangling once the answer has been
    /// replaced, which is a change of its own, or evicted.
    Learned(Weak<CachedAnswer>, Origin),
    /// A name and type was flushed by an operator.
    Flushed(Box<Key>),
}

/// The changes that a reader takes from its page.
#[derive(Debug, Default)]
pub struct Taken {
    /// The changes since the last time, oldest first.
    pub changes: Vec<Change>,
    /// Whether there were more changes than the page holds; `changes` is empty then.
    pub missed: bool,
}

/// The changes that one reader has not taken yet.
#[derive(Default)]
struct Page {
    taken: Mutex<Taken>,
    changed: Notify,
}

/// Reports to every reader what is learned and flushed.
#[derive(Default)]
pub struct Journal {
    /// The pages of all readers that still live.
    pages: Mutex<Vec<Weak<Page>>>,
    /// Numbers of answers that were remembered, in the order of [`Origin::ALL`].
    learned: [AtomicU64; Origin::ALL.len()],
}

/// One reader of the journal, which gets every change from when it was made until it is dropped.
pub struct Reader(Arc<Page>);

impl Journal {
    /// Makes a reader, which gets every change from now on.
    #[must_use]
    pub fn read(&self) -> Reader {
        let page = Arc::new(Page::default());
        self.pages.lock().push(Arc::downgrade(&page));
        Reader(page)
    }

    /// The number of answers of this origin that were remembered so far.
    #[must_use]
    pub fn learned(&self, origin: Origin) -> u64 {
        self.learned.get(origin.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Adds a change to the page of every reader; never waits for them.
    pub fn note(&self, change: &Change) {
        match change {
            Change::Learned(_, origin) => {
                self.learned.get(origin.index()).map(|counter| counter.fetch_add(1, Ordering::Relaxed));
            }
            Change::Flushed(_) => {}
        }
        self.pages.lock().retain(|page| {
            let Some(page) = page.upgrade() else { return false };
            let mut taken = page.taken.lock();
            if taken.changes.len() >= CHANGES_MAX {
                taken.changes = Vec::new();
                taken.missed = true;
            } else if !taken.missed {
                taken.changes.push(change.clone());
            }
            drop(taken);
            page.changed.notify_one();
            true
        });
    }
}

impl Reader {
    /// Takes the changes since the last call; never waits.
    #[must_use]
    pub fn take(&self) -> Taken {
        std::mem::take(&mut *self.0.taken.lock())
    }

    /// Waits until there are changes to take. Cancel safe.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::entry::Entry;
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name, policy};
    use crate::core::time::Timestamp;
    use crate::core::upstream::GroupId;

    fn flushed(index: usize) -> Change {
        Change::Flushed(Box::new(Key::new(&name(&format!("n{index}.example.com")), 1, 1, Dnssec::default())))
    }

    #[test]
    fn each_reader_gets_every_change_after_its_beginning_once() {
        let journal = Journal::default();
        let first = journal.read();
        journal.note(&flushed(1));
        let second = journal.read();
        journal.note(&flushed(2));
        assert_eq!((first.take().changes.len(), second.take().changes.len()), (2, 1));
        assert!(first.take().changes.is_empty());
    }

    #[test]
    fn a_reader_that_never_comes_costs_a_bounded_page_and_learns_that_it_missed_something() {
        let journal = Journal::default();
        let reader = journal.read();
        for index in 0..=CHANGES_MAX + 5 {
            journal.note(&flushed(index));
        }
        let taken = reader.take();
        assert!(taken.missed && taken.changes.is_empty());
        journal.note(&flushed(0));
        let taken = reader.take();
        assert!(!taken.missed && taken.changes.len() == 1);
    }

    #[test]
    fn an_answer_that_is_gone_is_not_kept_for_a_reader() {
        let journal = Journal::default();
        let reader = journal.read();
        let key = Key::new(&name("www.example.com"), 1, 1, Dnssec::default());
        let bytes = Response::new("www.example.com", 1).a("www.example.com", 60).bytes();
        let remembered = || {
            let entry = Entry::remember(&key, &bytes, classify(1, &bytes), &policy(), Timestamp::EPOCH).unwrap().entry;
            Arc::new(CachedAnswer::new(&key, entry, GroupId::new(0)))
        };
        let (kept, evicted) = (remembered(), remembered());
        for cached in [&kept, &evicted] {
            journal.note(&Change::Learned(Arc::downgrade(cached), Origin::Upstream));
        }
        drop(evicted);
        let there = reader.take().changes.into_iter().map(|change| match change {
            Change::Learned(cached, _) => cached.upgrade().is_some(),
            Change::Flushed(_) => false,
        });
        assert_eq!(there.collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_reader_that_is_gone_costs_nothing() {
        let journal = Journal::default();
        drop(journal.read());
        journal.note(&flushed(1));
        assert!(journal.pages.lock().is_empty());
    }
}
