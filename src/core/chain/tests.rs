//! Tests each row of the table in [`super`], and the bounds of what is followed.

use super::*;
use crate::core::testing::{Response, name};

const A: u16 = message::TYPE_A;

/// A response to a question for the addresses of `www.example.com`.
fn response() -> Response {
    Response::new("www.example.com", A)
}

/// The ending of a chain, its strays, and the types of its parts in order; 0 is an alias that was
/// added.
fn follow(qtype: u16, response: Response) -> (Ending, Strays, Vec<u16>) {
    let bytes = response.bytes();
    let mut chain = AnswerChain::follow(qtype, &bytes).expect("a response");
    let (ending, strays) = (chain.ending, chain.strays);
    let parts = chain.in_order().map(|part| match part {
        AnswerPart::Record(start) => {
            message::read_u16(&bytes, message::skip_name(&bytes, start).expect("a name")).expect("a type")
        }
        AnswerPart::Synthesized(_) => 0,
    });
    (ending, strays, parts.collect())
}

fn is_in_order(response: Response) -> bool {
    AnswerChain::follow(A, &response.bytes()).expect("a response").is_in_order()
}

#[test]
fn data_at_qname_are_the_answer_in_whatever_case() {
    assert_eq!(follow(A, response().a("WWW.Example.com", 60)), (Ending::Data, Strays::None, vec![1]));
    assert!(is_in_order(response().a("WWW.Example.com", 60).a("www.example.com", 60)));
}

#[test]
fn data_at_the_end_of_a_chain_are_the_answer() {
    let chain = || response().cname("www.example.com", "a.example.net", 60).cname("a.example.net", "b.test", 60);
    assert_eq!(follow(A, chain().a("b.test", 60)), (Ending::Data, Strays::None, vec![5, 5, 1]));
    assert!(is_in_order(chain().a("b.test", 60)));
    assert_eq!(follow(A, chain()), (Ending::NoData, Strays::None, vec![5, 5]));
    assert_eq!(follow(A, chain().a("c.test", 60)), (Ending::NoData, Strays::Contradicting, vec![5, 5]));
}

#[test]
fn what_does_not_hang_on_the_chain_is_left_out() {
    let stray = response().a("other.example.net", 60).a("www.example.com", 60);
    assert_eq!(follow(A, stray), (Ending::Data, Strays::Contradicting, vec![1]));
    let only = response().a("other.example.net", 60);
    assert_eq!(follow(A, only), (Ending::NoData, Strays::Contradicting, vec![]));
    let other = response().record(6, "other.example.net", 16, 60, b"\x00");
    assert_eq!(follow(A, other), (Ending::NoData, Strays::Unrelated, vec![]));
    let wrong = response().record(6, "www.example.com", 28, 60, &[0; 16]);
    assert_eq!(follow(A, wrong), (Ending::NoData, Strays::OtherTypes, vec![]));
    assert!(!is_in_order(response().a("www.example.com", 60).a("other.example.net", 60)));
}

#[test]
fn a_record_of_another_class_is_no_data() {
    let mut bytes = response().a("www.example.com", 60).bytes();
    let class_at = bytes.len() - 4 - 2 - 4 - 1;
    bytes[class_at] = 3;
    let chain = AnswerChain::follow(A, &bytes).expect("a response");
    assert_eq!((chain.ending, chain.strays), (Ending::NoData, Strays::Unrelated));
    let any = AnswerChain::follow(message::TYPE_ANY, &bytes).expect("a response");
    assert_eq!(any.ending, Ending::NoData);
}

#[test]
fn aliases_come_first_and_the_order_of_an_rrset_stays() {
    let late = || {
        response()
            .a("b.test", 60)
            .cname("a.example.net", "b.test", 60)
            .record(6, "b.test", A, 60, &[192, 0, 2, 9])
            .cname("www.example.com", "a.example.net", 60)
    };
    assert_eq!(follow(A, late()), (Ending::Data, Strays::None, vec![5, 5, 1, 1]));
    assert!(!is_in_order(late()));
    let bytes = late().bytes();
    let mut chain = AnswerChain::follow(A, &bytes).expect("a response");
    let starts: Vec<usize> = chain
        .in_order()
        .filter_map(|part| if let AnswerPart::Record(start) = part { Some(start) } else { None })
        .collect();
    assert!(starts[0] > starts[1] && starts[2] < starts[3]);
}

#[test]
fn loops_and_chains_without_end_are_no_answer() {
    let own = response().cname("www.example.com", "WWW.example.com", 60);
    assert_eq!(follow(A, own).0, Ending::Endless);
    let two = response().cname("www.example.com", "a.test", 60).cname("a.test", "www.example.com", 60);
    assert_eq!(follow(A, two).0, Ending::Endless);
    let chain = |aliases: usize| {
        let hop = |index: usize| if index == 0 { "www.example.com".to_string() } else { format!("n{index}.test") };
        (0..aliases)
            .fold(response(), |response, index| response.cname(&hop(index), &hop(index + 1), 60))
            .a(&hop(aliases), 60)
    };
    assert_eq!(follow(A, chain(32)).0, Ending::Data);
    assert_eq!(follow(A, chain(33)).0, Ending::Endless);
}

#[test]
fn the_first_of_several_aliases_counts() {
    let two = response()
        .cname("www.example.com", "a.test", 60)
        .cname("www.example.com", "b.test", 60)
        .a("a.test", 60)
        .a("b.test", 60);
    assert_eq!(follow(A, two), (Ending::Data, Strays::Contradicting, vec![5, 1]));
}

