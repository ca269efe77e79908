//! The zone that the drill's upstream serves, whose addresses change every second, so that every
//! answer shows how old it is.
//!
//! | name | records |
//! |---|---|
//! | `app{i}.drill.test`, i mod 10 from 0 to 5 | A and AAAA |
//! | `app{i}.drill.test`, i mod 10 is 6 or 7 | A; AAAA is NODATA |
//! | `app{i}.drill.test`, i mod 10 is 8 | a chain of two CNAMEs to A and AAAA |
//! | `app{i}.drill.test`, i mod 10 is 9 | A and AAAA; clients first append the search domain, which gives NXDOMAIN |
//!
//! The same names exist below `internal.test`, which some scenarios single out. Names are not
//! stored: whatever number `i` a client puts into a name, the name exists.
//!
//! A [`Generation`] is the number of seconds since the zone began, modulo 250, and every address
//! ends in the generation in which it was valid. A client therefore recognizes a stale answer even
//! when the resolver that it asks reports neither EDE 3 nor EDE 19 (RFC 8914).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Domain of the names that clients ask for unless a scenario says otherwise.
pub const DOMAIN: &str = "drill.test";
/// Domain that some scenarios single out: its name servers are dead, or only one upstream knows it.
const INTERNAL: &str = "internal.test";
/// Search domain that clients append to some names first; no name exists below it.
pub const SEARCH: &str = "svc.cluster.test";
/// TTL of negative responses, in seconds.
pub const NEGATIVE_TTL: u32 = 30;
/// Generations after which the addresses repeat: the generation has to fit into one octet.
const CYCLE: u32 = 250;
/// Seconds by which the age of an answer may be wrong, as generation and TTL are whole seconds.
const ROUNDING: u32 = 2;

/// Type of address that the drill's clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressType {
    /// IPv4 address (RFC 1035).
    A,
    /// IPv6 address (RFC 3596).
    Aaaa,
}

impl AddressType {
    /// Both types, A first.
    pub const ALL: [Self; 2] = [Self::A, Self::Aaaa];

    /// Number of the type in wire format.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
        }
    }
}

/// Answer that the zone gives to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedAnswer {
    /// An address, possibly at the end of a chain of CNAMEs.
    Address {
        /// Names that the CNAMEs lead to, first to last.
        aliases: Vec<String>,
        /// TTL of all records, in seconds.
        ttl: u32,
    },
    /// The name exists and has no records of the type (RFC 2308 §2.2).
    NoData,
    /// The name does not exist.
    NxDomain,
}

/// Question that clients of the drill ask, with the answer that the zone has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneQuestion {
    /// Full name, without the dot at the end.
    pub name: String,
    /// Type that is asked for.
    pub rtype: AddressType,
    /// Answer that the zone gives while nothing is wrong.
    pub expected: ExpectedAnswer,
}

impl ZoneQuestion {
    /// Makes a question, with the answer that the zone has for it.
    #[must_use]
    pub fn new(name: String, rtype: AddressType) -> Self {
        Self { expected: expected_answer(&name, rtype), name, rtype }
    }
}

/// TTL of the records of one name, 1 to 30 seconds; neighbouring names have different ones.
#[must_use]
pub fn ttl(index: usize) -> u32 {
    u32::try_from(index * 7 % 30).unwrap_or_default() + 1
}

/// Number of one of the names whose TTL is `ttl` seconds, 1 to 30; each `nth` gives another name.
#[must_use]
pub fn index_with_ttl(ttl: u32, nth: usize) -> usize {
    let first = (0..30).find(|index| self::ttl(*index) == ttl).unwrap_or_default();
    first + 30 * nth
}

/// Domain in which names exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// `drill.test`, which every upstream knows.
    Public,
    /// `internal.test`, which some scenarios single out.
    Internal,
}

impl Domain {
    /// Text of the domain, without the dot at the end.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Public => DOMAIN,
            Self::Internal => INTERNAL,
        }
    }
}

