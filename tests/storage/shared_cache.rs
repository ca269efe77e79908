//! The shared cache of a fleet, with real Redis servers: what one instance learned another one
//! answers, and nothing that happens to the cache server, or that somebody writes into it, harms a
//! query.

mod changes;
mod drill;
mod instance;
mod mistakes;
mod server;
mod trust;

use hickory_proto::op::ResponseCode;
use instance::{Instance, KEY};
use rustix::process::Signal;
use server::{Certificates, Server, cluster, is_here};

use crate::support::binary::{self, PATIENCE, Running, holdover, loopback, run};
use crate::support::files::write;
use crate::support::messages;
use crate::support::messages::{address, qname};
use crate::support::upstream::{Reaction, Upstream};

/// An upstream that answers every query with 192.0.2.1 and a TTL of five minutes.
fn upstream() -> Upstream {
    Upstream::answering(300, 1)
}

fn silent() -> Upstream {
    Upstream::silent()
}

/// The key of the cache server under which the answer to a name's type A lies.
fn key_of(group: &str, name: &str) -> Vec<u8> {
    let key = holdover::core::key::Key::new(&wire(name), 1, 1, holdover::core::key::Dnssec::default());
    [format!("holdover:{{{group}}}:").as_bytes(), key.as_bytes()].concat()
}

/// A name in wire format.
fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

/// Starts an instance that learns these names and publishes them.
#[track_caller]
fn teach(server_url: &str, names: &[&str], settings: &[(&str, &str)]) -> Instance {
    let upstream = upstream();
    let instance = Instance::start(upstream.address, server_url, settings);
    instance.wait_until_reached();
    for name in names {
        assert_eq!(instance.addresses(name), ["192.0.2.1"]);
    }
    instance.wait_until_published(names.len() as u64);
    // The upstream goes on answering until the test ends.
    std::mem::forget(upstream);
    instance
}

/// Settings of an instance that learns no names at its start, so that it has to ask the shared
/// cache for each.
const ASKS: &[(&str, &str)] = &[("START_NAMES", "0")];

// --- what the shared cache is for ---

#[test]
fn what_one_instance_learned_another_one_answers_while_its_upstream_is_silent() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]);
    let _first = teach(&server.url(), &["www.example.com"], &[]);
    let silent = silent();
    let second = Instance::start(silent.address, &server.url(), ASKS);
    second.wait_until_reached();
    assert_eq!(second.addresses("www.example.com"), ["192.0.2.1"]);
    assert_eq!(second.ask("unknown.example.com").metadata.response_code, ResponseCode::ServFail);
    assert!(second.count("lookups", "hit") >= 1 && second.count("lookups", "miss") >= 1, "{}", second.status());
    let left: i64 = server.tell(&[b"PTTL", &key_of("default", "www.example.com")]);
    assert!((86_000_000..=86_700_000).contains(&left), "it goes with its maximum stale: {left}");
}

#[test]
fn an_upstream_that_refuses_is_made_up_for_as_well_and_one_that_answers_is_not_second_guessed() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]);
    let _first = teach(&server.url(), &["www.example.com"], &[]);
    let second = Instance::start(loopback(), &server.url(), ASKS);
    second.wait_until_reached();
    assert_eq!(second.addresses("www.example.com"), ["192.0.2.1"]);
    let other = Upstream::start(|query, _| Reaction::Send(address(query, 300, 2)));
    let third = Instance::start(other.address, &server.url(), ASKS);
    third.wait_until_reached();
    assert_eq!(third.addresses("www.example.com"), ["192.0.2.2"]);
    assert_eq!(third.count("lookups", "hit"), 0);
}

#[test]
fn a_new_instance_first_learns_what_its_group_asks_for_most() {
    if !is_here() {
        return;
    }
    let mut server = Server::start(&[]);
    let names: Vec<String> = (0..100).map(|index| format!("n{index}.example.com")).collect();
    let upstream = upstream();
    let first = Instance::start(upstream.address, &server.url(), &[("GROUP", "web")]);
    first.wait_until_reached();
    for name in names.iter().chain(&names) {
        assert_eq!(first.addresses(name), ["192.0.2.1"]);
    }
    server.wait_until("the names are told", |own| own.say::<u64>(&["ZCARD", "holdover:{web}:hot"]) == 100);
    first.wait_until_published(100);
    let silent = silent();
    let mut second = Instance::start(silent.address, &server.url(), &[("GROUP", "web"), ("START_NAMES", "90")]);
    let told = second.process.wait_for("learned the most requested names").expect("it runs");
    assert!(told.contains("answers=90 names=90"), "{told}");
    server.kill();
    let known = names.iter().filter(|name| second.addresses(name) == ["192.0.2.1"]).count();
    assert_eq!(known, 90);
}

