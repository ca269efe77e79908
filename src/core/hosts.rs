//! The content of a hosts file (hosts(5)), and the answers that it gives.
//!
//! | question | answer |
//! |---|---|
//! | A or AAAA of a name in the file | its addresses of that family in the order of the file; NODATA when it has none |
//! | HTTPS of a name in the file | NODATA: address hints of an upstream (RFC 9460 §7.3) would bypass the file |
//! | any other type of a name in the file | none, so upstreams are asked: mail, for one, must go on |
//! | PTR of an address in the file | the first name of the first line with that address |
//! | any name at or below `localhost` or `invalid` | none: [`super::special`] answers as RFC 6761 says |
//! | any other name, any class other than IN | none, so upstreams are asked |
//!
//! Any text counts as a hosts file: a line that cannot be read is left out and reported with its
//! number. The number of names and of addresses per name is bounded, because whoever writes the
//! file decides how much memory holdover spends on it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::entry::Entry;
use super::key::{Key, read_name};
use super::message::{CLASS_IN, TYPE_A, TYPE_AAAA, TYPE_HTTPS, TYPE_PTR};
use super::policy::Policy;
use super::special::{self, is_local};
use super::time::Timestamp;

/// The largest number of names that are read from a file, all lines together. A host has a dozen, a
/// node of a cluster hundreds. At some 150 bytes each this is 2.5 MB; blocking long lists of
/// advertisers is the work of other tools.
pub const NAMES_MAX: usize = 16_384;
/// The largest number of addresses of one name and family, with which an answer stays within every
/// client's EDNS buffer.
pub const ADDRESSES_MAX: usize = 16;
/// The number of mistakes that are described; further ones are only counted.
pub const MISTAKES_SHOWN: usize = 5;

/// The addresses of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Addresses {
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
}

/// The content of a hosts file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// By name, in lower-cased wire form.
    addresses: BTreeMap<Box<[u8]>, Addresses>,
    /// By name below `in-addr.arpa` or `ip6.arpa`, the first name of the address. All names are in
    /// lower-cased wire form.
    pointers: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// A line of a hosts file, or a part of one, that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct HostsMistake {
    /// The number of the line, from 1.
    pub line: usize,
    /// The reason for which the line, or a part of it, was left out.
    pub what: Wrong,
}

/// The reason for which a line of a hosts file, or a part of it, was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The line does not begin with an address.
    #[error("does not begin with an IP address")]
    Address,
    /// The line has an address but no name.
    #[error("has no name behind its address")]
    Nameless,
    /// A word behind the address is not a domain name.
    #[error("has something that is not a domain name")]
    Name,
    /// A name of the line has [`ADDRESSES_MAX`] addresses of this family already.
    #[error("has one address too many for a name, which may have {ADDRESSES_MAX}")]
    Addresses,
    /// The file has [`NAMES_MAX`] names before this one.
    #[error("and all after it are left out: a hosts file may have {NAMES_MAX} names")]
    Full,
}

/// A hosts file as it was read, with the mistakes in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedHosts {
    /// Everything in the file that could be read.
    pub hosts: Hosts,
    /// The first mistakes, at most [`MISTAKES_SHOWN`].
    pub mistakes: Vec<HostsMistake>,
    /// The number of all mistakes.
    pub wrong: usize,
}

impl ParsedHosts {
    fn note(&mut self, line: usize, what: Wrong) {
        self.wrong += 1;
        if self.mistakes.len() < MISTAKES_SHOWN {
            self.mistakes.push(HostsMistake { line, what });
        }
    }
}

