//! Walks over the whole memory, in slices: other tasks of the runtime run between them, so that no
//! query waits for a walk.
//!
//! A walk takes each answer as it finds it. What is learned or evicted meanwhile may be met or not.

use super::context::Context;
use crate::core::upstream::GroupId;
use crate::memory::hottest::{HottestFirst, HottestStale};

/// Answers in a slice; after each of them other tasks have their turn.
const SLICE: usize = 1_000;

/// Does something with each item; other tasks run after every [`SLICE`] of them.
pub(super) async fn in_slices<T>(items: impl Iterator<Item = T>, mut each: impl FnMut(T)) {
    let mut left = SLICE;
    for item in items {
        each(item);
        left -= 1;
        if left == 0 {
            left = SLICE;
            tokio::task::yield_now().await;
        }
    }
}

/// The stale answers of a group that can still be served, hottest first, at most `limit`.
pub(super) async fn hottest_stale(context: &Context, group: GroupId, limit: usize) -> HottestFirst {
    let (mut search, now) = (HottestStale::new(Some(group), limit), context.now());
    in_slices(context.memory.store().answers(), |cached| search.offer(cached, now)).await;
    search.hottest_first()
}

/// Reports to the caches of the memory which answers were hit since the last time, so that they
/// keep the hottest.
pub(super) async fn report_hits(context: &Context) {
    in_slices(context.memory.store().report_hits(), |()| {}).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::entry::Entry;
    use crate::core::key::{Dnssec, Key};
    use crate::core::policy::{CachePolicy, Policy};
    use crate::core::routes::Routes;
    use crate::core::testing::{Response, name, policy};
    use crate::core::time::{Clock, Timestamp};
    use crate::memory::Memory;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn others_run_after_each_slice() {
        let (turns, own) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let other = Arc::clone(&turns);
        let beside = tokio::spawn(async move {
            loop {
                other.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        in_slices(0..SLICE * 10 + 1, |_| {
            own.fetch_add(1, Ordering::Relaxed);
        })
        .await;
        beside.abort();
        assert_eq!((own.load(Ordering::Relaxed), turns.load(Ordering::Relaxed)), (SLICE * 10 + 1, 10));
    }

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            NOW
        }
    }

    /// A memory of so many stale answers, of which each has been hit a few times; a quarter are
    /// denials.
    fn crowded(answers: u64) -> Memory {
        let bounds = CachePolicy { entries: answers, bytes: 1 << 30, negative_percent: 50 };
        let memory = Memory::new(&Policy { cache: bounds, ..policy() }, Routes::new(&[]), Arc::new(Stopped));
        for index in 0..answers {
            let text = format!("n{index}.example.com");
            let key = Key::new(&name(&text), 1, 1, Dnssec::default());
            let response = Response::new(&text, 1);
            let bytes = match index % 4 {
                0 => response.rcode(3).soa("example.com", 30, 30).bytes(),
                _ => response.a(&text, 60).bytes(),
            };
            let entry = Entry::remember(&key, &bytes, classify(1, &bytes), &policy(), NOW).unwrap().entry;
            let cached = memory.insert(&key, entry, Timestamp::EPOCH);
            for _ in 0..=index % 3 {
                cached.hit();
            }
        }
        memory.store().settle();
        memory
    }

    /// The longest time for which a walk kept others from running, and how long it took.
    #[expect(clippy::disallowed_methods, reason = "measures real time")]
    async fn longest_stall(walk: impl Future<Output = ()>) -> (Duration, Duration) {
        let (began, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        let mut walk = std::pin::pin!(walk);
        std::future::poll_fn(|context| {
            last = Instant::now();
            let polled = walk.as_mut().poll(context);
            longest = longest.max(last.elapsed());
            polled
        })
        .await;
        (longest, began.elapsed())
    }

    #[tokio::test]
    #[ignore = "measures the walks over 200 000 answers"]
    async fn no_walk_keeps_others_waiting() {
        let memory = crowded(200_000);
        let store = memory.store();
        let stale = NOW.plus(Duration::from_secs(100));
        let found = AtomicUsize::new(0);
        let whole = async {
            let mut search = HottestStale::new(Some(GroupId::new(0)), 10_000);
            store.answers().for_each(|cached| search.offer(cached, stale));
            found.store(search.hottest_first().count(), Ordering::Relaxed);
        };
        println!("hottest stale at once: {:?}", longest_stall(whole).await);
        let slices = async {
            let mut search = HottestStale::new(Some(GroupId::new(0)), 10_000);
            in_slices(store.answers(), |cached| search.offer(cached, stale)).await;
            let mut hottest = search.hottest_first();
            assert!(hottest.next().is_some());
        };
        println!("hottest stale in slices: {:?}", longest_stall(slices).await);
        println!("hits at once: {:?}", longest_stall(async { store.report_hits().for_each(|()| {}) }).await);
        for cached in store.answers() {
            cached.hit();
        }
        println!("hits in slices: {:?}", longest_stall(in_slices(store.report_hits(), |()| {})).await);
        assert_eq!(found.into_inner(), 10_000);
    }
}
