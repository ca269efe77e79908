//! What counts as an answer: responses that a grammar makes, put together of names that hang
//! together and names that do not, read by holdover and by a second reading of the same rules that
//! works on what hickory-proto parsed. Both must come to the same verdict, and what is kept must
//! hold exactly the records that answer the question, aliases first, each RRset with one TTL.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use holdover::config::settings::Settings;
use holdover::core::classify::{Failure, Kind, Verdict, Vouched, classify};
use holdover::core::entry::Entry;
use holdover::core::key::{Dnssec, Key};
use holdover::core::record;
use holdover::core::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
/// The names of the grammar; the first is asked for.
const NAMES: [&str; 7] = [
    "www.example.com.",
    "a.example.com.",
    "www.example.net.",
    "a.example.net.",
    "example.com.",
    "example.net.",
    "com.",
];
const DNAME: RecordType = RecordType::DNAME;

fn name(index: usize) -> Name {
    Name::from_ascii(NAMES[index]).unwrap()
}

/// A name in wire form.
fn wire(name: &Name) -> Vec<u8> {
    let labels = name.iter().flat_map(|label| std::iter::once(label.len() as u8).chain(label.iter().copied()));
    labels.chain([0]).collect()
}

/// One record of the grammar.
fn a_record() -> impl Strategy<Value = Record> {
    let target = 0..NAMES.len();
    let data = prop_oneof![
        4 => any::<u8>().prop_map(|last| RData::A(A::new(192, 0, 2, last))),
        1 => any::<u8>().prop_map(|last| RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)))),
        4 => target.clone().prop_map(|target| RData::CNAME(CNAME(name(target)))),
        1 => target.clone().prop_map(|target| RData::MX(MX::new(10, name(target)))),
        1 => target.prop_map(|target| RData::Unknown { code: DNAME, rdata: NULL::with(wire(&name(target))) }),
    ];
    let owner = prop_oneof![4 => 0_usize..4, 1 => 0..NAMES.len()];
    (owner, select(vec![0_u32, 1, 60, 60, 300, 0x8000_0001]), data, any::<bool>()).prop_map(
        |(owner, ttl, data, upper)| {
            let owner = if upper { Name::from_ascii(NAMES[owner].to_uppercase()).unwrap() } else { name(owner) };
            Record::from_rdata(owner, ttl, data)
        },
    )
}

/// A response to the question for the first name.
fn a_response() -> impl Strategy<Value = Message> {
    let soa = proptest::option::of((0..NAMES.len(), select(vec![0_u32, 5, 300])));
    let code = prop_oneof![4 => Just(ResponseCode::NoError), 1 => Just(ResponseCode::NXDomain)];
    let qtype = select(vec![RecordType::A, RecordType::A, RecordType::A, RecordType::MX, RecordType::CNAME]);
    let additional = vec(a_record(), 0..2);
    (qtype, vec(a_record(), 0..7), soa, code, any::<[bool; 4]>(), additional).prop_map(
        |(qtype, answers, soa, code, [authoritative, recursive, referral, edns], additional)| {
            let mut message = Message::new(7, MessageType::Response, OpCode::Query);
            message.metadata.authoritative = authoritative;
            message.metadata.recursion_available = recursive;
            message.metadata.response_code = code;
            message.add_query(Query::query(name(0), qtype));
            message.add_answers(answers);
            if let Some((owner, ttl)) = soa {
                let soa = SOA::new(name(5), name(6), 1, 3600, 600, 86_400, 30);
                message.add_authority(Record::from_rdata(name(owner), ttl, RData::SOA(soa)));
            }
            if referral {
                message.add_authority(Record::from_rdata(name(4), 60, RData::NS(NS(name(5)))));
            }
            message.add_additionals(additional);
            message.edns = edns.then(Edns::new);
            message
        },
    )
}

/// Target of an alias record.
fn target(record: &Record) -> Option<Name> {
    match &record.data {
        RData::CNAME(target) => Some(target.0.clone()),
        RData::Unknown { code, rdata } if *code == DNAME => {
            let mut reader = hickory_proto::serialize::binary::BinDecoder::new(&rdata.anything);
            hickory_proto::serialize::binary::BinDecodable::read(&mut reader).ok()
        }
        _ => None,
    }
}

/// Where a DNAME leads from a name.
fn redirected(dname: &Record, from: &Name) -> Option<Name> {
    let below = dname.name.zone_of(from) && dname.name != *from;
    let kept = usize::from(from.num_labels()).checked_sub(usize::from(dname.name.num_labels()))?;
    let labels = from.iter().take(kept).map(<[u8]>::to_vec).collect::<Vec<_>>();
    below.then(|| Name::from_labels(labels).unwrap().append_name(&target(dname)?).ok()).flatten()
}

/// What a response says by the rules: its answer section as it is kept, in order, with data or not;
/// `None` when it is no answer.
struct Reading {
    records: Vec<Record>,
    end: Name,
    has_data: bool,
}

