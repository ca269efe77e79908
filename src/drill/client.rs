//! One lookup as a stub resolver makes it: a socket of its own, a second of patience, one retry.
//!
//! That is glibc with `options timeout:1 attempts:2`, which is common in the field; a closed port
//! or SERVFAIL moves on to the second try at once, as glibc does.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::zone::{self, Question, Truth, Type};
use crate::core::classify;
use crate::core::key::{Dnssec, Key};
use crate::core::message::{self, Header, Records, Section};
use crate::core::upstream_query::{self, Extension};

/// How long one try waits.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// Tries.
const TRIES: u32 = 2;
/// Largest answer that is read.
const ANSWER_MAX: usize = 4096;

/// What came of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The right answer, within its TTL.
    Fresh,
    /// The right kind of answer, and said to be stale, or older than its TTL allows.
    Stale,
    /// Another kind of answer than is true: a denial of what exists, say.
    Wrong,
    /// SERVFAIL, silence, a closed port.
    Failed,
}

/// A question as bytes, ready to be sent.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The question and what is true.
    pub question: Question,
    /// The query; its ID is set anew for each try.
    packet: Vec<u8>,
}

impl Prepared {
    /// Prepares a question; with EDNS the answer can say that it is stale.
    #[must_use]
    pub fn new(question: Question, extension: Extension) -> Self {
        let mut name = Vec::new();
        for label in question.name.split('.') {
            name.push(u8::try_from(label.len()).unwrap_or(0));
            name.extend_from_slice(label.as_bytes());
        }
        name.push(0);
        let rtype = match question.rtype {
            Type::A => 1,
            Type::Aaaa => 28,
        };
        let packet = upstream_query::write(&Key::new(&name, rtype, 1, Dnssec::default()), 0, extension);
        Self { question, packet }
    }

    /// The query with this ID.
    #[must_use]
    pub fn query(&self, id: u16) -> Vec<u8> {
        let mut packet = self.packet.clone();
        for (to, from) in packet.iter_mut().zip(id.to_be_bytes()) {
            *to = from;
        }
        packet
    }

    /// Looks it up; `id` makes its message IDs, `zone_began` is when generation 0 was.
    pub async fn look_up(&self, server: SocketAddr, id: u16, zone_began: Instant) -> Outcome {
        for attempt in 0..TRIES {
            let id = id.wrapping_add(u16::try_from(attempt).unwrap_or_default());
            if let Some(answer) = self.attempt(server, id).await {
                let outcome = self.judge(&answer, zone_began);
                if outcome != Outcome::Failed {
                    return outcome;
                }
            }
        }
        Outcome::Failed
    }

    /// Sends once and waits.
    async fn attempt(&self, server: SocketAddr, id: u16) -> Option<Vec<u8>> {
        let until = Instant::now() + TIMEOUT;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?;
        socket.connect(server).await.ok()?;
        let mut packet = self.packet.clone();
        packet.get_mut(..2)?.copy_from_slice(&id.to_be_bytes());
        socket.send(&packet).await.ok()?;
        let mut buffer = vec![0; ANSWER_MAX];
        loop {
            let length = timeout_at(until, socket.recv(&mut buffer)).await.ok()?.ok()?;
            let answer = buffer.get(..length)?;
            if answer.get(..2) == Some(&id.to_be_bytes()) {
                return Some(answer.to_vec());
            }
        }
    }

    /// Judges an answer.
    fn judge(&self, answer: &[u8], zone_began: Instant) -> Outcome {
        let Ok(header) = Header::read(answer) else { return Outcome::Failed };
        let generation = last_generation(answer, self.question.rtype);
        let fits = match (&self.question.truth, header.rcode(), generation) {
            (_, rcode, _) if rcode != 0 && rcode != 3 => return Outcome::Failed,
            (Truth::Address { .. }, 0, Some(_)) | (Truth::NoData, 0, None) | (Truth::NxDomain, 3, None) => true,
            (Truth::Address { .. } | Truth::NoData | Truth::NxDomain, _, _) => false,
        };
        if !fits {
            return Outcome::Wrong;
        }
        let now = u32::try_from(zone_began.elapsed().as_secs()).unwrap_or_default();
        let old = match (&self.question.truth, generation) {
            (Truth::Address { ttl, .. }, Some(generation)) => zone::is_old(generation, now, *ttl),
            (Truth::Address { .. } | Truth::NoData | Truth::NxDomain, _) => false,
        };
        if old || says_stale(answer) { Outcome::Stale } else { Outcome::Fresh }
    }
}

/// The generation in the last address of the answer section.
fn last_generation(answer: &[u8], rtype: Type) -> Option<u32> {
    let wanted = match rtype {
        Type::A => 1,
        Type::Aaaa => 28,
    };
    let mut records = Records::new(answer).ok()?;
    let mut found = None;
    while let Ok(Some(record)) = records.next_record() {
        if record.section == Section::Answer && record.rtype == wanted {
            found = answer.get(record.data..record.end).and_then(zone::generation_in);
        }
    }
    found
}

/// Whether the answer carries EDE 3 or 19 (RFC 8914 §4.4, §4.20).
fn says_stale(answer: &[u8]) -> bool {
    let errors = classify::extended_errors(answer, ANSWER_MAX);
    let mut rest = errors.as_slice();
    while let (Some(length), Some(code)) = (message::read_u16(rest, 2), message::read_u16(rest, 4)) {
        if matches!(code, 3 | 19) {
            return true;
        }
        rest = rest.get(4 + usize::from(length)..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(name: &str, rtype: Type) -> Prepared {
        Prepared::new(Question { name: name.into(), rtype, truth: zone::truth(name, rtype) }, Extension::Edns)
    }

    /// An answer with the given code, one A record of this generation if any, and an extended error
    /// if any.
    fn answer(query: &Prepared, rcode: u8, generation: Option<u32>, error: Option<u8>) -> Vec<u8> {
        let question_end = query.packet.len() - 11;
        let mut out = query.packet[..question_end].to_vec();
        out[2] = 0x81;
        out[3] = 0x80 | rcode;
        out[7] = u8::from(generation.is_some());
        out[11] = u8::from(error.is_some());
        if let Some(generation) = generation {
            out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
            out.extend(zone::address_v4(generation).octets());
        }
        if let Some(error) = error {
            out.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, error]);
        }
        out
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_judged_by_truth_and_age() {
        let began = Instant::now();
        tokio::time::advance(Duration::from_secs(100)).await;
        let query = prepared("app0.drill.test", Type::A);
        assert_eq!(query.judge(&answer(&query, 0, Some(100), None), began), Outcome::Fresh);
        assert_eq!(query.judge(&answer(&query, 0, Some(90), None), began), Outcome::Stale, "TTL 1, ten seconds old");
        assert_eq!(query.judge(&answer(&query, 0, Some(100), Some(3)), began), Outcome::Stale, "it says so");
        assert_eq!(query.judge(&answer(&query, 3, None, None), began), Outcome::Wrong);
        assert_eq!(query.judge(&answer(&query, 0, None, None), began), Outcome::Wrong);
        assert_eq!(query.judge(&answer(&query, 2, None, Some(22)), began), Outcome::Failed);
        let gone = prepared("app9.drill.test.svc.cluster.test", Type::A);
        assert_eq!(gone.judge(&answer(&gone, 3, None, None), began), Outcome::Fresh);
        assert_eq!(gone.judge(&answer(&gone, 3, None, Some(19)), began), Outcome::Stale);
    }
}