/// Name of an application; every number in either domain gives a name that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppName {
    /// Number of the application.
    pub index: usize,
    /// Domain of the name.
    pub domain: Domain,
}

impl AppName {
    /// The name with this number below `drill.test`.
    #[must_use]
    pub const fn public(index: usize) -> Self {
        Self { index, domain: Domain::Public }
    }

    /// Full name, without the dot at the end.
    #[must_use]
    pub fn text(self) -> String {
        format!("app{}.{}", self.index, self.domain.text())
    }

    /// Reads a name in any case, with or without the dot at the end; `None` if it does not follow
    /// the pattern `app{i}.drill.test` or `app{i}.internal.test`.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        Self::read_after("app", name)
    }

    /// Reads a name whose first label is this word and the number.
    fn read_after(word: &str, name: &str) -> Option<Self> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        [Domain::Public, Domain::Internal].into_iter().find_map(|domain| {
            let host = name.strip_suffix(domain.text())?.strip_suffix('.')?;
            Some(Self { index: host.strip_prefix(word)?.parse().ok()?, domain })
        })
    }
}

/// All questions that clients ask about one name.
#[must_use]
pub fn questions(name: AppName) -> Vec<ZoneQuestion> {
    let text = name.text();
    let mut questions = Vec::new();
    if name.index % 10 == 9 {
        questions.push(ZoneQuestion::new(format!("{text}.{SEARCH}"), AddressType::A));
    }
    questions.extend(AddressType::ALL.map(|rtype| ZoneQuestion::new(text.clone(), rtype)));
    questions
}

/// Answer that the zone has for a name and type; NXDOMAIN for every name that is not an
/// [`AppName`].
#[must_use]
pub fn expected_answer(name: &str, rtype: AddressType) -> ExpectedAnswer {
    let in_chain = |word| AppName::read_after(word, name).filter(|name| name.index % 10 == 8);
    if let Some(AppName { index, domain }) = in_chain("alias") {
        let aliases = vec![format!("target{index}.{}", domain.text())];
        return ExpectedAnswer::Address { aliases, ttl: ttl(index) };
    }
    if let Some(AppName { index, .. }) = in_chain("target") {
        return ExpectedAnswer::Address { aliases: Vec::new(), ttl: ttl(index) };
    }
    let Some(AppName { index, domain }) = AppName::read(name) else { return ExpectedAnswer::NxDomain };
    let ttl = ttl(index);
    match (index % 10, rtype) {
        (6 | 7, AddressType::Aaaa) => ExpectedAnswer::NoData,
        (8, AddressType::A | AddressType::Aaaa) => {
            let domain = domain.text();
            let aliases = vec![format!("alias{index}.{domain}"), format!("target{index}.{domain}")];
            ExpectedAnswer::Address { aliases, ttl }
        }
        (_, AddressType::A | AddressType::Aaaa) => ExpectedAnswer::Address { aliases: Vec::new(), ttl },
    }
}

/// Second in which an address was valid: seconds since the zone began, modulo 250.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u32);

impl Generation {
    /// Generation of the addresses at a time since the zone began.
    #[must_use]
    pub fn at(since_began: Duration) -> Self {
        Self::new(u32::try_from(since_began.as_secs()).unwrap_or_default())
    }

    /// Generation of an address, by the last octet of its RDATA; `None` if the RDATA is empty.
    #[must_use]
    pub fn in_rdata(rdata: &[u8]) -> Option<Self> {
        rdata.last().map(|last| Self::new(u32::from(*last)))
    }

    const fn new(seconds: u32) -> Self {
        Self(seconds % CYCLE)
    }

