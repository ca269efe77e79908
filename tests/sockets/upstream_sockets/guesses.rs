//! What a forger has to guess: message IDs and source ports are spread evenly, have nothing to do
//! with each other, and do not come again after a restart.

use holdover::adapters::chance::SystemChance;
use holdover::resolver::ports::Chance;

use super::*;

/// Queries whose IDs and ports are looked at.
const QUERIES: usize = 100_000;

/// The range from which Linux draws ports.
fn port_range() -> (f64, f64) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let bounds: Vec<f64> = text.split_whitespace().map(|bound| bound.parse().unwrap()).collect();
    (bounds[0], bounds[1] + 1.0)
}

/// Asserts that numbers below `classes` come equally often: chi-square stays within eight standard
/// deviations of its mean, which chance exceeds less than once in a billion runs.
pub(crate) fn assert_even(what: &str, drawn: impl Iterator<Item = usize>, classes: usize) {
    let mut counts = vec![0_f64; classes];
    drawn.for_each(|class| counts[class] += 1.0);
    let expected = counts.iter().sum::<f64>() / classes as f64;
    let chi_square: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
    let freedom = classes as f64 - 1.0;
    let bound = freedom + 8.0 * (2.0 * freedom).sqrt();
    assert!(chi_square < bound, "{what}: chi-square is {chi_square:.0}, the bound {bound:.0}");
}

/// The class, of so many, of a port in the range from which ports are drawn.
pub(crate) fn class_of_port(port: u16, classes: usize) -> usize {
    let (least, end) = port_range();
    ((f64::from(port) - least) / (end - least) * classes as f64) as usize
}

fn ids(chance: &SystemChance) -> Vec<u16> {
    // As the resolver takes them.
    let id = |number: u64| u16::from_be_bytes([number.to_be_bytes()[0], number.to_be_bytes()[1]]);
    (0..QUERIES).map(|_| id(chance.number())).collect()
}

#[test]
fn ids_are_even_and_differ_after_a_restart() {
    let (before, after) = (ids(&SystemChance::new().unwrap()), ids(&SystemChance::new().unwrap()));
    assert_even("high bytes", before.iter().map(|id| usize::from(id >> 8)), 256);
    assert_even("low bytes", before.iter().map(|id| usize::from(id & 255)), 256);
    let steps = before.windows(2).map(|pair| usize::from(pair[1].wrapping_sub(pair[0]) >> 8));
    assert_even("steps from one to the next", steps, 256);
    // Of 65 536 numbers, 100 000 draws hit 51 289 on average, give or take 113.
    let distinct = before.iter().collect::<std::collections::HashSet<_>>().len();
    assert!((50_300..52_300).contains(&distinct), "{distinct}");
    let equal = before.iter().zip(&after).filter(|(before, after)| before == after).count();
    assert!(equal < 20, "{equal} of {QUERIES} are the same again, where 1.5 are by chance");
}

/// The ports from which a new transport sends so many queries.
async fn ports(queries: usize) -> Vec<u16> {
    let (socket, server) = udp_server().await;
    let socket = socket.into_std().unwrap();
    socket.set_nonblocking(false).unwrap();
    let seen = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let mut ports = Vec::with_capacity(queries);
        while ports.len() < queries {
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            ports.push(client.port());
            buffer[2] |= 0x80;
            socket.send_to(&buffer[..length], client).unwrap();
        }
        ports
    });
    let wire = SocketTransport::new(LIMITS);
    for id in 0..queries {
        wire.exchange(&Endpoint::udp(server), query(id as u16, "www")).await.unwrap();
    }
    seen.join().unwrap()
}

#[tokio::test]
async fn source_ports_are_even_and_differ_after_a_restart() {
    let (before, after) = (ports(QUERIES).await, ports(1_000).await);
    assert_even("ports", before.iter().map(|port| class_of_port(*port, 256)), 256);
    let steps = before.windows(2).map(|pair| usize::from(pair[1].wrapping_sub(pair[0]) & 255));
    assert_even("last bytes of the steps from one to the next", steps, 256);
    let equal = before.iter().zip(&after).filter(|(before, after)| before == after).count();
    assert!(equal < 10, "{equal} of 1000 ports are the same again");
}
