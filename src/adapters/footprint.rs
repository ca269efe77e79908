//! Memory in the large: how the allocator takes it from the system, and pages that are given back.
//!
//! A state file that is read at the start becomes 1 300 new pages. glibc lets the thread that reads
//! it have an arena of its own, and such an arena grows page by page, with a system call for each.
//! One arena for all grows by [`TOP_PAD`]; that saves a tenth of the start.
//!
//! Where a page of a file is touched that is in the page cache, the kernel maps up to 64 KiB around
//! it (`do_fault_around` in Linux' `mm/memory.c`). So after command line, configuration, state file
//! and sockets most of the executable counts as ours, although answering needs little of it. What
//! is needed comes back with the next touch, from the page cache: some 40 faults of 2 µs.
//!
//! Not done, for want of a difference beyond the noise (2026-11-26): `malloc_trim`.
#![expect(unsafe_code, reason = "mallopt(3) and madvise(2) exist only in C; see the calls")]

use std::fs;
use std::ops::Range;
use std::time::Duration;

/// How long after the start everything has been done that is done once: the first write of the
/// state file and what critical names need.
const SETTLED: Duration = Duration::from_secs(10);
/// How often what is needed seldom is given back again: the walk over a state file, an operator's
/// look, another version of TLS.
const EVERY: Duration = Duration::from_secs(60);

/// By how much the heap grows at least, in bytes. What of it nobody has used yet takes no memory.
#[cfg(target_env = "gnu")]
const TOP_PAD: libc::c_int = 4 << 20;

/// Lets all threads allocate from one arena, which grows in large steps. What answers queries does
/// not allocate, and what learns is one thread, so that nobody waits for the one lock. To be called
/// before there are other threads.
pub fn share_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt changes numbers of the allocator's, under its lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, TOP_PAD);
    }
}

/// Gives back what the start needed when it is over, and what was needed seldom from then on. Never
/// ends.
pub async fn settle() {
    tokio::time::sleep(SETTLED).await;
    loop {
        if let Ok(maps) = fs::read_to_string("/proc/self/maps") {
            program(&maps, give_back as fn(_) as usize).for_each(give_back);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The parts of a process' address space (`/proc/PID/maps`, proc_pid_maps(5)) that show the file
/// with the code at an address as it lies on the disk: its code, and its first segment, which holds
/// constants. The loader has written neither: what it relocates lies behind the code, though it may
/// be read-only by now.
fn program(maps: &str, code: usize) -> impl Iterator<Item = Range<usize>> {
    let mappings = || maps.lines().filter_map(Mapping::read);
    let file = mappings().find(|mapping| mapping.pages.contains(&code)).map(|mapping| mapping.file);
    let untouched =
        |mapping: &Mapping<'_>| mapping.permissions == "r-xp" || (mapping.permissions == "r--p" && mapping.offset == 0);
    mappings().filter(move |mapping| Some(mapping.file) == file && untouched(mapping)).map(|mapping| mapping.pages)
}

/// A line of it.
struct Mapping<'a> {
    /// Addresses.
    pages: Range<usize>,
    /// What may be done there, and whether that is seen by others.
    permissions: &'a str,
    /// Where in the file.
    offset: u64,
    /// Device and inode of the file.
    file: (&'a str, &'a str),
}

impl<'a> Mapping<'a> {
    /// Reads a line; `None` of what shows no file.
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let (permissions, offset) = (words.next()?, u64::from_str_radix(words.next()?, 16).ok()?);
        let file = (words.next()?, words.next()?);
        (file.1 != "0").then_some(Self { pages: address(start)?..address(end)?, permissions, offset, file })
    }
}

/// Takes pages out of this process' memory.
fn give_back(pages: Range<usize>) {
    // SAFETY: the range is a whole private mapping of a file that nobody has written to or can
    // write to. MADV_DONTNEED takes its pages out of the page tables; whoever touches one next, in
    // any thread, finds the same bytes of the same file there.
    unsafe {
        libc::madvise(std::ptr::without_provenance_mut(pages.start), pages.len(), libc::MADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
7f0000000000-7f0000180000 r--p 00000000 fe:00 42                         /holdover
7f0000180000-7f000068e000 r-xp 0017f000 fe:00 42                         /holdover
7f000068e000-7f00006b2000 r--p 0068c000 fe:00 42                         /holdover
7f00006b2000-7f00006b4000 rw-p 006af000 fe:00 42                         /holdover
7f00006b4000-7f00006b7000 rw-p 00000000 00:00 0                          [heap]
7f1000000000-7f1000100000 r-xp 00001000 fe:00 43                         /lib/libc.so.6
7fff00000000-7fff00001000 r-xp 00000000 00:00 0                          [vdso]
";

    #[test]
    fn of_the_program_what_nobody_wrote_to_and_of_nothing_else() {
        let found: Vec<_> = program(MAPS, 0x7f00_0020_0000).collect();
        assert_eq!(found, [0x7f00_0000_0000..0x7f00_0018_0000, 0x7f00_0018_0000..0x7f00_0068_e000]);
        assert_eq!(program(MAPS, 0x7fff_0000_0010).count(), 0);
        assert_eq!(program("", 1).count() + program("what is this\n1-2 r", 1).count(), 0);
    }

    #[test]
    fn the_program_goes_on_with_the_same_bytes() {
        let resident = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let parts: Vec<_> = program(&maps, give_back as fn(_) as usize).collect();
        assert!(!parts.is_empty());
        let before = resident();
        parts.into_iter().for_each(give_back);
        assert!(resident() < before, "{} after {before} kB", resident());
    }
}
