//! The checksums of the rows in the state file, so that a bit that has changed on the disk or in
//! memory is noticed and never served.
//!
//! A row's value ends in the XXH3 of the value before it, in 8 bytes, big-endian; the XXH3 of the
//! row's key is its seed, so that a change in the key or a value under another key is noticed as
//! well. That finds accidents and not forgeries: whoever can write the file can write anything.
//! Files of format 1 have no checksums, and are read as they are.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes of a checksum.
const LENGTH: usize = 8;
/// The first format whose rows have checksums.
const SINCE: u128 = 2;

/// Whether the rows of a file have checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sealing {
    /// The values are as they were written.
    Plain,
    /// Each value ends in a checksum.
    Sealed,
}

impl Sealing {
    /// The sealing of the rows in a file of this format.
    pub(super) const fn of(format: u128) -> Self {
        if format < SINCE { Self::Plain } else { Self::Sealed }
    }

    /// The value of a row without its checksum; `None` when the checksum is another one.
    pub(super) fn open<'a>(self, key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Plain => Some(value),
            Self::Sealed => {
                let (value, checksum) = value.split_last_chunk::<LENGTH>()?;
                (of(key, value) == u64::from_be_bytes(*checksum)).then_some(value)
            }
        }
    }
}

/// Appends the checksum of a value under this key.
pub(super) fn seal(key: &[u8], value: &mut Vec<u8>) {
    let checksum = of(key, value);
    value.extend_from_slice(&checksum.to_be_bytes());
}

/// The checksum of a few numbers.
pub(super) fn of_numbers(numbers: &[u128]) -> u128 {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    u128::from(xxh3_64(&bytes))
}

fn of(key: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_in_key_or_value_is_noticed() {
        let key = b"\x03www\x07example\x03com\x00".to_vec();
        let mut sealed: Vec<u8> = (0..=255).collect();
        seal(&key, &mut sealed);
        assert_eq!(Sealing::Sealed.open(&key, &sealed), sealed.get(..256));
        for bit in 0..8 * (key.len() + sealed.len()) {
            let mut bytes = [key.clone(), sealed.clone()].concat();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (key, value) = bytes.split_at(key.len());
            assert_eq!(Sealing::Sealed.open(key, value), None, "bit {bit}");
        }
        for end in 0..sealed.len() {
            assert_eq!(Sealing::Sealed.open(&key, &sealed[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn a_file_of_the_first_format_has_no_checksums() {
        assert_eq!(Sealing::of(1).open(b"key", b"value"), Some(&b"value"[..]));
        assert_eq!(Sealing::of(2), Sealing::Sealed);
    }
}