#[test]
fn what_a_seed_says_without_a_date_gives_way_to_what_the_group_learned() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]);
    let first = teach(&server.url(), &["www.example.com"], &[]);
    // Only names that were answered from the cache count as hot.
    assert_eq!(first.addresses("www.example.com"), ["192.0.2.1"]);
    server.wait_until("the name is told", |own| own.say::<u64>(&["ZCARD", "holdover:{default}:hot"]) == 1);
    let folder = tempfile::tempdir().unwrap();
    let by_hand = |name| format!(r#"{{"name": "{name}", "type": "A", "records": [{{"data": "192.0.2.77"}}]}}"#);
    let answers = format!("{},\n{}", by_hand("www.example.com"), by_hand("other.example.com"));
    let seed = write(
        folder.path(),
        "seed.json",
        &format!("{{\"format\": \"holdover-seed\", \"version\": 1, \"answers\": [\n{answers}\n]}}"),
    );
    let silent = silent();
    let mut second = Instance::start_with(silent.address, &server.url(), &[], |command| {
        command.arg("--seed").arg(&seed);
    });
    let told = second.process.wait_for("learned the most requested names").expect("it runs");
    assert!(told.contains("answers=1 "), "{told}");
    assert_eq!(second.addresses("www.example.com"), ["192.0.2.1"]);
    assert_eq!(second.addresses("other.example.com"), ["192.0.2.77"]);
}

// --- what happens to the cache server ---

#[test]
fn a_server_that_is_killed_harms_no_query_and_is_used_again_when_it_is_back() {
    if !is_here() {
        return;
    }
    let mut server = Server::start(&[]);
    let upstream = upstream();
    let mut instance = Instance::start(upstream.address, &server.url(), &[]);
    instance.wait_until_reached();
    assert_eq!(instance.addresses("www.example.com"), ["192.0.2.1"]);
    instance.wait_until_published(1);
    server.kill();
    for index in 0..20 {
        assert_eq!(instance.addresses(&format!("n{index}.example.com")), ["192.0.2.1"]);
    }
    instance.wait_until_lost();
    assert!(instance.process.wait_for("shared cache cannot be used").is_some());
    assert_eq!(instance.addresses("www.example.com"), ["192.0.2.1"]);
    let status = run(holdover().arg("status").arg("--admin").arg(instance.admin()));
    assert!(
        status.stdout.contains("shared cache redis://127.0.0.1:") && status.stdout.contains("NOT WORKING"),
        "{}",
        status.stdout
    );
    server.again();
    assert!(instance.process.wait_for("shared cache can be used again").is_some());
    instance.addresses("later.example.com");
    let key = key_of("default", "later.example.com");
    server.wait_until("it is fed again", |own| own.tell::<u64>(&[b"EXISTS", &key]) == 1);
}

#[test]
fn a_server_that_stalls_is_waited_for_only_until_its_breaker_opens() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]);
    let _first = teach(&server.url(), &["www.example.com"], &[]);
    let silent = silent();
    let mut second = Instance::start(silent.address, &server.url(), ASKS);
    second.wait_until_reached();
    server.signal(Signal::STOP);
    for index in 0..20 {
        assert_eq!(second.ask(&format!("n{index}.example.com")).metadata.response_code, ResponseCode::ServFail);
    }
    second.wait_until_lost();
    let (late, skipped) = (second.count("lookups", "timed_out"), second.count("lookups", "skipped"));
    assert!((1..=4).contains(&late) && late + skipped >= 20, "{late} late, {skipped} skipped");
    server.signal(Signal::CONT);
    assert!(second.process.wait_for("shared cache can be used again").is_some());
    assert_eq!(second.addresses("www.example.com"), ["192.0.2.1"]);
}

