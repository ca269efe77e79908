//! One question in many forms: what clients send beside the question multiplies nothing upstream,
//! where each further query would give a forger one more chance (the birthday attack).

use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::EdnsOption;
use holdover::config::settings::Settings;
use holdover::core::upstream::Role;

use crate::support::messages;
use crate::world::{Reaction, Sent, World, message, upstream};

/// How many clients ask at the same time.
const CLIENTS: u16 = 1_000;

/// The query of one client: case, client subnet, cookie, size, ID and port differ.
fn variant(client: u16) -> Vec<u8> {
    let name: String = "www.example.com."
        .chars()
        .enumerate()
        .map(|(place, letter)| if client >> (place % 10) & 1 == 1 { letter.to_ascii_uppercase() } else { letter })
        .collect();
    let mut query = messages::query(&name, RecordType::A);
    query.metadata.id = client.wrapping_mul(61);
    query.metadata.checking_disabled = client % 4 >= 2;
    let edns = query.edns.as_mut().unwrap();
    edns.set_max_payload(512 + client);
    if client % 2 == 1 {
        edns.set_dnssec_ok(true);
    }
    let [high, low] = client.to_be_bytes();
    for (code, data) in [(8, vec![0, 1, 24, 0, 198, high, low]), (10, vec![high, low, 1, 2, 3, 4, 5, 6])] {
        edns.options_mut().insert(EdnsOption::Unknown(code, data));
    }
    query.to_vec().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clients_with_options_of_their_own_are_one_question_for_each_of_do_and_cd() {
    let mut settings = Settings::standard();
    settings.upstreams = vec![upstream("192.0.2.53:53", Role::Primary)];
    let world = World::new(settings, 7, |sent: &Sent| match message::question(&sent.query) {
        Some((name, _)) if name == "www.example.com." => {
            Reaction::Answer(Duration::from_millis(150), message::positive(&sent.query, &["192.0.2.1"], 60))
        }
        _ => Reaction::Answer(Duration::from_millis(1), message::positive(&sent.query, &["192.0.2.2"], 60)),
    });
    let asked = (0..CLIENTS).map(|client| {
        let address = format!("192.0.2.99:{}", 2_000 + client).parse().unwrap();
        tokio::spawn(world.ask(variant(client), address))
    });
    for (client, reply) in (0..CLIENTS).zip(asked.collect::<Vec<_>>()) {
        let bytes = reply.await.unwrap().bytes.unwrap();
        let asked = variant(client);
        let question = 12..12 + 17;
        assert_eq!(bytes[question.clone()], asked[question], "in the case of this client");
        assert_eq!(messages::addresses(&Message::from_vec(&bytes).unwrap()), ["192.0.2.1"]);
    }
    let sent = world.network.sent.lock().unwrap();
    let mut classes = [0; 4];
    for query in sent.iter().filter_map(|sent| Message::from_vec(&sent.query).ok()) {
        if query.queries[0].name().to_ascii() != "www.example.com." {
            continue;
        }
        let edns = query.edns.as_ref();
        assert!(edns.is_none_or(|edns| edns.options().as_ref().is_empty()), "no option is passed on");
        let dnssec_ok = edns.is_some_and(|edns| edns.flags().dnssec_ok);
        classes[usize::from(dnssec_ok) + 2 * usize::from(query.metadata.checking_disabled)] += 1;
    }
    // A question may be sent again; it is never sent because somebody else asks it too.
    assert!(classes.iter().all(|queries| (1..=3).contains(queries)), "{classes:?}");
}