impl Hosts {
    /// Reads the text of a hosts file. Any text may be given.
    #[must_use]
    pub fn read(text: &str) -> ParsedHosts {
        let mut read = ParsedHosts::default();
        let mut names_left = NAMES_MAX;
        for (line, number) in text.lines().zip(1..) {
            let line = line.split_once('#').map_or(line, |(line, _)| line);
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next() else { continue };
            // A link-local address with a scope is for the host's own libc: an A or AAAA record
            // cannot carry the scope.
            if address.contains('%') {
                continue;
            }
            let Ok(address) = address.parse::<IpAddr>() else {
                read.note(number, Wrong::Address);
                continue;
            };
            // Each word behind the address is one of its names.
            let mut nameless = true;
            for word in words {
                nameless = false;
                let Some(left) = names_left.checked_sub(1) else {
                    read.note(number, Wrong::Full);
                    return read;
                };
                names_left = left;
                match read_name(word).filter(|name| name.len() > 1) {
                    None => read.note(number, Wrong::Name),
                    Some(name) => {
                        if !read.hosts.add(name, address) {
                            read.note(number, Wrong::Addresses);
                        }
                    }
                }
            }
            if nameless {
                read.note(number, Wrong::Nameless);
            }
        }
        read
    }

    /// Adds one name of an address; false when the name has too many addresses already.
    fn add(&mut self, name: Box<[u8]>, address: IpAddr) -> bool {
        if let Some(pointer) = read_name(&reverse(address)) {
            self.pointers.entry(pointer).or_insert_with(|| name.clone());
        }
        if is_local(&name) {
            return true;
        }
        let addresses = self.addresses.entry(name).or_default();
        match address {
            IpAddr::V4(v4) => add(&mut addresses.v4, v4),
            IpAddr::V6(v6) => add(&mut addresses.v6, v6),
        }
    }

    /// The number of names that have an address.
    #[must_use]
    pub fn names(&self) -> usize {
        self.addresses.len()
    }

    /// The answer to a question; `None` when the file has none and upstreams are to be asked.
    #[must_use]
    pub fn answer(&self, key: &Key, policy: &Policy, now: Timestamp) -> Option<Entry> {
        if key.qclass() != CLASS_IN {
            return None;
        }
        let message = match key.qtype() {
            TYPE_A | TYPE_AAAA | TYPE_HTTPS => {
                let addresses = self.addresses.get(key.name())?;
                match key.qtype() {
                    TYPE_A => special::positive(key, addresses.v4.iter().map(Ipv4Addr::octets)),
                    TYPE_AAAA => special::positive(key, addresses.v6.iter().map(Ipv6Addr::octets)),
                    _ => None,
                }
                .unwrap_or_else(|| special::negative(key, key.name(), 0))
            }
            TYPE_PTR => special::positive(key, std::iter::once(self.pointers.get(key.name())?))?,
            _ => return None,
        };
        special::remember(key, &message, policy, now)
    }
}

/// Adds an address unless it is there already; false when there are too many.
fn add<T: PartialEq>(addresses: &mut Vec<T>, address: T) -> bool {
    if addresses.contains(&address) {
        return true;
    }
    let fits = addresses.len() < ADDRESSES_MAX;
    if fits {
        addresses.push(address);
    }
    fits
}

