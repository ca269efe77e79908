//! The names that an answer leads through: the owners of its records, and the targets of its
//! aliases.
//!
//! An operator who flushes a name means its records wherever they are remembered: also in the
//! answer to an alias that leads to it.

use super::entry::Entry;
use super::message::{self, Records, Section};
use super::name::NameReader;

/// Whether `wanted` says yes to a name that an answer leads through, with the type of the record
/// that names it. Names are in lower-cased wire form. An answer that cannot be read leads nowhere.
pub fn leads_through(entry: &Entry, mut wanted: impl FnMut(&[u8], u16) -> bool) -> bool {
    let wire = entry.wire();
    let Ok(mut records) = Records::new(wire) else { return false };
    let mut names = NameReader::new(wire);
    let mut ask =
        |at: usize, rtype: u16| names.read(at).is_ok_and(|(name, _)| wanted(name.in_lower_case().as_bytes(), rtype));
    while let Ok(Some(record)) = records.next_record() {
        if record.section != Section::Answer {
            return false;
        }
        let is_alias = matches!(record.rtype, message::TYPE_CNAME | message::TYPE_DNAME);
        if ask(record.start, record.rtype) || is_alias && ask(record.data, record.rtype) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::key::{Dnssec, Key, NameText};
    use crate::core::testing::{Response, name, policy};
    use crate::core::time::Timestamp;

    fn names(response: &[u8]) -> Vec<String> {
        let key = Key::new(&name("www.example.com"), 1, 1, Dnssec::default());
        let verdict = classify(1, response);
        let entry = Entry::remember(&key, response, verdict, &policy(), Timestamp::from_secs(9)).unwrap().entry;
        let mut found = Vec::new();
        assert!(!leads_through(&entry, |name, rtype| {
            found.push(format!("{} {rtype}", NameText(name)));
            false
        }));
        found
    }

    #[test]
    fn each_link_of_a_chain_is_named_and_so_is_the_target_that_is_missing() {
        let response = Response::new("www.example.com", 1)
            .record(6, "www.example.com", 5, 60, &[2, b'L', b'b', 0xc0, 16])
            .cname("lb.example.com", "gone.example.net", 60)
            .soa("example.net", 60, 60)
            .bytes();
        let expected = ["www.example.com. 5", "lb.example.com. 5", "lb.example.com. 5", "gone.example.net. 5"];
        assert_eq!(names(&response), expected);
    }

    #[test]
    fn what_stands_in_other_sections_is_no_link() {
        let response =
            Response::new("www.example.com", 1).a("www.example.com", 60).record(10, "x.example", 1, 9, &[0; 4]);
        assert_eq!(names(&response.bytes()), ["www.example.com. 1"]);
    }
}
