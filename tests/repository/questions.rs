//! holdover's reading of DNS messages compared with hickory-proto's. The same queries are accepted,
//! with the same name, type, class and EDNS; the same TTLs are found in responses; and what a cache
//! entry answers is, for hickory, the response that made it, only older.
//!
//! Where the two differ on purpose, the test says so: hickory reads the RDATA of records, holdover
//! does not (RFC 3597), and a question's name is never compressed.

use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NULL, SOA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use holdover::config;
use holdover::core::answer::{self, Asked, ClientTransport, Shown};
use holdover::core::chain::AnswerChain;
use holdover::core::classify::{Verdict, classify, extended_errors};
use holdover::core::entry::Entry;
use holdover::core::key::Key;
use holdover::core::matching;
use holdover::core::message::{Header, Records};
use holdover::core::policy::Policy;
use holdover::core::question::{self, Received};
use holdover::core::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// The default policy.
fn policy() -> Policy {
    config::load(config::Flags::default(), std::iter::empty()).expect("the default configuration").policy
}

/// A name of up to five labels of any bytes.
fn any_name() -> impl Strategy<Value = Name> {
    vec(vec(any::<u8>(), 1..20), 0..5)
        .prop_map(|labels| Name::from_labels(labels.iter().map(Vec::as_slice)).expect("a name"))
}

/// A host name.
fn host() -> impl Strategy<Value = Name> {
    "[a-zA-Z0-9]{1,12}(\\.[a-z0-9-]{1,8}){0,3}\\.test\\."
        .prop_filter_map("labels of a host", |text| Name::from_ascii(text).ok())
}

/// A type that clients of resolvers ask for, which excludes the meta types.
fn qtype() -> impl Strategy<Value = u16> {
    prop_oneof![Just(1_u16), Just(28), Just(5), Just(16), Just(33), Just(64), Just(65), 260_u16..30_000]
}

/// Options that a client may send; holdover ignores them all.
fn edns() -> impl Strategy<Value = Option<Edns>> {
    let option = (65_001_u16..65_500, vec(any::<u8>(), 0..24));
    proptest::option::of((any::<u16>(), any::<bool>(), vec(option, 0..3)).prop_map(|(size, dnssec_ok, options)| {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        edns.set_dnssec_ok(dnssec_ok);
        for (code, data) in options {
            edns.options_mut().insert(EdnsOption::Unknown(code, data));
        }
        edns
    }))
}

/// A query as hickory writes it.
fn any_query() -> impl Strategy<Value = Vec<u8>> {
    (any::<u16>(), any_name(), qtype(), any::<[bool; 3]>(), edns()).prop_map(|(id, name, qtype, [rd, cd, ad], edns)| {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = rd;
        message.metadata.checking_disabled = cd;
        message.metadata.authentic_data = ad;
        message.add_query(Query::query(name, RecordType::from(qtype)));
        message.edns = edns;
        message.to_vec().expect("a query")
    })
}

/// Bytes near a query: changed, cut, or longer at random places.
fn near(base: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (base, vec(change, 0..4), any::<Option<prop::sample::Index>>(), vec(any::<u8>(), 0..6)).prop_map(
        |(mut bytes, changes, cut, tail)| {
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            bytes.extend(tail);
            bytes
        },
    )
}

/// One record of a kind that answers hold.
fn record() -> impl Strategy<Value = Record> {
    let text = vec("[ -~]{0,40}", 1..3);
    let data = prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| RData::A(A(octets.into()))),
        any::<[u8; 16]>().prop_map(|octets| RData::AAAA(AAAA(octets.into()))),
        host().prop_map(|name| RData::CNAME(CNAME(name))),
        (any::<u16>(), host()).prop_map(|(preference, name)| RData::MX(MX::new(preference, name))),
        text.prop_map(|strings| RData::TXT(TXT::new(strings))),
        (host(), host(), any::<u32>())
            .prop_map(|(m, r, serial)| RData::SOA(SOA::new(m, r, serial, 7200, 900, 86_400, 60))),
        (260_u16..30_000, vec(any::<u8>(), 1..60))
            .prop_map(|(code, bytes)| RData::Unknown { code: RecordType::from(code), rdata: NULL::with(bytes) }),
    ];
    (host(), prop_oneof![1_u32..100_000, Just(0x8000_0000), any::<u32>()], data)
        .prop_map(|(owner, ttl, data)| Record::from_rdata(owner, ttl, data))
}