#[test]
fn a_user_needs_no_more_than_the_commands_that_the_readme_names() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]);
    let rights = "~holdover:* +getrange +set +zadd +zrevrange +zremrangebyscore +zremrangebyrank +pexpire";
    assert!(include_str!("../../README.md").contains(rights));
    let user: Vec<&str> = ["ACL", "SETUSER", "holdover", "on", ">pw"].into_iter().chain(rights.split(' ')).collect();
    server.say::<()>(&user);
    let folder = tempfile::tempdir().unwrap();
    let password = write(folder.path(), "password", "pw\n");
    let instance =
        teach(&server.url(), &["www.example.com"], &[("USERNAME", "holdover"), ("PASSWORD_FILE", &password)]);
    instance.addresses("www.example.com");
    server.wait_until("its names are told", |own| own.say::<u64>(&["ZCARD", "holdover:{default}:hot"]) == 1);
    server.wait_until("and expire", |own| own.say::<i64>(&["TTL", "holdover:{default}:hot"]) > 0);
    assert_eq!(instance.count("writes", "rejected"), 0);
}

#[test]
fn a_full_server_is_read_although_it_takes_nothing() {
    if !is_here() {
        return;
    }
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let mut first = teach(&server.url(), &["www.example.com"], &[]);
    server.say::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(first.addresses("more.example.com"), ["192.0.2.1"]);
    first.wait_until("it is refused", |status| status["writes"]["rejected"].as_u64() >= Some(1));
    assert!(first.process.wait_for("the shared cache rejects writes").unwrap().contains("OOM"));
    assert_eq!(first.status()["working"], true);
    let silent = silent();
    let second = Instance::start(silent.address, &server.url(), ASKS);
    second.wait_until_reached();
    assert_eq!(second.addresses("www.example.com"), ["192.0.2.1"]);
}

#[test]
fn what_was_flushed_does_not_come_back_until_somebody_learns_it_anew() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]);
    let _first = teach(&server.url(), &["wrong.example.com", "right.example.com"], &[]);
    let silent = silent();
    let second = Instance::start(silent.address, &server.url(), ASKS);
    second.wait_until_reached();
    assert_eq!(second.addresses("wrong.example.com"), ["192.0.2.1"]);
    let flushed = run(holdover().args(["cache", "flush", "wrong.example.com", "--admin"]).arg(second.admin()));
    assert_eq!(flushed.code(), 0, "{flushed:?}");
    assert_eq!(second.ask("wrong.example.com").metadata.response_code, ResponseCode::ServFail);
    assert_eq!(second.addresses("right.example.com"), ["192.0.2.1"], "of the others nothing was said");
    let corrected = Upstream::start(|query, _| Reaction::Send(address(query, 300, 2)));
    let third = Instance::start(corrected.address, &server.url(), ASKS);
    third.wait_until_reached();
    assert_eq!(third.addresses("wrong.example.com"), ["192.0.2.2"]);
    third.wait_until_published(1);
    // The instance remembers for a second or two that the shared cache had no answer.
    let end = std::time::Instant::now() + PATIENCE;
    while second.addresses("wrong.example.com") != ["192.0.2.2"] {
        assert!(std::time::Instant::now() < end, "it is not taken");
    }
}

// --- how the cache server is reached ---

