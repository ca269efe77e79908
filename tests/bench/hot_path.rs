//! The cost of an answer from the cache, step by step and as a whole: time and allocations. A line
//! of the output without allocation figures made no allocation. Run by `cargo bench`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

mod world;

use std::time::Duration;

use divan::{AllocProfiler, Bencher, black_box};
use holdover::core::answer::{self, Asked, ClientTransport, Shown, UDP_MAX};
use holdover::core::decision::{self, Availability, Freshness, Prefetch, Refresh};
use holdover::core::extended_error::ExtendedError;
use holdover::core::question::{self, ErrorRcode, Query, Received};
use holdover::memory::store::Found;
use holdover::telemetry::tally::Answered;
use world::{World, query};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Names in the cache of the benchmarks that look something up.
const NAMES: usize = 10_000;

fn main() {
    divan::main();
}

fn name(index: usize) -> String {
    format!("n{index}.example.test")
}

/// A world that has all names in its cache, refreshed once, and their queries.
fn warm() -> (World, Vec<Vec<u8>>) {
    let world = World::new();
    let queries: Vec<_> = (0..NAMES).map(|index| query(&name(index))).collect();
    for _ in 0..2 {
        world.expire();
        queries.iter().for_each(|packet| drop(world.resolve(packet)));
    }
    world.resolver.memory().store().settle();
    (world, queries)
}

/// Goes round a list in a stride that visits no neighbours one after the other.
struct Round<'a> {
    queries: &'a [Vec<u8>],
    /// Index of the query that was given last.
    next: usize,
}

impl Round<'_> {
    fn next(&mut self) -> &[u8] {
        self.next = (self.next + 7_919) % self.queries.len();
        &self.queries[self.next]
    }
}

/// The query that a packet holds.
fn parse(packet: &[u8]) -> Query {
    match question::read(packet) {
        Received::Query(query) => query,
        Received::Drop(_) | Received::Error(..) => panic!("not a query"),
    }
}

mod step {
    use super::*;

    #[divan::bench(sample_size = 1_000)]
    fn parse(bencher: Bencher<'_, '_>) {
        let packet = query(&name(1));
        bencher.bench_local(|| question::read(black_box(&packet)));
    }

    #[divan::bench(sample_size = 1_000)]
    fn look_up(bencher: Bencher<'_, '_>) {
        let (world, queries) = warm();
        let mut round = Round { queries: &queries, next: 0 };
        let keys: Vec<_> = (0..NAMES).map(|_| super::parse(round.next()).key).collect();
        let mut next = 0;
        bencher.bench_local(|| {
            next = (next + 1) % NAMES;
            world.resolver.memory().store().find(black_box(&keys[next]), world.now())
        });
    }

    #[divan::bench(sample_size = 1_000)]
    fn look_up_nothing(bencher: Bencher<'_, '_>) {
        let (world, _) = warm();
        let key = super::parse(&query("nothing.example.test")).key;
        bencher.bench_local(|| world.resolver.memory().store().find(black_box(&key), world.now()));
    }

    #[divan::bench(sample_size = 1_000)]
    fn decide(bencher: Bencher<'_, '_>) {
        bencher.bench_local(|| {
            decision::decide_known(
                black_box(Freshness::Fresh(Prefetch::NotDue)),
                black_box(Refresh::Idle),
                black_box(Availability::Healthy),
            )
        });
    }

    #[divan::bench(sample_size = 1_000, args = [false, true])]
    fn write(bencher: Bencher<'_, '_>, stale: bool) {
        let world = World::new();
        let packet = query(&name(1));
        world.resolve(&packet);
        let query = super::parse(&packet);
        let Found::Answer(cached) = world.resolver.memory().store().find(&query.key, world.now()) else {
            panic!("nothing is remembered")
        };
        let shown = if stale { Shown::Stale { ttl: Duration::from_secs(30) } } else { Shown::Fresh };
        let mut out = [0; UDP_MAX];
        bencher.bench_local(|| {
            let asked = Asked { packet: black_box(&packet), echo: query.echo, transport: ClientTransport::Udp };
            answer::write_entry(&asked, &cached.entry, shown, world.now(), &mut out)
        });
    }

    #[divan::bench(sample_size = 1_000)]
    fn write_error(bencher: Bencher<'_, '_>) {
        let packet = query(&name(1));
        let query = super::parse(&packet);
        let reasons = [Some(ExtendedError::CachedError), Some(ExtendedError::NetworkError)];
        let mut out = [0; UDP_MAX];
        bencher.bench_local(|| {
            let asked = Asked { packet: black_box(&packet), echo: query.echo, transport: ClientTransport::Udp };
            answer::write_error(&asked, ErrorRcode::ServFail, reasons, &[], &mut out)
        });
    }
}

mod receive {
    use super::*;

    /// Measures answers to these queries, all of which must be of this kind.
    fn measure(bencher: Bencher<'_, '_>, world: &World, queries: &[Vec<u8>], kind: Answered) {
        let mut out = [0; UDP_MAX];
        let mut round = Round { queries, next: 0 };
        let others =
            || Answered::ALL.into_iter().filter(|other| *other != kind).map(|other| world.answered(other)).sum::<u64>();
        let before = others();
        bencher.bench_local(|| world.receive(black_box(round.next()), &mut out));
        assert_eq!(others(), before, "only {kind:?}");
    }

    #[divan::bench(sample_size = 1_000)]
    fn fresh(bencher: Bencher<'_, '_>) {
        let (world, queries) = warm();
        measure(bencher, &world, &queries, Answered::Fresh);
    }

    #[divan::bench(sample_size = 1_000)]
    fn fresh_one_name(bencher: Bencher<'_, '_>) {
        let (world, queries) = warm();
        measure(bencher, &world, &queries[..1], Answered::Fresh);
    }

    #[divan::bench(sample_size = 1_000)]
    fn stale_in_outage(bencher: Bencher<'_, '_>) {
        let (world, queries) = warm();
        world.begin_outage();
        measure(bencher, &world, &queries, Answered::Stale);
    }

    #[divan::bench(sample_size = 1_000)]
    fn cached_failure(bencher: Bencher<'_, '_>) {
        let (world, _) = warm();
        let packet = query("fail.example.test");
        world.resolve(&packet);
        measure(bencher, &world, &[packet], Answered::CachedFailure);
    }
}