/// A record that answers a question for this name and type.
fn fitting(name: &Name, qtype: u16, [a, b, c, d]: [u8; 4]) -> Record {
    let data = match qtype {
        28 => RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, u16::from(a), u16::from(b))),
        16 => RData::TXT(TXT::new(vec![format!("{a} {b}")])),
        260.. => RData::Unknown { code: RecordType::from(qtype), rdata: NULL::with(vec![a, b, c, d]) },
        _ => RData::A(A::new(a, b, c, d)),
    };
    Record::from_rdata(name.clone(), 60 * u32::from(a % 3), data)
}

/// A response as hickory writes it: names compressed, sections filled. Half of the responses hold
/// nothing but what answers the question.
fn response() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let answers = prop_oneof![vec(record(), 0..6).prop_map(Ok), vec(any::<[u8; 4]>(), 0..6).prop_map(Err)];
    (host(), qtype(), answers, vec(record(), 0..3), vec(record(), 0..3), any::<bool>(), edns()).prop_map(
        |(name, qtype, answers, authorities, additionals, missing, edns)| {
            let mut message = Message::new(7, MessageType::Response, OpCode::Query);
            message.metadata.recursion_available = true;
            message.metadata.recursion_desired = true;
            message.metadata.response_code = if missing { ResponseCode::NXDomain } else { ResponseCode::NoError };
            let answers = answers.unwrap_or_else(|fits: Vec<[u8; 4]>| {
                fits.into_iter().map(|seed| fitting(&name, qtype, seed)).collect()
            });
            message.add_query(Query::query(name, RecordType::from(qtype)));
            message.add_answers(answers);
            message.add_authorities(authorities);
            message.add_additionals(additionals);
            message.edns = edns;
            (qtype, message.to_vec().expect("a response"))
        },
    )
}

/// The records of all sections, in order, without the OPT.
fn records(message: &Message) -> Vec<&Record> {
    message.answers.iter().chain(&message.authorities).chain(&message.additionals).collect()
}

/// The TTLs of all records but the OPT, as holdover finds them; `None` if it cannot read the
/// message.
fn walked(message: &[u8]) -> Option<Vec<u32>> {
    let mut records = Records::new(message).ok()?;
    let mut ttls = Vec::new();
    while let Some(record) = records.next_record().ok()? {
        if record.rtype != 41 {
            ttls.push(record.ttl);
        }
    }
    Some(ttls)
}

/// A name in lower-cased wire form.
fn wire(name: &Name) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        name.iter().flat_map(|label| std::iter::once(label.len() as u8).chain(label.to_ascii_lowercase())).collect();
    bytes.push(0);
    bytes
}

