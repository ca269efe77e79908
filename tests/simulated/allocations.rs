//! A hit allocates nothing: fresh answers, stale answers in an outage and cached failures through
//! [`Resolver::receive`], counted by the allocator itself.
//!
//! Without the thread cache (`memory::thread_cache`) that would not hold: moka does its bookkeeping
//! on the thread of every 64th hit, and what crossbeam-epoch retires there is pushed in a node from
//! the heap. Once an entry was ever replaced, 8 to 30 of 1 000 hits allocate. The allocator counts
//! for each thread by itself, so that tests on other threads of this binary do not disturb the
//! counts.

#![allow(
    unsafe_code,
    reason = "an allocator that counts can only be written with it; it hands everything on to the system's"
)]

#[path = "../bench/world.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use holdover::core::answer::UDP_MAX;
use holdover::telemetry::tally::Answered;
use world::{World, query};

/// Answers that are counted for each kind.
const CALLS: u64 = 1_000;

/// The system's allocator, which also counts the allocations of each thread.
struct Counting;

thread_local! {
    /// Allocations of this thread so far.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts one allocation. Those of a thread that is ending are not counted.
fn count() {
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes unchanged to the system's allocator; the counter is a
// constant-initialised thread local without destructor, so that counting neither allocates nor
// unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of this function, which is that of the system's
        // allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A world in which names have been refreshed already, as in a process that has run for a while.
fn world() -> World {
    let world = World::new();
    for _ in 0..3 {
        for index in 0..100 {
            world.resolve(&query(&format!("n{index}.example.test")));
        }
        world.expire();
    }
    world
}

/// The allocations of [`CALLS`] answers to one query, all of which must be of this kind.
fn allocations(world: &World, packet: &[u8], kind: Answered) -> u64 {
    let mut out = [0; UDP_MAX];
    // A thread's first answers set up its thread cache, which is not the cost of a hit.
    for _ in 0..3 {
        world.receive(packet, &mut out);
    }
    let (answered, before) = (world.answered(kind), ALLOCATIONS.get());
    for _ in 0..CALLS {
        world.receive(packet, &mut out);
    }
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!(world.answered(kind) - answered, CALLS, "{kind:?}");
    allocations
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn a_fresh_hit_allocates_nothing() {
    let world = world();
    let packet = query("www.example.test");
    world.resolve(&packet);
    assert_eq!(allocations(&world, &packet, Answered::Fresh), 0);
}

#[test]
fn a_stale_hit_in_an_outage_allocates_nothing() {
    let world = world();
    let packet = query("www.example.test");
    world.resolve(&packet);
    world.begin_outage();
    assert_eq!(allocations(&world, &packet, Answered::Stale), 0);
}

#[test]
fn a_cached_failure_allocates_nothing() {
    let world = world();
    let packet = query("fail.example.test");
    world.resolve(&packet);
    assert_eq!(allocations(&world, &packet, Answered::CachedFailure), 0);
}
