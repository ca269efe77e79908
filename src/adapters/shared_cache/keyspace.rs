//! The keys under which the server keeps what a group shares.
//!
//! | key | value |
//! |---|---|
//! | `holdover:{group}:` and a key of the cache | an answer ([`super::seal`]) |
//! | `holdover:{group}:hot` | the names that the group asks for most ([`super::hot_names`]) |
//! | `holdover:{group}:` | nothing: a read of this key shows whether the server has our hash slot |
//!
//! The group stands in braces, which makes it the hash tag: all keys of a group lie in one hash
//! slot of a cluster. A key of the cache begins with the length of its first label, at most 63. It
//! cannot be taken for `hot`, since `h` as a length would be 104.

use crate::core::key::Key;

/// The keys of one group on the server.
pub(super) struct Keyspace {
    prefix: Vec<u8>,
    index: Vec<u8>,
}

impl Keyspace {
    /// The keys of a group.
    pub(super) fn new(group: &str) -> Self {
        let prefix = format!("holdover:{{{group}}}:");
        Self { index: format!("{prefix}hot").into_bytes(), prefix: prefix.into_bytes() }
    }

    /// The key of the sorted set of hot names.
    pub(super) fn index(&self) -> &[u8] {
        &self.index
    }

    /// A key in the same hash slot under which nothing lies.
    pub(super) fn probe(&self) -> &[u8] {
        &self.prefix
    }

    /// The key of the answer to a name and type.
    pub(super) fn entry(&self, key: &Key) -> Vec<u8> {
        [&self.prefix, key.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;

    #[test]
    fn all_keys_of_a_group_bear_its_tag() {
        let keyspace = Keyspace::new("web");
        let key = Key::new(b"\x03www\x04test\x00", 1, 1, Dnssec::default());
        assert!(keyspace.entry(&key).starts_with(b"holdover:{web}:\x03www"));
        assert_eq!(keyspace.index(), b"holdover:{web}:hot");
    }
}