#[test]
fn a_cname_that_is_asked_for_is_not_followed() {
    let alias = response().cname("www.example.com", "a.test", 60).cname("a.test", "b.test", 60);
    assert_eq!(follow(message::TYPE_CNAME, alias), (Ending::Data, Strays::Contradicting, vec![5]));
}

#[test]
fn any_takes_every_type_at_qname() {
    let all = response().a("www.example.com", 60).record(6, "www.example.com", 16, 60, b"\x00").a("a.test", 60);
    assert_eq!(follow(message::TYPE_ANY, all), (Ending::Data, Strays::Contradicting, vec![1, 16]));
}

#[test]
fn a_dname_with_its_cname_is_part_of_the_answer() {
    let redirected = response()
        .record(6, "example.com", 39, 60, &name("example.net"))
        .cname("www.example.com", "www.example.net", 60)
        .a("www.example.net", 60);
    assert_eq!(follow(A, redirected), (Ending::Data, Strays::None, vec![39, 5, 1]));
    let elsewhere = response()
        .record(6, "example.com", 39, 60, &name("example.net"))
        .cname("www.example.com", "www.example.org", 60)
        .a("www.example.org", 60);
    assert_eq!(follow(A, elsewhere), (Ending::Data, Strays::Unrelated, vec![5, 1]), "it leads elsewhere");
}

#[test]
fn a_dname_without_its_cname_gets_one() {
    let bare = || response().a("www.example.net", 60).record(6, "example.com", 39, 60, &name("example.net"));
    assert_eq!(follow(A, bare()), (Ending::Data, Strays::None, vec![39, 0, 1]));
    assert_eq!(follow(message::TYPE_CNAME, bare()).2, [39, 0]);
    let own = response().record(6, "www.example.com", 39, 60, &name("example.net"));
    assert_eq!(follow(A, own), (Ending::NoData, Strays::OtherTypes, vec![]), "a DNAME is no alias of its owner");
    assert_eq!(follow(message::TYPE_DNAME, response().record(6, "www.example.com", 39, 60, &name("a.test"))).2, [39]);
}

#[test]
fn a_dname_whose_target_is_too_long_leads_nowhere() {
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(60)].join(".");
    let chain = response().record(6, "example.com", 39, 60, &name(&long));
    assert_eq!(follow(A, chain).0, Ending::Endless);
    let growing = response().record(6, "com", 39, 60, &name("a.com"));
    assert_eq!(follow(A, growing).0, Ending::Endless, "it leads back below itself");
}

#[test]
fn signatures_stay_with_what_they_cover() {
    let signature = |response: Response, owner: &str, covers: u8| response.record(6, owner, 46, 60, &[0, covers, 8, 2]);
    let signed = signature(response().cname("www.example.com", "a.test", 60), "www.example.com", 5);
    let signed = signature(signed.a("a.test", 60), "a.test", 1);
    assert_eq!(follow(A, signed), (Ending::Data, Strays::None, vec![5, 46, 1, 46]));
    let other = signature(signature(response().a("www.example.com", 60), "www.example.com", 28), "a.test", 1);
    assert_eq!(follow(A, other), (Ending::Data, Strays::None, vec![1]));
    let alone = signature(response(), "www.example.com", 1);
    assert_eq!(follow(A, alone), (Ending::NoData, Strays::None, vec![]));
}

#[test]
fn an_error_code_has_no_data() {
    let denied = response().rcode(3).cname("www.example.com", "a.test", 60).a("a.test", 60);
    assert_eq!(follow(A, denied), (Ending::NoData, Strays::OtherTypes, vec![5]));
}

#[test]
fn the_least_ttl_is_that_of_the_answer_alone() {
    let bytes = response().cname("www.example.com", "a.test", 300).a("a.test", 60).a("other.test", 5).bytes();
    assert_eq!(AnswerChain::follow(A, &bytes).expect("a response").ttl, Some(60));
}

#[test]
fn names_are_read_whole_in_every_section() {
    for pointer in [[0xcf_u8, 0xff], [0xc0, 33], [0xc0, 4]] {
        for count_at in [7, 9, 11] {
            let mut bytes = response().bytes();
            bytes[count_at] = 1;
            bytes.extend(pointer);
            bytes.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
            assert!(AnswerChain::follow(A, &bytes).is_err(), "an owner {pointer:?}");
            let mut bytes = response().a("www.example.com", 60).bytes();
            bytes[count_at] += 1;
            bytes.extend([0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 4, 0, 10]);
            bytes.extend(pointer);
            let is_first = count_at == 7;
            let offset_of_itself = pointer == [0xc0, 33];
            // Offset 33 is the record before, so that pointer is a name in RDATA.
            assert_eq!(AnswerChain::follow(A, &bytes).is_err(), !offset_of_itself, "RDATA {pointer:?} {is_first}");
        }
    }
    let cut = response().record(6, "www.example.com", 5, 60, b"\x03abc");
    assert!(AnswerChain::follow(A, &cut.bytes()).is_err(), "a target that does not end");
    let trailing = response().record(6, "www.example.com", 5, 60, b"\x03abc\x00\x00");
    assert!(AnswerChain::follow(A, &trailing.bytes()).is_err(), "a target with something behind it");
}

#[test]
fn a_response_without_one_question_or_with_a_misplaced_opt_is_malformed() {
    for questions in [0, 2] {
        let mut bytes = response().bytes();
        bytes[5] = questions;
        assert!(AnswerChain::follow(A, &bytes).is_err());
    }
    for count_at in [6, 8] {
        let bytes = response().a("www.example.com", 60).record(count_at, "", 41, 0, &[]).bytes();
        assert!(AnswerChain::follow(A, &bytes).is_err());
    }
}
