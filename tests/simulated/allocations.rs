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
    /// Bytes that this thread has allocated and not freed, and the most of them so far.
    static BYTES: Cell<(i64, i64)> = const { Cell::new((0, 0)) };
}

/// Counts one allocation. Those of a thread that is ending are not counted.
fn count() {
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

/// Counts bytes that were allocated, or freed when their number is negative.
fn count_bytes(bytes: i64) {
    let _ = BYTES.try_with(|counted| {
        let (held, most) = counted.get();
        counted.set((held + bytes, most.max(held + bytes)));
    });
}

// SAFETY: every call goes unchanged to the system's allocator; the counter is a
// constant-initialised thread local without destructor, so that counting neither allocates nor
// unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        count_bytes(layout.size() as i64);
        // SAFETY: the caller keeps the contract of this function, which is that of the system's
        // allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        count_bytes(layout.size() as i64);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        count_bytes(size as i64);
        count_bytes(-(layout.size() as i64));
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count_bytes(-(layout.size() as i64));
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
fn a_fresh_denial_of_another_type_allocates_nothing() {
    let world = world();
    let mut packet = query("denied.example.test");
    world.resolve(&packet);
    // AAAA; the type stands before the class and the OPT.
    let at = packet.len() - 14;
    packet[at] = 28;
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

/// The header and question of a response for the addresses of `www.example.test`, with these counts
/// of records.
fn head(counts: [u16; 3]) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 0x81, 0x80, 0, 1];
    bytes.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    bytes.extend(b"\x03www\x07example\x04test\x00\x00\x01\x00\x01");
    bytes
}

/// Responses that make as much work as 64 KiB can.
fn costly_responses() -> Vec<(&'static str, Vec<u8>)> {
    let counts = vec![0x12, 0x34, 0x81, 0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let address = |owner: [u8; 2], ttl: u8| [&owner[..], &[0, 1, 0, 1, 0, 0, 0, ttl, 0, 4, 192, 0, 2, 1]].concat();
    // One name of 255 bytes in one-byte labels, and records that each point to another place in it.
    let mut pointers = head([0, 0, 4_000]);
    pointers[6..8].copy_from_slice(&4_000_u16.to_be_bytes());
    pointers[10..12].copy_from_slice(&0_u16.to_be_bytes());
    let begin = 12 + 18 + 4;
    pointers.extend(b"\x01a".repeat(100));
    pointers.extend(b"\x00\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x00");
    for index in 1..4_000_u16 {
        let [high, low] = (begin as u16 + 2 * (index % 100)).to_be_bytes();
        pointers.extend(address([0xc0 | high, low], (index % 7) as u8));
    }
    // Aliases in the wrong order, as many as are followed, and thousands of addresses before them.
    let mut aliases = head([4_000, 0, 0]);
    for index in 0..3_968_u16 {
        aliases.extend(address([0xc0, 12], (index % 7) as u8));
    }
    for _ in 0..32 {
        aliases.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'a', 0xc0, 12]);
    }
    let same = |owner: [u8; 2]| [head([4_090, 0, 0]), address(owner, 60).repeat(4_090)].concat();
    vec![
        ("65535 records in 12 bytes", counts),
        ("65535 questions", [&[0x12, 0x34, 0x81, 0x80, 0xff, 0xff, 0, 1, 0, 0, 0, 0], &vec![0; 65_000][..]].concat()),
        ("pointers into one long name", pointers),
        ("many aliases behind many addresses", aliases),
        ("one large RRset", same([0xc0, 12])),
        ("as many addresses of another name", same([0xc0, 16])),
    ]
}

#[test]
fn no_response_takes_much_memory_to_learn() {
    let policy = holdover::config::settings::Settings::standard().policy;
    let now = holdover::core::time::Timestamp::from_secs(1_700_000_000);
    let key = holdover::core::key::Key::new(b"\x03www\x07example\x04test\x00", 1, 1, Default::default());
    for (what, response) in costly_responses() {
        assert!(response.len() <= 65_535 + 12, "{what}: {} bytes", response.len());
        let (held, _) = BYTES.get();
        BYTES.set((held, held));
        let verdict = holdover::core::classify::classify(1, &response);
        let of_verdict = BYTES.get().1 - held;
        let entry = holdover::core::entry::Entry::remember(&key, &response, verdict, &policy, now);
        let in_all = BYTES.get().1 - held;
        // The kept answer itself is as long as the response and its TTLs.
        assert!(of_verdict < 100_000 && in_all < 300_000, "{what}: {of_verdict} bytes, {in_all} in all");
        drop(entry);
    }
}
