//! The extended DNS errors that holdover sets itself (RFC 8914).
//!
//! An extended error says to a client why an answer is stale, or why there is none. Extended errors
//! that an upstream sent are not read here; they are kept as raw options (see
//! [`super::classify::extended_errors`]) and passed on as they came.

/// EDNS option code of extended errors (RFC 8914 §2).
pub const OPTION_EXTENDED_ERROR: u16 = 15;
/// The largest number of bytes of an upstream's extended errors that is kept beside an answer or a
/// failure.
pub const KEPT_MAX: usize = 256;

/// Whether raw EDNS options hold an extended error that marks an answer as stale: Stale Answer or
/// Stale NXDOMAIN Answer (RFC 8914 §4.4, §4.20). What follows an option that cannot be read is not
/// looked at.
#[must_use]
pub fn marks_stale(mut options: &[u8]) -> bool {
    while let [code_high, code_low, high, low, rest @ ..] = options {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((data, rest)) = rest.split_at_checked(length) else { return false };
        let code = u16::from_be_bytes([*code_high, *code_low]);
        if let [high, low, ..] = data
            && code == OPTION_EXTENDED_ERROR
            && STALE.iter().any(|stale| stale.code() == u16::from_be_bytes([*high, *low]))
        {
            return true;
        }
        options = rest;
    }
    false
}

/// The extended errors that mark an answer as stale.
const STALE: [ExtendedError; 2] = [ExtendedError::Stale, ExtendedError::StaleNxDomain];

/// An extended error that holdover adds to an answer of its own (RFC 8914 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedError {
    /// Stale Answer (3): the data are beyond their TTL.
    Stale,
    /// Cached Error (13): the SERVFAIL comes from the failure cache.
    CachedError,
    /// Stale NXDOMAIN Answer (19): the denial is beyond its TTL.
    StaleNxDomain,
    /// Not Authoritative (20): the query came without RD, and the cache cannot answer it.
    NotAuthoritative,
    /// No Reachable Authority (22): upstream responded, but not with an answer.
    NoReachableAuthority,
    /// Network Error (23): upstream did not respond, or could not be asked.
    NetworkError,
}

impl ExtendedError {
    /// The INFO-CODE of this error as it stands in the option.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Stale => 3,
            Self::CachedError => 13,
            Self::StaleNxDomain => 19,
            Self::NotAuthoritative => 20,
            Self::NoReachableAuthority => 22,
            Self::NetworkError => 23,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_marked_as_stale_by_two_codes_wherever_they_stand() {
        for (options, stale) in [
            (&[0, 15, 0, 2, 0, 3][..], true),
            (&[0, 15, 0, 4, 0, 19, b'o', b'k'], true),
            (&[0, 15, 0, 2, 0, 22, 0, 15, 0, 2, 0, 3], true),
            (&[0, 10, 0, 2, 0, 3], false),
            (&[0, 15, 0, 2, 0, 9], false),
            (&[0, 15, 0, 1, 3], false),
            (&[0, 15, 0, 9, 0, 3], false),
            (&[0, 15, 0], false),
            (&[], false),
        ] {
            assert_eq!(marks_stale(options), stale, "{options:?}");
        }
    }
}