/// Reads the answer section of a message by the rules.
fn read(message: &Message) -> Option<Reading> {
    let qtype = message.queries[0].query_type();
    let denied = message.metadata.response_code == ResponseCode::NXDomain;
    let mut visited = vec![];
    let mut reading = Reading { records: vec![], end: name(0), has_data: false };
    let of = |owner: &Name, rtype| -> Vec<Record> {
        let fits = |record: &&Record| record.name == *owner && record.record_type() == rtype;
        message.answers.iter().filter(fits).cloned().collect()
    };
    let dnames = || message.answers.iter().filter(|record| record.record_type() == DNAME);
    loop {
        let here = reading.end.clone();
        if visited.contains(&here) || visited.len() > 32 {
            return None;
        }
        visited.push(here.clone());
        let data = of(&here, qtype);
        let alias = of(&here, RecordType::CNAME).into_iter().next();
        let goes_to = alias.as_ref().and_then(target);
        let add_dname = |records: &mut Vec<Record>, goes_to: &Name| {
            let found = dnames().find(|dname| redirected(dname, &here).as_ref() == Some(goes_to));
            records.extend(found.filter(|found| !records.contains(found)).cloned());
        };
        if !denied && !data.is_empty() {
            if qtype == RecordType::CNAME {
                add_dname(&mut reading.records, goes_to.as_ref()?);
            }
            reading.records.extend(data);
            reading.has_data = true;
            break;
        }
        if let (Some(alias), Some(goes_to)) = (alias, goes_to) {
            add_dname(&mut reading.records, &goes_to);
            reading.records.push(alias);
            reading.end = goes_to;
        } else if let Some(dname) = dnames().find(|dname| redirected(dname, &here).is_some()) {
            let goes_to = redirected(dname, &here)?;
            add_dname(&mut reading.records, &goes_to);
            reading.records.push(Record::from_rdata(here.clone(), dname.ttl, RData::CNAME(CNAME(goes_to.clone()))));
            reading.end = goes_to;
            if !denied && qtype == RecordType::CNAME {
                reading.has_data = true;
                break;
            }
        } else if dnames().any(|dname| dname.name.zone_of(&here) && dname.name != here) {
            // Its target would be longer than a name may be.
            return None;
        } else {
            break;
        }
    }
    if !reading.has_data && !denied {
        let mut strays = message.answers.iter().filter(|record| !visited.contains(&record.name));
        let elsewhere = strays.clone().count() > 0;
        if strays.any(|record| record.record_type() == qtype) || elsewhere && visited.len() == 1 {
            return None;
        }
    }
    Some(reading)
}

fn sane(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// The verdict that follows from a reading.
fn expected(message: &Message, reading: &Reading) -> Verdict {
    let ttl = reading.records.iter().map(|record| sane(record.ttl)).min();
    if reading.has_data {
        return Verdict::Positive { ttl: ttl.unwrap() };
    }
    let soa = message
        .authorities
        .iter()
        .find(|record| record.record_type() == RecordType::SOA && record.name.zone_of(&reading.end));
    let vouched = soa.map_or(Vouched::Not, |soa| Vouched::BySoa(soa.ttl.min(30).min(ttl.unwrap_or(u32::MAX))));
    let kind = if message.metadata.response_code == ResponseCode::NXDomain { Kind::NxDomain } else { Kind::NoData };
    let referral = message.authorities.iter().any(|record| record.record_type() == RecordType::NS);
    let is_lame = !message.metadata.authoritative && (!message.metadata.recursion_available || referral);
    if kind == Kind::NoData && soa.is_none() && reading.records.is_empty() && is_lame {
        return Verdict::Failed(Failure::Lame);
    }
    Verdict::Negative { kind, vouched, chain: ttl }
}

/// A record for comparison: owner and names in lower case, without the TTL.
fn plain(record: &Record) -> String {
    format!(
        "{} {} {:?}",
        record.name,
        record.record_type(),
        target(record).map_or_else(|| record.data.to_string(), |target| target.to_string())
    )
    .to_lowercase()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn two_readings_of_the_rules_agree(message in a_response()) {
        let bytes = message.to_vec().unwrap();
        let qtype = u16::from(message.queries[0].query_type());
        let key = Key::new(&wire(&name(0)), qtype, 1, Dnssec::default());
        let verdict = classify(qtype, &bytes);
        let Some(reading) = read(&message) else {
            prop_assert_eq!(verdict, Verdict::Failed(Failure::Malformed));
            return Ok(());
        };
        prop_assert_eq!(verdict, expected(&message, &reading));
        if matches!(verdict, Verdict::Failed(_)) {
            return Ok(());
        }
        // What is kept holds the answer and nothing else, aliases first.
        let policy = Settings::standard().policy;
        let entry = Entry::remember(&key, &bytes, verdict, &policy, NOW).unwrap().entry;
        let kept = Message::from_vec(entry.wire()).unwrap();
        let given: Vec<String> = kept.answers.iter().map(plain).collect();
        let first_data = kept.answers.iter().position(|record| target(record).is_none());
        let last_alias = kept.answers.iter().rposition(|record| target(record).is_some());
        let is_alias_asked_for = qtype == 5;
        prop_assert!(is_alias_asked_for || first_data.is_none() || last_alias.is_none() || last_alias < first_data);
        let (mut sorted, mut wanted) = (given, reading.records.iter().map(plain).collect::<Vec<_>>());
        sorted.sort();
        wanted.sort();
        prop_assert_eq!(sorted, wanted);
        for one in &kept.answers {
            for other in &kept.answers {
                let same = one.name == other.name && one.record_type() == other.record_type();
                prop_assert!(!same || one.ttl == other.ttl, "one RRset has one TTL");
            }
        }
        // What is kept says the same when it is read again, and stays as it is.
        let again = classify(qtype, entry.wire());
        prop_assert_eq!(again, verdict);
        let mut written = Vec::new();
        record::write(&entry, 7, &mut written);
        prop_assert_eq!(&record::read(&key, &written).unwrap().entry, &entry);
    }
}