#[test]
fn a_server_over_tls_has_to_prove_who_it_is() {
    if !is_here() {
        return;
    }
    let (ours, theirs) = (Certificates::make(), Certificates::make());
    let (ca, certificate, key) = (ours.text("ca.pem"), ours.text("server.pem"), ours.text("server.key"));
    let tls_port = binary::loopback().port().to_string();
    let tls =
        ["--tls-port", &tls_port, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let server = Server::start(&[&tls[..], &["--tls-auth-clients", "no"]].concat());
    let url = format!("rediss://127.0.0.1:{tls_port}");
    let _first = teach(&url, &["www.example.com"], &[("CA_FILE", &ca)]);
    let silent = silent();
    let second = Instance::start(silent.address, &url, &[("CA_FILE", &ca), ("START_NAMES", "0")]);
    second.wait_until_reached();
    assert_eq!(second.addresses("www.example.com"), ["192.0.2.1"]);
    for (url, ca) in [(url.clone(), theirs.text("ca.pem")), (format!("rediss://127.0.0.1:{}", server.port), ca)] {
        let fooled = Instance::start(silent.address, &url, &[("CA_FILE", &ca)]);
        fooled.wait_until("it is found out", |status| {
            status["problem"].as_str().is_some_and(|problem| problem.contains("TLS"))
        });
    }
}

#[test]
fn the_primary_that_the_sentinels_name_is_used_also_after_a_failover() {
    if !is_here() {
        return;
    }
    let mut primary = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    replica
        .wait_until("it follows", |own| own.say::<String>(&["INFO", "replication"]).contains("master_link_status:up"));
    let sentinel = Server::sentinel(primary.port);
    sentinel
        .wait_until("it knows both", |own| own.say::<Vec<redis::Value>>(&["SENTINEL", "replicas", "main"]).len() == 1);
    let url = format!("redis-sentinel://127.0.0.1:1,127.0.0.1:{}/main", sentinel.port);
    let upstream = upstream();
    let instance = Instance::start(upstream.address, &url, &[]);
    instance.wait_until_reached();
    instance.addresses("www.example.com");
    instance.wait_until_published(1);
    let key = key_of("default", "www.example.com");
    replica.wait_until("it has it as well", |own| own.tell::<u64>(&[b"EXISTS", &key]) == 1);
    primary.kill();
    replica.wait_until("it is promoted", |own| own.say::<String>(&["INFO", "replication"]).contains("role:master"));
    // What is learned while the connection breaks is not published; what is learned afterwards is.
    let asked = std::cell::Cell::new(0);
    replica.wait_until("it takes what is published", |own| {
        asked.set(asked.get() + 1);
        instance.addresses(&format!("n{}.example.com", asked.get()));
        own.say::<u64>(&["DBSIZE"]) > 1
    });
}

#[test]
fn any_members_of_a_cluster_point_to_the_one_that_has_the_group() {
    if !is_here() {
        return;
    }
    let members = cluster();
    let silent = silent();
    // Three groups lie in different slots; each is found from each member.
    for (group, member) in ["a", "b", "c"].into_iter().zip(&members) {
        let url = format!("redis-cluster://127.0.0.1:1,127.0.0.1:{}", member.port);
        let first = teach(&url, &["www.example.com"], &[("GROUP", group)]);
        first.addresses("www.example.com");
        let second = Instance::start(silent.address, &url, &[("GROUP", group), ("START_NAMES", "0")]);
        second.wait_until_reached();
        assert_eq!(second.addresses("www.example.com"), ["192.0.2.1"]);
    }
    let held = members.iter().filter(|member| member.say::<u64>(&["DBSIZE"]) > 0).count();
    assert!(held > 1, "the groups are spread");
}

#[test]
fn a_server_is_found_by_its_name_although_dns_is_down() {
    if !is_here() {
        return;
    }
    let mut server = Server::start(&[]);
    let upstream = Upstream::start(|query, _| {
        let is_cache = qname(query).to_string() == "cache.example.com.";
        if is_cache {
            Reaction::Send(messages::answer(query, 1, loopback_data()))
        } else {
            Reaction::Send(address(query, 300, 1))
        }
    });
    let _first = teach(&server.url(), &["www.example.com"], &[]);
    let url = format!("redis://cache.example.com:{}", server.port);
    let mut second = Instance::start(upstream.address, &url, ASKS);
    second.wait_until_reached();
    upstream.set(|_, _| Reaction::Silence);
    server.kill();
    assert_eq!(second.ask("n1.example.com").metadata.response_code, ResponseCode::ServFail);
    assert!(second.process.wait_for("shared cache cannot be used").is_some());
    server.again();
    assert!(second.process.wait_for("shared cache can be used again").is_some());
    let _third = teach(&server.url(), &["late.example.com"], &[]);
    assert_eq!(second.addresses("late.example.com"), ["192.0.2.1"]);
}

/// The RDATA of an A record for 127.0.0.1.
fn loopback_data() -> hickory_proto::rr::RData {
    hickory_proto::rr::RData::A(hickory_proto::rr::rdata::A::new(127, 0, 0, 1))
}
