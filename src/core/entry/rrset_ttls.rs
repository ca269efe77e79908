//! Gives the records of an RRset one TTL: the least that any of them has (RFC 2181 §5.2).
//!
//! Half of an RRset would otherwise vanish from caches behind this one before the other half. An
//! RRSIG has the TTL of the RRset that it covers (RFC 4034 §3), so it counts as one of its records.

use crate::core::message::{self, MalformedMessage, Records, Section};
use crate::core::name::{NameId, NameReader};

/// One record: what makes it part of an RRset, and where its TTL stands.
#[derive(Clone, Copy)]
struct Member {
    owner: NameId,
    /// The type of its RRset; of an RRSIG, the type that it covers.
    rtype: u16,
    ttl_at: u16,
}

/// Writes the least TTL of each RRset into all of its records. A section whose TTLs are all equal
/// is left as it is.
///
/// # Errors
/// [`MalformedMessage`] when a record or the owner of one cannot be read.
pub(super) fn level(wire: &mut [u8]) -> Result<(), MalformedMessage> {
    for section in [Section::Answer, Section::Authority, Section::Additional] {
        if has_one_ttl(wire, section)? {
            continue;
        }
        let mut members = members(wire, section)?;
        members.sort_unstable_by_key(|member| (member.owner, member.rtype, member.ttl_at));
        for rrset in members.chunk_by(|one, other| (one.owner, one.rtype) == (other.owner, other.rtype)) {
            let ttls = rrset.iter().filter_map(|member| message::read_u32(wire, usize::from(member.ttl_at)));
            let (least, most) = ttls.fold((u32::MAX, 0), |(least, most), ttl| (least.min(sane(ttl)), most.max(ttl)));
            if least == most {
                continue;
            }
            for at in rrset.iter().map(|member| usize::from(member.ttl_at)) {
                wire.get_mut(at..at + 4).ok_or(MalformedMessage)?.copy_from_slice(&least.to_be_bytes());
            }
        }
    }
    Ok(())
}

fn sane(ttl: u32) -> u32 {
    message::sane_ttl(ttl)
}

/// Whether all records of a section have the same TTL.
fn has_one_ttl(wire: &[u8], section: Section) -> Result<bool, MalformedMessage> {
    let mut records = Records::new(wire)?;
    let mut first = None;
    while let Some(record) = records.next_record()? {
        if record.section == section && *first.get_or_insert(record.ttl) != record.ttl {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The records of a section.
fn members(wire: &[u8], section: Section) -> Result<Vec<Member>, MalformedMessage> {
    let mut names = NameReader::new(wire);
    let mut records = Records::new(wire)?;
    let mut members = Vec::new();
    while let Some(record) = records.next_record()? {
        if record.section != section {
            continue;
        }
        let covers = if record.rtype == message::TYPE_RRSIG { message::read_u16(wire, record.data) } else { None };
        members.push(Member {
            owner: names.id(record.start)?.0,
            rtype: covers.unwrap_or(record.rtype),
            ttl_at: u16::try_from(record.ttl_at).map_err(|_| MalformedMessage)?,
        });
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::Response;

    fn leveled(response: Response) -> Vec<u32> {
        let mut wire = response.bytes();
        level(&mut wire).expect("a message");
        let mut records = Records::new(&wire).expect("a message");
        std::iter::from_fn(|| records.next_record().expect("a record")).map(|record| record.ttl).collect()
    }

    #[test]
    fn the_records_of_an_rrset_have_the_least_ttl() {
        let response = Response::new("www.example.com", 1)
            .cname("www.example.com", "web.example.com", 900)
            .a("web.example.com", 300)
            .a("WEB.example.com", 60)
            .record(6, "web.example.com", 46, 200, &[0, 1, 8, 3]);
        assert_eq!(leveled(response), [900, 60, 60, 60]);
    }

    #[test]
    fn sections_names_and_types_are_apart() {
        let response = Response::new("www.example.com", 1)
            .a("www.example.com", 300)
            .record(8, "example.com", 2, 50, b"\x02ns\xc0\x10")
            .record(8, "example.com", 2, 40, b"\x02ns\xc0\x10")
            .record(8, "example.com", 6, 70, b"")
            .record(10, "www.example.com", 1, 10, &[192, 0, 2, 1])
            .record(10, "ns.example.com", 1, 20, &[192, 0, 2, 1]);
        assert_eq!(leveled(response), [300, 40, 40, 70, 10, 20]);
    }

    #[test]
    fn a_ttl_beyond_two_to_the_31_is_the_least() {
        let response = Response::new("www.example.com", 1).a("www.example.com", 0x8000_0000).a("www.example.com", 60);
        assert_eq!(leveled(response), [0, 0]);
        let one =
            Response::new("www.example.com", 1).a("www.example.com", 0x8000_0000).a("www.example.com", 0x8000_0000);
        assert_eq!(leveled(one), [0x8000_0000, 0x8000_0000], "one TTL, which clients are shown as zero");
    }
}
