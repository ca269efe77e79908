//! Waits for something that happens by itself, with a bound.

use std::time::{Duration, Instant};

/// How long anything that should be quick may take on a busy host.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until the condition is true; fails the test after `within`.
#[track_caller]
pub fn eventually(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    until(what, within, || condition().then_some(()));
}

/// Calls `look` until it finds something, and gives that; fails the test after `within`.
#[track_caller]
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