/// The name whose PTR records name an address (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let digits = v6.octets().into_iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4));
            digits.collect::<String>() + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::Kind;
    use crate::core::key::Dnssec;
    use crate::core::testing::{name, policy};

    const TEXT: &str = "127.0.0.1\tlocalhost\r\n\
                        # 192.0.2.9 commented.example.com\r\n\
                        192.0.2.1 DB.example.com db # the database\r\n\
                        2001:db8::1  db.example.com\n\
                        192.0.2.2 db\n\n   \n\
                        192.0.2.1 other.example.com\n\
                        fe80::1%lo0 scoped\n";

    /// The kind of the answer and its bytes behind the question.
    fn ask(hosts: &Hosts, text: &str, qtype: u16) -> Option<(Kind, Vec<u8>)> {
        let key = Key::new(&name(text), qtype, 1, Dnssec::default());
        let entry = hosts.answer(&key, &policy(), Timestamp::from_secs(5))?;
        let end = 12 + key.name().len() + 4;
        Some((entry.kind, entry.wire().get(end..)?.to_vec()))
    }

    #[test]
    fn names_have_all_their_addresses_and_no_others() {
        let read = Hosts::read(TEXT);
        assert_eq!((read.wrong, read.hosts.names()), (0, 3));
        let (kind, records) = ask(&read.hosts, "dB", TYPE_A).unwrap();
        assert_eq!((kind, records.len()), (Kind::Positive, 2 * 16));
        assert!(records.ends_with(&[192, 0, 2, 2]) && records[..16].ends_with(&[192, 0, 2, 1]));
        assert!(ask(&read.hosts, "db.example.com", TYPE_AAAA).unwrap().1.ends_with(&[0, 0, 0, 0, 0, 0, 0, 1]));
        for (text, qtype) in
            [("www.example.com", 1), ("commented.example.com", 1), ("scoped", 28), ("x.db", 1), ("db", 15), ("db", 255)]
        {
            assert_eq!(ask(&read.hosts, text, qtype), None, "{text} {qtype}");
        }
        let other_class = Key::new(&name("db"), TYPE_A, 3, Dnssec::default());
        assert_eq!(read.hosts.answer(&other_class, &policy(), Timestamp::from_secs(5)), None);
    }

    #[test]
    fn the_other_family_and_https_of_a_name_are_nodata() {
        let hosts = Hosts::read(TEXT).hosts;
        for (text, qtype) in [("other.example.com", TYPE_AAAA), ("db", TYPE_AAAA), ("db.example.com", TYPE_HTTPS)] {
            assert_eq!(ask(&hosts, text, qtype).map(|(kind, _)| kind), Some(Kind::NoData), "{text} {qtype}");
        }
    }

    #[test]
    fn a_pointer_names_the_first_name_of_its_address() {
        let hosts = Hosts::read(TEXT).hosts;
        let pointer = |text: &str| ask(&hosts, text, TYPE_PTR).map(|(_, records)| records[12..].to_vec());
        assert_eq!(pointer("1.2.0.192.in-addr.arpa"), Some(name("db.example.com")));
        assert_eq!(pointer("1.0.0.127.in-addr.arpa"), Some(name("localhost")));
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(pointer(six), Some(name("db.example.com")));
        assert_eq!(pointer("9.2.0.192.in-addr.arpa"), None);
    }

    #[test]
    fn the_file_does_not_change_special_use_names() {
        let hosts = Hosts::read("192.0.2.1 localhost db.localhost ready.holdover.invalid\n").hosts;
        assert_eq!(hosts.names(), 0);
        assert_eq!(ask(&hosts, "ready.holdover.invalid", TYPE_A), None);
    }

    #[test]
    fn wrong_lines_are_reported_with_their_number_and_change_nothing_else() {
        let read = Hosts::read("db 192.0.2.1\n192.0.2.1\n192.0.2.1 a..b good\n300.0.0.1 x\n192.0.2 y\n");
        let reported: Vec<String> = read.mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            reported,
            [
                "line 1: does not begin with an IP address",
                "line 2: has no name behind its address",
                "line 3: has something that is not a domain name",
                "line 4: does not begin with an IP address",
                "line 5: does not begin with an IP address"
            ]
        );
        assert_eq!((read.wrong, read.hosts.names()), (5, 1));
    }

    #[test]
    fn what_a_file_may_hold_is_bounded() {
        let many: String = (0..=NAMES_MAX).map(|index| format!("192.0.2.1 n{index}\n")).collect();
        let read = Hosts::read(&many);
        assert_eq!((read.hosts.names(), read.wrong), (NAMES_MAX, 1));
        assert_eq!(read.mistakes, [HostsMistake { line: NAMES_MAX + 1, what: Wrong::Full }]);
        let one: String = (0..=ADDRESSES_MAX).map(|index| format!("192.0.2.{index} one\n")).collect();
        let read = Hosts::read(&one);
        assert_eq!(read.mistakes, [HostsMistake { line: ADDRESSES_MAX + 1, what: Wrong::Addresses }]);
        assert_eq!(ask(&read.hosts, "one", TYPE_A).unwrap().1.len(), ADDRESSES_MAX * 16);
    }
}
