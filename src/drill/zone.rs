//! What the drill's upstream knows: a generated zone whose data change every second, so that every
//! answer tells its age.
//!
//! | name | data |
//! |---|---|
//! | `app{i}.drill.test`, i mod 10 in 0 to 5 | A and AAAA |
//! | … 6, 7 | A; AAAA is NODATA |
//! | … 8 | a chain of two aliases to A and AAAA |
//! | … 9 | A and AAAA; asked with the search domain first, which is NXDOMAIN |
//!
//! The *generation* counts seconds since the zone began. A is `198.51.100.(generation mod 250)`,
//! AAAA ends in the generation. An answer is *old* when its generation lies further back than the
//! name's TTL, plus two seconds of rounding. That holds for any resolver between, whether it says
//! EDE 3 or nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The domain of the names.
pub const DOMAIN: &str = "drill.test";
/// The search domain with which some names are asked first.
pub const SEARCH: &str = "svc.cluster.test";
/// TTL of negative answers, in seconds.
pub const NEGATIVE_TTL: u32 = 30;
/// Generations after which A repeats.
const CYCLE: u32 = 250;
/// Rounding of the generation and of the TTL, in seconds.
const ROUNDING: u32 = 2;

/// A type that clients of the drill ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
}

/// What a question is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// An address behind so many aliases.
    Address {
        /// The aliases on the way, first to last.
        aliases: Vec<String>,
        /// TTL of all records, in seconds.
        ttl: u32,
    },
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NxDomain,
}

/// A question and what is true about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The full name, without the dot at the end.
    pub name: String,
    /// The type.
    pub rtype: Type,
    /// What is true.
    pub truth: Truth,
}

/// TTL of a name's data: 1 to 30 s, different for neighbours.
#[must_use]
pub fn ttl(index: usize) -> u32 {
    u32::try_from(index * 7 % 30).unwrap_or_default() + 1
}

/// All questions that clients ask about one name.
#[must_use]
pub fn questions(index: usize) -> Vec<Question> {
    let name = format!("app{index}.{DOMAIN}");
    let plain = |rtype| Question { truth: truth(&name, rtype), name: name.clone(), rtype };
    match index % 10 {
        9 => {
            let searched = Question { name: format!("{name}.{SEARCH}"), rtype: Type::A, truth: Truth::NxDomain };
            vec![searched, plain(Type::A), plain(Type::Aaaa)]
        }
        _ => vec![plain(Type::A), plain(Type::Aaaa)],
    }
}

/// What is true of a name and type; NXDOMAIN for every name that the zone does not generate.
#[must_use]
pub fn truth(name: &str, rtype: Type) -> Truth {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let Some(host) = name.strip_suffix(DOMAIN).and_then(|host| host.strip_suffix('.')) else { return Truth::NxDomain };
    let Some(index) = host.strip_prefix("app").and_then(|digits| digits.parse::<usize>().ok()) else {
        return Truth::NxDomain;
    };
    let ttl = ttl(index);
    match (index % 10, rtype) {
        (6 | 7, Type::Aaaa) => Truth::NoData,
        (8, Type::A | Type::Aaaa) => {
            Truth::Address { aliases: vec![format!("alias{index}.{DOMAIN}"), format!("target{index}.{DOMAIN}")], ttl }
        }
        (_, Type::A | Type::Aaaa) => Truth::Address { aliases: Vec::new(), ttl },
    }
}

/// The IPv4 address of a generation.
#[must_use]
pub fn address_v4(generation: u32) -> Ipv4Addr {
    let last = u8::try_from(generation % CYCLE).unwrap_or_default();
    Ipv4Addr::new(198, 51, 100, last)
}

/// The IPv6 address of a generation.
#[must_use]
pub fn address_v6(generation: u32) -> Ipv6Addr {
    Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(generation % CYCLE))
}

/// The generation modulo the cycle that an address tells, by the last byte of its RDATA.
#[must_use]
pub fn generation_in(rdata: &[u8]) -> Option<u32> {
    rdata.last().map(|last| u32::from(*last))
}

/// Whether an answer with this generation is older than its TTL allows.
#[must_use]
pub fn is_old(answered: u32, now: u32, ttl: u32) -> bool {
    let age = (now % CYCLE + CYCLE - answered % CYCLE) % CYCLE;
    // An answer can be ahead of the asker's clock by the rounding.
    age > ttl + ROUNDING && age < CYCLE - ROUNDING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_is_generated() {
        assert_eq!(truth("app3.drill.test", Type::Aaaa), Truth::Address { aliases: Vec::new(), ttl: 22 });
        assert_eq!(truth("App6.Drill.Test.", Type::Aaaa), Truth::NoData);
        assert!(matches!(truth("app8.drill.test", Type::A), Truth::Address { aliases, .. } if aliases.len() == 2));
        assert_eq!(truth("app9.drill.test.svc.cluster.test", Type::A), Truth::NxDomain);
        assert_eq!(truth("other.drill.test", Type::A), Truth::NxDomain);
        assert_eq!(questions(9).len(), 3);
    }

    #[test]
    fn ttls_are_one_to_thirty_seconds() {
        let all: std::collections::BTreeSet<u32> = (0..300).map(ttl).collect();
        assert_eq!((all.first(), all.last(), all.len()), (Some(&1), Some(&30), 30));
    }

    #[test]
    fn an_answer_tells_its_age() {
        assert_eq!(generation_in(&address_v4(1007).octets()), Some(7));
        assert_eq!(generation_in(&address_v6(1007).octets()), Some(7));
        assert!(!is_old(100, 107, 5));
        assert!(is_old(100, 108, 5));
        assert!(is_old(245, 250 + 8, 5), "across the end of the cycle");
        assert!(!is_old(101, 100, 5), "ahead by the rounding");
    }
}
