//! Upstreams that stumble over an OPT (RFC 6891 §6.2.2), and names that do so at an upstream that
//! knows EDNS.

use std::sync::{Arc, Mutex};

use hickory_proto::op::{Edns, Message};

use super::*;

/// A name in a zone of its own.
fn unrelated(number: usize) -> String {
    format!("www.site{number}.test.")
}

/// The address of the name in a query, and an OPT for who sent one.
fn extended(query: &Message) -> Vec<u8> {
    let mut message = Message::from_vec(&address(query, 60, 1)).unwrap();
    if query.edns.is_some() {
        message.edns = Some(Edns::new());
    }
    message.to_vec().unwrap()
}

/// Turns a query into its response and appends an address behind the OPT, which so becomes the
/// answer.
fn appended(query: &Message) -> Vec<u8> {
    let mut bytes = query.to_vec().unwrap();
    bytes[2] |= 0x80;
    bytes[3] |= 0x80;
    bytes[6..8].copy_from_slice(&[0, 1]);
    bytes[10..12].copy_from_slice(&[0, 0]);
    bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    bytes
}

/// Counts an OPT that it does not send.
fn promised(query: &Message) -> Vec<u8> {
    let mut bytes = address(query, 60, 1);
    bytes[11] = u8::from(query.edns.is_some());
    bytes
}

/// Responds like this to what has an OPT, and well to what has none.
fn stumbling(how: impl Fn(&Message) -> Reaction + Send + Sync + 'static) -> Upstream {
    Upstream::start(
        move |query, _| if query.edns.is_some() { how(query) } else { Reaction::Send(address(query, 60, 1)) },
    )
}

fn rcode(code: ResponseCode) -> impl Fn(&Message) -> Reaction {
    move |query| Reaction::Send(response(query, code).to_vec().unwrap())
}

/// BADVERS, whose upper bits stand in an OPT.
fn bad_version(query: &Message) -> Vec<u8> {
    let mut message = response(query, ResponseCode::BADVERS);
    message.edns = Some(Edns::new());
    message.to_vec().unwrap()
}

#[test]
fn whatever_an_upstream_makes_of_opt_each_name_resolves_and_soon_at_once() {
    let upstreams = [
        ("silence", stumbling(|_| Reaction::Silence)),
        ("FORMERR", stumbling(rcode(ResponseCode::FormErr))),
        ("NOTIMP", stumbling(rcode(ResponseCode::NotImp))),
        ("BADVERS", stumbling(|query| Reaction::Send(bad_version(query)))),
        ("SERVFAIL", stumbling(rcode(ResponseCode::ServFail))),
        ("REFUSED", stumbling(rcode(ResponseCode::Refused))),
        ("OPT as the answer", stumbling(|query| Reaction::Send(appended(query)))),
        ("OPT promised", stumbling(|query| Reaction::Send(promised(query)))),
        (
            "half a header",
            stumbling(|query| {
                Reaction::Send(
                    [query.to_vec().unwrap()[..2].to_vec(), vec![0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 0]].concat(),
                )
            }),
        ),
    ];
    for (what, upstream) in upstreams {
        let sidecar = Sidecar::start(settings(&upstream));
        for number in 0..4 {
            let asked = Instant::now();
            let reply = sidecar.ask(&query(&unrelated(number), RecordType::A));
            assert_eq!(addresses(&reply), ["192.0.2.1"], "{what}: {number}");
            assert!(asked.elapsed() < Duration::from_secs(3), "{what}: {:?}", asked.elapsed());
        }
        // Three unrelated names show that it is the upstream's habit.
        let (seen, asked) = (upstream.seen(), Instant::now());
        assert_eq!(addresses(&sidecar.ask(&query(&unrelated(9), RecordType::A))), ["192.0.2.1"], "{what}");
        assert!(asked.elapsed() < Duration::from_millis(150), "{what}: {:?}", asked.elapsed());
        // A witness may be under way.
        assert!(upstream.seen() <= seen + 2, "{what}");
    }
}

#[test]
fn three_upstreams_that_drop_opt_are_of_use() {
    let upstreams = [(); 3].map(|()| stumbling(|_| Reaction::Silence));
    let mut settings = settings(&upstreams[0]);
    settings.upstreams[0].addresses = upstreams.iter().map(|upstream| upstream.address).collect();
    let sidecar = Sidecar::start(settings);
    for number in 0..5 {
        let reply = sidecar.ask(&query(&unrelated(number), RecordType::A));
        assert_eq!(addresses(&reply), ["192.0.2.1"], "{number}");
    }
}

#[test]
fn odd_names_do_not_take_edns_from_others() {
    let with_do = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&with_do);
    let upstream = Upstream::start(move |query, _| {
        let is_odd = qname(query).to_string().starts_with("odd");
        if let Some(edns) = query.edns.as_ref().filter(|_| !is_odd) {
            heard.lock().unwrap().push(edns.flags().dnssec_ok);
        }
        match (is_odd, &query.edns) {
            (true, Some(_)) => Reaction::Send(response(query, ResponseCode::FormErr).to_vec().unwrap()),
            (true, None) | (false, _) => Reaction::Send(extended(query)),
        }
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let signed = |name: &str| {
        let mut asked = query(name, RecordType::A);
        asked.edns.as_mut().unwrap().set_dnssec_ok(true);
        asked
    };
    // Not even many of them, of zones that have nothing in common.
    for number in 0..12 {
        let odd = sidecar.ask(&query(&format!("odd.site{number}.test."), RecordType::A));
        assert_eq!(addresses(&odd), ["192.0.2.1"]);
        with_do.lock().unwrap().clear();
        sidecar.ask(&signed(&unrelated(number)));
        assert_eq!(*with_do.lock().unwrap(), [true], "{number}");
    }
}
