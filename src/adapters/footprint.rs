//! Keeps the memory of the process small: how the allocator takes memory from the system, and which
//! pages are given back.
//!
//! **Allocator.** The process allocates with mimalloc. glibc's allocator keeps the holes that
//! answers and pages of the state file leave between each other: with 7 MB in use it came to hold
//! 17 MB, and 29 MB when the disk was slow, where mimalloc holds 9 MB in both cases (20 000 new
//! names in 25 s, 2026-11-30).
//!
//! **Huge pages.** Where the kernel gives huge pages to every process that touches some of their
//! 2 MiB, an idle sidecar takes 14 MiB instead of 1.3 MiB beside the program itself. So it asks for
//! small ones (`PR_SET_THP_DISABLE` in prctl(2)). Children inherit that, so only the process that
//! answers queries asks for it, which starts none.
//!
//! **Pages of the program.** When the process touches a page of a file that is in the page cache,
//! the kernel maps up to 64 KiB around it (`do_fault_around` in Linux' `mm/memory.c`). So after
//! reading command line, configuration and state file and opening sockets, most of the executable
//! counts as memory of the process, although answering needs little of it. These pages are given
//! back; those that are needed come back from the page cache with the next touch: some 40 faults of
//! 2 µs.
#![expect(unsafe_code, reason = "prctl(2) and madvise(2) exist only in C; see the calls")]

use std::fs;
use std::ops::Range;
use std::time::Duration;

/// How long after the start everything that happens once has happened, such as the first write of
/// the state file and the first resolutions of critical names.
const SETTLED: Duration = Duration::from_secs(10);
/// How often pages are given back again that were needed for something rare, such as walking over a
/// state file, a status for the operator, or another version of TLS.
const EVERY: Duration = Duration::from_secs(60);

/// Has the kernel use small pages for this process, and for all processes that it starts.
pub fn use_small_pages() {
    // SAFETY: the call only sets a flag of the process, and takes no pointer. Where the kernel does
    // not know it, it returns an error, and nothing is lost but memory.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}

/// Gives back the pages of the program that only the start needed, 10 s after it, and from then on
/// every minute those that were needed for something rare. Never ends.
pub async fn settle() {
    tokio::time::sleep(SETTLED).await;
    loop {
        if let Ok(maps) = fs::read_to_string("/proc/self/maps") {
            program(&maps, give_back as fn(_) as usize).for_each(give_back);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Finds the parts of the address space that show the program exactly as it lies on the disk, so
/// that giving them back loses nothing.
///
/// `maps` is the content of `/proc/PID/maps` (proc_pid_maps(5)), and `code` any address in the code
/// of the program. The parts are the code itself, and the first segment of the file, which holds
/// constants. The loader has written to neither: what it relocates lies behind the code, and must
/// not be given back even where it is read-only by now.
fn program(maps: &str, code: usize) -> impl Iterator<Item = Range<usize>> {
    let mappings = || maps.lines().filter_map(Mapping::read);
    let file = mappings().find(|mapping| mapping.pages.contains(&code)).map(|mapping| mapping.file);
    let untouched =
        |mapping: &Mapping<'_>| mapping.permissions == "r-xp" || (mapping.permissions == "r--p" && mapping.offset == 0);
    mappings().filter(move |mapping| Some(mapping.file) == file && untouched(mapping)).map(|mapping| mapping.pages)
}

/// A line of `/proc/PID/maps` that shows a part of a file.
struct Mapping<'a> {
    /// The addresses at which the part is mapped.
    pages: Range<usize>,
    /// Read, write, execute, and private or shared, as in `r-xp`.
    permissions: &'a str,
    /// The place of the part in the file, in bytes.
    offset: u64,
    /// Device and inode of the file.
    file: (&'a str, &'a str),
}

impl<'a> Mapping<'a> {
    /// Reads a line; `None` for one that shows no file.
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let (permissions, offset) = (words.next()?, u64::from_str_radix(words.next()?, 16).ok()?);
        let file = (words.next()?, words.next()?);
        (file.1 != "0").then_some(Self { pages: address(start)?..address(end)?, permissions, offset, file })
    }
}

/// Takes pages out of the memory of this process.
fn give_back(pages: Range<usize>) {
    // SAFETY: the range is a whole private mapping of a file, to which nothing was or can be
    // written. MADV_DONTNEED takes its pages out of the page tables; the next touch, in any thread,
    // finds the same bytes of the same file there.
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