    /// IPv4 address of this generation, from the block for documentation (RFC 5737).
    #[must_use]
    pub fn address_v4(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, u8::try_from(self.0).unwrap_or_default())
    }

    /// IPv6 address of this generation, from the prefix for documentation (RFC 3849).
    #[must_use]
    pub fn address_v6(self) -> Ipv6Addr {
        Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(self.0))
    }

    /// Whether an answer with this generation is older than its TTL of so many seconds allows, two
    /// seconds of rounding included.
    #[must_use]
    pub fn is_older_than(self, ttl: u32, now: Self) -> bool {
        let age = (now.0 + CYCLE - self.0) % CYCLE;
        // Because of the rounding, the answer can seem to be from the client's future. Such an age
        // wraps around to the end of the cycle and means that the answer is new.
        age > ttl + ROUNDING && age < CYCLE - ROUNDING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(seconds: u64) -> Generation {
        Generation::at(Duration::from_secs(seconds))
    }

    #[test]
    fn every_kind_of_name_is_generated() {
        let expected = |name, rtype| expected_answer(name, rtype);
        assert_eq!(
            expected("app3.drill.test", AddressType::Aaaa),
            ExpectedAnswer::Address { aliases: Vec::new(), ttl: 22 }
        );
        assert_eq!(expected("App6.Drill.Test.", AddressType::Aaaa), ExpectedAnswer::NoData);
        assert!(matches!(
            expected("app8.drill.test", AddressType::A),
            ExpectedAnswer::Address { aliases, .. } if aliases.len() == 2
        ));
        assert_eq!(expected("app9.drill.test.svc.cluster.test", AddressType::A), ExpectedAnswer::NxDomain);
        assert_eq!(expected("other.drill.test", AddressType::A), ExpectedAnswer::NxDomain);
        assert_eq!(questions(AppName::public(9)).len(), 3);
    }

    #[test]
    fn each_name_of_a_chain_exists() {
        let chain = |name| match expected_answer(name, AddressType::A) {
            ExpectedAnswer::Address { aliases, ttl } => (aliases, ttl),
            ExpectedAnswer::NoData | ExpectedAnswer::NxDomain => panic!("{name} does not exist"),
        };
        let (aliases, ttl) = chain("app18.drill.test");
        assert_eq!(aliases, ["alias18.drill.test", "target18.drill.test"]);
        assert_eq!(chain("alias18.drill.test"), (vec!["target18.drill.test".to_owned()], ttl));
        assert_eq!(chain("target18.drill.test"), (Vec::new(), ttl));
        assert_eq!(expected_answer("alias17.drill.test", AddressType::A), ExpectedAnswer::NxDomain);
    }

    #[test]
    fn names_of_both_domains_are_read_as_they_are_written() {
        for domain in [Domain::Public, Domain::Internal] {
            let name = AppName { index: 42, domain };
            assert_eq!(AppName::read(&name.text()), Some(name));
            assert!(matches!(expected_answer(&name.text(), AddressType::A), ExpectedAnswer::Address { .. }));
        }
        assert_eq!(AppName::read("app1.other.test"), None);
        assert_eq!(AppName::read("app1xinternal.test"), None);
    }

    #[test]
    fn names_with_a_given_ttl_are_found() {
        for ttl in 1..=30 {
            assert_eq!(super::ttl(index_with_ttl(ttl, 7)), ttl);
        }
        assert_ne!(index_with_ttl(6, 0), index_with_ttl(6, 1));
    }

    #[test]
    fn ttls_are_one_to_thirty_seconds() {
        let all: std::collections::BTreeSet<u32> = (0..300).map(ttl).collect();
        assert_eq!((all.first(), all.last(), all.len()), (Some(&1), Some(&30), 30));
    }

    #[test]
    fn an_address_shows_its_generation() {
        assert_eq!(Generation::in_rdata(&generation(1007).address_v4().octets()), Some(generation(7)));
        assert_eq!(Generation::in_rdata(&generation(1007).address_v6().octets()), Some(generation(7)));
    }

    #[test]
    fn an_answer_is_old_once_its_generation_lies_further_back_than_its_ttl() {
        assert!(!generation(100).is_older_than(5, generation(107)));
        assert!(generation(100).is_older_than(5, generation(108)));
        assert!(generation(245).is_older_than(5, generation(250 + 8)), "across the end of the cycle");
        assert!(!generation(101).is_older_than(5, generation(100)), "ahead of the client's clock by the rounding");
    }
}
