//! The limit on open files of the process, which bounds how many attempts to get a response from an
//! upstream can run at the same time: each attempt has a socket of its own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to `wanted` descriptors, as far as the hard limit allows, and returns the
/// number of descriptors that the process may then have. The limit is never lowered.
#[must_use]
pub(super) fn raise(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    // `None` stands for no limit.
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let soft = limit.current.unwrap_or(u64::MAX);
    let target = wanted.min(hard).max(soft);
    let granted = if target > soft
        && setrlimit(Resource::Nofile, Rlimit { current: Some(target), maximum: limit.maximum }).is_ok()
    {
        target
    } else {
        soft
    };
    usize::try_from(granted).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_promised_than_the_hard_limit_allows() {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let granted = raise(usize::MAX);
        assert!(u64::try_from(granted).expect("a number") <= hard);
        assert!(raise(16) >= 16);
    }
}