/// A TTL as holdover understands it: values of 2^31 and more count as 0 (RFC 2181 §8).
fn sane(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// For each record the least TTL of its RRset (RFC 2181 §5.2).
fn least_ttls(message: &Message) -> Vec<u32> {
    let least = |section: &[Record]| -> Vec<u32> {
        let same = |one: &Record, other: &Record| (&one.name, one.record_type()) == (&other.name, other.record_type());
        let of = |one| section.iter().filter(|other| same(one, other)).map(|other| sane(other.ttl)).min();
        section.iter().map(|one| of(one).unwrap()).collect()
    };
    [least(&message.answers), least(&message.authorities), least(&message.additionals)].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_query_says_the_same_to_both(packet in any_query()) {
        let theirs = Message::from_vec(&packet).expect("hickory's own");
        let Received::Query(ours) = question::read(&packet) else { panic!("refused {packet:02x?}") };
        let asked = &theirs.queries[0];
        prop_assert_eq!(ours.key.name(), wire(asked.name()));
        prop_assert_eq!(ours.key.qtype(), u16::from(asked.query_type()));
        prop_assert_eq!(ours.key.qclass(), u16::from(asked.query_class()));
        prop_assert_eq!(ours.echo.id, theirs.metadata.id);
        prop_assert_eq!(ours.key.dnssec().checking_disabled, theirs.metadata.checking_disabled);
        let edns = theirs.edns.as_ref();
        prop_assert_eq!(ours.key.dnssec().dnssec_ok, edns.is_some_and(|edns| edns.flags().dnssec_ok));
        prop_assert_eq!(ours.echo.edns.is_some(), edns.is_some());
    }

    #[test]
    fn what_we_take_for_a_query_hickory_reads_the_same(packet in near(any_query())) {
        if let Received::Query(ours) = question::read(&packet) {
            let mut reader = hickory_proto::serialize::binary::BinDecoder::new(&packet[12..]);
            let theirs: Query = hickory_proto::serialize::binary::BinDecodable::read(&mut reader).expect("a question");
            prop_assert_eq!(ours.key.name(), wire(theirs.name()));
            prop_assert_eq!(ours.key.qtype(), u16::from(theirs.query_type()));
            prop_assert_eq!(DNSClass::from(ours.key.qclass()), theirs.query_class());
            prop_assert_eq!(ours.echo.question_end, 12 + reader.index());
        }
    }

    #[test]
    fn what_hickory_takes_for_a_plain_query_we_do_not_refuse(packet in near(any_query())) {
        let Ok(theirs) = Message::from_vec(&packet) else { return Ok(()) };
        let plain = theirs.metadata.message_type == MessageType::Query
            && theirs.metadata.op_code == OpCode::Query
            && theirs.queries.len() == 1
            && theirs.queries[0].query_class() == DNSClass::IN
            && theirs.edns.as_ref().is_none_or(|edns| edns.version() == 0);
        // hickory follows compression pointers in a question, which no client of a resolver needs.
        let compressed = walked(&packet).is_none()
            || Header::read(&packet).is_ok() && packet[12..].iter().any(|byte| *byte >= 0xc0);
        let meta = theirs.queries.first().is_some_and(|query| {
            let code = u16::from(query.query_type());
            code == 0 || code == 41 || (128..=255).contains(&code)
        });
        if plain && !compressed && !meta {
            prop_assert!(matches!(question::read(&packet), Received::Query(_)), "{:?} refused", theirs);
        }
    }

    #[test]
    fn the_walk_finds_the_ttls_that_hickory_reads((_, bytes) in response()) {
        let theirs = Message::from_vec(&bytes).expect("hickory's own");
        let expected: Vec<u32> = records(&theirs).iter().map(|record| record.ttl).collect();
        prop_assert_eq!(walked(&bytes), Some(expected));
    }

    #[test]
    fn an_answer_is_the_response_only_older((qtype, bytes) in response(), age in 0_u32..4_000, stale in any::<bool>()) {
        let policy = policy();
        let theirs = Message::from_vec(&bytes).expect("hickory's own");
        let mut query = Message::new(99, MessageType::Query, OpCode::Query);
        query.add_query(theirs.queries[0].clone());
        query.edns = Some(Edns::new());
        let packet = query.to_vec().expect("a query");
        let Received::Query(read) = question::read(&packet) else { panic!("refused") };
        let verdict = classify(qtype, &bytes);
        if matches!(verdict, Verdict::Failed(_) | Verdict::Truncated)
            || !AnswerChain::follow(qtype, &bytes).is_ok_and(|chain| chain.is_in_order())
        {
            return Ok(());
        }
        let entry = Entry::remember(&read.key, &bytes, verdict, &policy, NOW).expect("an entry").entry;
        let shown = if stale { Shown::Stale { ttl: Duration::from_secs(30) } } else { Shown::Fresh };
        let mut out = vec![0; answer::room(&entry)];
        let asked = Asked { packet: &packet, echo: read.echo, transport: ClientTransport::Stream };
        let later = NOW.plus(Duration::from_secs(u64::from(age)));
        let length = answer::write_entry(&asked, &entry, shown, later, &mut out);
        let given = Message::from_vec(&out[..length]).expect("hickory reads our answer");
        prop_assert_eq!(given.metadata.id, 99);
        prop_assert_eq!(given.metadata.response_code, theirs.metadata.response_code);
        prop_assert_eq!(&given.queries, &theirs.queries);
        prop_assert!(given.edns.is_some(), "the OPT is answered");
        let least = least_ttls(&theirs);
        let (given, kept) = (records(&given), records(&theirs));
        prop_assert_eq!(given.len(), kept.len());
        for ((given, kept), whole) in given.iter().zip(&kept).zip(least) {
            prop_assert_eq!((&given.name, &given.data), (&kept.name, &kept.data));
            if stale {
                prop_assert!(given.ttl >= 1 && given.ttl <= 30 && given.ttl <= whole.max(1));
            } else {
                prop_assert!(given.ttl <= whole.saturating_sub(age));
                prop_assert!(given.ttl == whole.saturating_sub(age) || whole > 30, "only caps shorten a TTL");
            }
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in near(prop_oneof![
        any_query().boxed(),
        response().prop_map(|(_, bytes)| bytes).boxed(),
        vec(any::<u8>(), 1..600).boxed(),
    ])) {
        let policy = policy();
        let key = match question::read(&bytes) {
            Received::Query(query) => query.key,
            Received::Error(..) | Received::Drop(_) => {
                Key::new(&[4, b't', b'e', b's', b't', 0], 1, 1, Default::default())
            }
        };
        let verdict = classify(key.qtype(), &bytes);
        let _ = Entry::remember(&key, &bytes, verdict, &policy, NOW);
        let _ = Entry::from_truncated(&key, &bytes, &policy, NOW);
        let _ = matching::accepts(&bytes, &bytes);
        prop_assert!(extended_errors(&bytes, 256).len() <= 256);
    }
}
