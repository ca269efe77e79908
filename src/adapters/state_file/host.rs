//! The host as one run sees it: which boot this is, and when it began. From that, two runs of one
//! boot know by how much the wall clock was set between them.
//!
//! Linux identifies the boot in `/proc/sys`. A service that systemd starts with `ProcSubset=pid`
//! does not see that file, and gets the identity from a variable of its unit instead (`%b`). Where
//! neither exists the boot is unknown, which is safe: answers from the future are then stale at
//! once, and answers past their maximum stale are dropped (see [`crate::core::restore`]). A clock
//! that counts from the boot is no identity, since another boot may have lasted as long.

use std::time::Duration;

use crate::core::restore::{BootTimes, Shift};
use crate::core::time::Timestamp;

/// Smallest difference that counts as a clock that was set, since two clocks never agree exactly.
const SET_MIN: Duration = Duration::from_secs(1);
/// The file in which Linux identifies the boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The environment variable in which systemd identifies the boot, set in our unit.
const VARIABLE: &str = "BOOT_ID";

/// The present boot of a host, as one run sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Identity of the boot; `None` where it is not known.
    pub boot: Option<u128>,
    /// When the boot began, on the timeline of the run.
    pub booted_at: Timestamp,
}

impl Host {
    /// The present boot, given when it began on the timeline of this run.
    #[must_use]
    pub fn present(booted_at: Timestamp) -> Self {
        let (kernel, unit) = (std::fs::read_to_string(BOOT_ID).ok(), std::env::var(VARIABLE).ok());
        Self { boot: identity(kernel.as_deref()).or_else(|| identity(unit.as_deref())), booted_at }
    }

    /// By how much the wall clock was set between another run and this one; [`Shift::NONE`] unless
    /// both were in the same boot.
    #[must_use]
    pub fn shift_from(&self, theirs: &Self) -> Shift {
        if self.boot.is_none() || self.boot != theirs.boot {
            return Shift::NONE;
        }
        match Shift::between(BootTimes { theirs: theirs.booted_at, ours: self.booted_at }) {
            Shift::Ahead(by) | Shift::Back(by) if by < SET_MIN => Shift::NONE,
            shift @ (Shift::Ahead(_) | Shift::Back(_)) => shift,
        }
    }
}

/// Reads the identity of a boot: 32 hexadecimal digits, with or without hyphens, not all 0.
fn identity(text: Option<&str>) -> Option<u128> {
    let digits = text?.trim().replace('-', "");
    let all = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all.then(|| u128::from_str_radix(&digits, 16).ok()).flatten().filter(|boot| *boot != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_known_by_what_the_kernel_or_the_unit_says_and_by_nothing_else() {
        let boot = Some(0x3efa_d2a0_83c4_4f8b_9d4e_1d9a_6f0c_5b7e);
        assert_eq!(identity(Some("3efad2a0-83c4-4f8b-9d4e-1d9a6f0c5b7e\n")), boot, "the kernel's");
        assert_eq!(identity(Some("3efad2a083c44f8b9d4e1d9a6f0c5b7e")), boot, "systemd's %b");
        for nothing in [
            None,
            Some(""),
            Some("%b"),
            Some("3efad2a0"),
            Some("+efad2a083c44f8b9d4e1d9a6f0c5b7e"),
            Some("00000000000000000000000000000000"),
        ] {
            assert_eq!(identity(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn the_unit_of_systemd_tells_what_it_hides() {
        let unit = include_str!("../../../config/systemd/holdover.service");
        let told = format!("Environment={VARIABLE}=%b");
        assert!(!unit.contains("ProcSubset=pid") || unit.lines().any(|line| line == told));
    }

    #[test]
    fn within_one_boot_it_is_known_by_how_much_the_clock_was_moved() {
        let host = |boot, booted_at| Host { boot, booted_at: Timestamp::from_secs(booted_at) };
        let day = Duration::from_secs(86_400);
        assert_eq!(host(Some(1), 100_000).shift_from(&host(Some(1), 13_600)), Shift::Ahead(day));
        assert_eq!(host(Some(1), 13_600).shift_from(&host(Some(1), 100_000)), Shift::Back(day));
        assert_eq!(host(Some(1), 13_600).shift_from(&host(Some(1), 13_600)), Shift::NONE);
        assert_eq!(host(Some(2), 100_000).shift_from(&host(Some(1), 13_600)), Shift::NONE, "another boot");
        assert_eq!(host(None, 100_000).shift_from(&host(None, 13_600)), Shift::NONE, "no boot is known");
    }
}
