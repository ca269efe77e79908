//! Tells what changes in the memory to whoever keeps it elsewhere as well: the state file, the
//! fleet's memory.
//!
//! Writing to it never waits: each reader has a page of its own, bounded. A reader that does not
//! come for too long finds its page empty and [`Taken::missed`] set: it has to look at the whole
//! store instead. What the store evicts is no change: that is forgotten for want of room, and who
//! keeps it elsewhere has a bound of their own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::cached::CachedAnswer;
use crate::core::key::Key;
use crate::core::labelled::labelled;

/// Changes that one reader may be behind: as many as names in a default cache. Each is a pointer,
/// or a key when it was forgotten by hand.
const CHANGES_MAX: usize = 10_000;

labelled! {
    /// Where a remembered answer came from.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Origin {
        /// An upstream has just answered with it.
        Upstream = "upstream",
        /// An earlier run wrote it to the state file.
        StateFile = "state_file",
        /// A seed contained it at the start.
        Seed = "seed",
        /// It was imported over the admin interface.
        Import = "import",
        /// The shared cache had it.
        SharedCache = "shared_cache",
    }
}

/// Something that changed.
#[derive(Clone, Debug)]
pub enum Change {
    /// An answer was remembered.
    Learned(Arc<CachedAnswer>, Origin),
    /// A name and type was forgotten by hand.
    Flushed(Box<Key>),
}

/// What a reader takes.
#[derive(Debug, Default)]
pub struct Taken {
    /// The changes since the last time, oldest first.
    pub changes: Vec<Change>,
    /// Whether there were more than the page holds, of which nothing is told.
    pub missed: bool,
}

/// What one reader has not taken yet.
#[derive(Default)]
struct Page {
    /// The changes.
    taken: Mutex<Taken>,
    /// Wakes the reader.
    changed: Notify,
}

/// The journal.
#[derive(Default)]
pub struct Journal {
    /// The pages of all readers that still live.
    pages: Mutex<Vec<Weak<Page>>>,
    /// Answers that were remembered, in the order of [`Origin::ALL`].
    learned: [AtomicU64; Origin::ALL.len()],
}

/// One reader of the journal; it hears of what comes after it was made.
pub struct Reader(Arc<Page>);

impl Journal {
    /// A new reader.
    #[must_use]
    pub fn read(&self) -> Reader {
        let page = Arc::new(Page::default());
        self.pages.lock().push(Arc::downgrade(&page));
        Reader(page)
    }

    /// Answers of this origin that were remembered so far.
    #[must_use]
    pub fn learned(&self, origin: Origin) -> u64 {
        self.learned.get(origin.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Tells all readers of a change.
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
    /// Takes what has changed since the last time; never waits.
    #[must_use]
    pub fn take(&self) -> Taken {
        std::mem::take(&mut *self.0.taken.lock())
    }

    /// Waits until there is something to take. Cancel safe.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::name;

    fn forgotten(index: usize) -> Change {
        Change::Flushed(Box::new(Key::new(&name(&format!("n{index}.example.com")), 1, 1, Dnssec::default())))
    }

    #[test]
    fn each_reader_hears_of_every_change_after_its_beginning_once() {
        let journal = Journal::default();
        let first = journal.read();
        journal.note(&forgotten(1));
        let second = journal.read();
        journal.note(&forgotten(2));
        assert_eq!((first.take().changes.len(), second.take().changes.len()), (2, 1));
        assert!(first.take().changes.is_empty());
    }

    #[test]
    fn a_reader_that_never_comes_costs_a_bounded_page_and_learns_that_it_missed_something() {
        let journal = Journal::default();
        let reader = journal.read();
        for index in 0..=CHANGES_MAX + 5 {
            journal.note(&forgotten(index));
        }
        let taken = reader.take();
        assert!(taken.missed && taken.changes.is_empty());
        journal.note(&forgotten(0));
        let taken = reader.take();
        assert!(!taken.missed && taken.changes.len() == 1);
    }

    #[test]
    fn a_reader_that_is_gone_costs_nothing() {
        let journal = Journal::default();
        drop(journal.read());
        journal.note(&forgotten(1));
        assert!(journal.pages.lock().is_empty());
    }
}
