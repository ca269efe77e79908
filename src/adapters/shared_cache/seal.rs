//! The seal of an answer in the shared cache: the form in which it lies there, with the proof that
//! an instance with our key put it there.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | version of this format: 1 |
//! | up to 16 KiB | the answer as [`crate::core::record`], its times in it |
//! | 32 | HMAC-SHA-256 with the key of the instances that share the cache |
//!
//! The signature covers the group and the key of the answer as well, each with its length before
//! it. An entry of another group, or one that is replayed under another name, is therefore as
//! worthless as a forged one. An older entry of the same name can be replayed; its age is taken
//! from the times in it, and it replaces nothing newer. The entries are signed and not encrypted:
//! somebody who may read the server learns names and addresses.

use ring::hmac;

use crate::core::key::Key;

const VERSION: u8 = 1;
/// Length of a signature in bytes.
const SIGNATURE: usize = 32;
/// Largest record that is published or taken, in bytes: more than the answer to any name that a
/// service asks for at its start.
pub(super) const RECORD_MAX: usize = 16 << 10;
/// Largest entry, in bytes.
pub(super) const SEALED_MAX: usize = 1 + RECORD_MAX + SIGNATURE;
/// Beginning of all that is signed, so that no signature that the same key makes for another
/// purpose is valid here.
const PURPOSE: &[u8] = b"holdover shared cache";

/// Signs and checks the entries of one group.
pub(super) struct Seal {
    group: Box<str>,
    /// The key that signs, and whose signatures are accepted.
    signing: hmac::Key,
    /// A former key, whose signatures are accepted as well while keys are changed.
    former: Option<hmac::Key>,
}

/// Why an entry is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealError {
    /// The entry is of another version, cut off, or too large.
    Format,
    /// The entry is signed with a key that we do not have, or for another group or name.
    Signature,
}

impl Seal {
    /// A seal for the entries of a group. `former` is a key that is accepted besides `key`.
    pub(super) fn new(group: &str, key: &[u8], former: Option<&[u8]>) -> Self {
        let key_of = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self { group: group.into(), signing: key_of(key), former: former.map(key_of) }
    }

    /// Makes a signed entry of a record; `None` when the record is too large to be shared.
    pub(super) fn close(&self, key: &Key, record: &[u8]) -> Option<Vec<u8>> {
        if record.len() > RECORD_MAX {
            return None;
        }
        let mut out = Vec::with_capacity(1 + record.len() + SIGNATURE);
        out.push(VERSION);
        out.extend_from_slice(record);
        let signature = hmac::sign(&self.signing, &self.covered(key, &out));
        out.extend_from_slice(signature.as_ref());
        Some(out)
    }

    /// Checks an entry that lay under `key`, and gives the record in it.
    ///
    /// # Errors
    /// [`SealError::Signature`] when no instance with our signing key signed this entry for `key`;
    /// [`SealError::Format`] when its length or version is wrong.
    pub(super) fn open<'a>(&self, key: &Key, entry: &'a [u8]) -> Result<&'a [u8], SealError> {
        if entry.len() > SEALED_MAX {
            return Err(SealError::Format);
        }
        let body = entry.len().checked_sub(SIGNATURE).ok_or(SealError::Format)?;
        let (body, signature) = entry.split_at(body);
        let covered = self.covered(key, body);
        let accepted = [Some(&self.signing), self.former.as_ref()];
        if !accepted.into_iter().flatten().any(|key| hmac::verify(key, &covered, signature).is_ok()) {
            return Err(SealError::Signature);
        }
        match body.split_first() {
            Some((&VERSION, record)) => Ok(record),
            Some(_) | None => Err(SealError::Format),
        }
    }

    /// The bytes that the signature covers: purpose, group, key and body, each after its length.
    fn covered(&self, key: &Key, body: &[u8]) -> Vec<u8> {
        let mut covered = Vec::with_capacity(PURPOSE.len() + self.group.len() + key.as_bytes().len() + body.len() + 24);
        for part in [PURPOSE, self.group.as_bytes(), key.as_bytes(), body] {
            covered.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            covered.extend_from_slice(part);
        }
        covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::name;

    const FIRST: &[u8] = &[1; 32];
    const SECOND: &[u8] = &[2; 32];

    fn key(text: &str) -> Key {
        Key::new(&name(text), 1, 1, Dnssec::default())
    }

    fn sealed() -> Vec<u8> {
        Seal::new("web", FIRST, None).close(&key("www.example.com"), b"record").unwrap()
    }

    #[test]
    fn what_one_instance_seals_another_one_opens() {
        assert_eq!(Seal::new("web", FIRST, None).open(&key("www.example.com"), &sealed()), Ok(b"record".as_slice()));
    }

    #[test]
    fn no_bit_of_it_can_be_changed() {
        let seal = Seal::new("web", FIRST, None);
        for at in 0..sealed().len() {
            for bit in 0..8 {
                let mut changed = sealed();
                changed[at] ^= 1 << bit;
                assert_eq!(seal.open(&key("www.example.com"), &changed), Err(SealError::Signature), "{at}");
            }
        }
        for length in 0..sealed().len() {
            assert!(seal.open(&key("www.example.com"), &sealed()[..length]).is_err());
        }
    }

    #[test]
    fn an_entry_of_another_group_name_or_fleet_is_worthless() {
        assert_eq!(Seal::new("batch", FIRST, None).open(&key("www.example.com"), &sealed()), Err(SealError::Signature));
        assert_eq!(Seal::new("web", FIRST, None).open(&key("pay.example.com"), &sealed()), Err(SealError::Signature));
        assert_eq!(Seal::new("web", SECOND, None).open(&key("www.example.com"), &sealed()), Err(SealError::Signature));
    }

    #[test]
    fn while_keys_are_changed_both_are_accepted_and_the_first_signs() {
        let (old, both, new) =
            (Seal::new("web", FIRST, None), Seal::new("web", SECOND, Some(FIRST)), Seal::new("web", SECOND, None));
        let key = key("www.example.com");
        assert!(both.open(&key, &sealed()).is_ok());
        let sealed = both.close(&key, b"record").unwrap();
        assert!(new.open(&key, &sealed).is_ok() && old.open(&key, &sealed).is_err());
    }

    #[test]
    fn what_is_too_large_is_neither_given_nor_taken() {
        let seal = Seal::new("web", FIRST, None);
        assert_eq!(seal.close(&key("www.example.com"), &[0; RECORD_MAX + 1]), None);
        let largest = seal.close(&key("www.example.com"), &[0; RECORD_MAX]).unwrap();
        assert!(seal.open(&key("www.example.com"), &largest).is_ok());
        assert_eq!(seal.open(&key("www.example.com"), &[0; SEALED_MAX + 1]), Err(SealError::Format));
    }
}
