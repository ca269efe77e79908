//! Cuts a byte stream into DNS messages and puts messages onto one (RFC 1035 §4.2.2: two bytes of
//! length, then the message).
//!
//! No I/O here. An idle connection holds no buffer: the inbox grows with what arrives, at most by
//! one message and one read, and gives its memory back when it is empty.

use std::collections::VecDeque;

/// Length of the length prefix.
const PREFIX: usize = 2;
/// Length of the header; what is shorter is no message.
const HEADER: usize = 12;

/// What lies at the front of an [`Inbox`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole query.
    Query(Vec<u8>),
    /// A whole frame that is no query: under 12 bytes, or a response. It has been taken out and is
    /// dropped, without a word: answering responses is how two servers begin to talk to each other
    /// for ever.
    Junk,
    /// A part of a frame.
    Partial,
    /// Nothing.
    Empty,
    /// A frame of length zero: whoever sends that does not speak DNS.
    Nonsense,
}

/// Bytes that have arrived and are not cut yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// The bytes; those before `start` are done with.
    bytes: Vec<u8>,
    /// Where the next frame begins.
    start: usize,
}

impl Inbox {
    /// Appends what has been read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start.min(self.bytes.len()));
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next frame out.
    pub(super) fn next(&mut self) -> Next {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX>() else {
            return if rest.is_empty() { self.release() } else { Next::Partial };
        };
        let length = usize::from(u16::from_be_bytes(*prefix));
        if length == 0 {
            return Next::Nonsense;
        }
        let Some(message) = rest.get(..length) else { return Next::Partial };
        let is_query = length >= HEADER && message.get(2).is_some_and(|flags| flags & 0x80 == 0);
        let next = if is_query { Next::Query(message.to_vec()) } else { Next::Junk };
        self.start = self.start.saturating_add(PREFIX).saturating_add(length);
        next
    }

    /// Gives the memory back.
    fn release(&mut self) -> Next {
        *self = Self::default();
        Next::Empty
    }
}

/// Answers on their way out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Whole frames; the first may have gone in part.
    frames: VecDeque<Vec<u8>>,
    /// How much of the first frame has gone.
    gone: usize,
    /// Bytes of all frames.
    bytes: usize,
}

impl Outbox {
    /// Appends a message. One that no length prefix can describe is left out.
    pub(super) fn push(&mut self, message: &[u8]) {
        let Ok(length) = u16::try_from(message.len()) else { return };
        let mut frame = Vec::with_capacity(PREFIX.saturating_add(message.len()));
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(message);
        self.bytes = self.bytes.saturating_add(frame.len());
        self.frames.push_back(frame);
    }

    /// What is to be written next; empty when there is nothing.
    pub(super) fn front(&self) -> &[u8] {
        self.frames.front().and_then(|frame| frame.get(self.gone..)).unwrap_or_default()
    }

    /// Notes that so many bytes of [`Self::front`] have been written; tells whether that ended a
    /// frame.
    pub(super) fn advance(&mut self, written: usize) -> Progress {
        self.gone = self.gone.saturating_add(written);
        match self.frames.front() {
            Some(frame) if self.gone >= frame.len() => {
                self.bytes = self.bytes.saturating_sub(frame.len());
                self.frames.pop_front();
                self.gone = 0;
                Progress::Frame
            }
            Some(_) | None => Progress::Part,
        }
    }

    /// Frames that have not gone whole.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a write achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The first frame has gone.
    Frame,
    /// A part of it has.
    Part,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A query of that length.
    fn query(length: usize) -> Vec<u8> {
        vec![0; length]
    }

    /// The message with its length prefix.
    fn framed(message: &[u8]) -> Vec<u8> {
        let mut outbox = Outbox::default();
        outbox.push(message);
        outbox.front().to_vec()
    }

    #[test]
    fn two_queries_in_one_read_are_both_cut_and_the_memory_is_given_back() {
        let mut inbox = Inbox::default();
        inbox.push(&[framed(&query(12)), framed(&query(30))].concat());
        assert_eq!(inbox.next(), Next::Query(query(12)));
        assert_eq!(inbox.next(), Next::Query(query(30)));
        assert_eq!(inbox.next(), Next::Empty);
        assert_eq!(inbox.bytes.capacity(), 0);
    }

    #[test]
    fn half_a_prefix_is_a_part() {
        let mut inbox = Inbox::default();
        inbox.push(&[0]);
        assert_eq!(inbox.next(), Next::Partial);
    }

    #[test]
    fn responses_and_fragments_are_junk_and_what_follows_is_still_cut() {
        let mut response = query(12);
        response[2] = 0x80;
        let mut inbox = Inbox::default();
        inbox.push(&[framed(&response), framed(&query(11)), framed(&query(12))].concat());
        assert_eq!([inbox.next(), inbox.next()], [Next::Junk, Next::Junk]);
        assert_eq!(inbox.next(), Next::Query(query(12)));
    }

    #[test]
    fn a_frame_without_a_message_is_nonsense() {
        let mut inbox = Inbox::default();
        inbox.push(&[0, 0, 0, 12]);
        assert_eq!(inbox.next(), Next::Nonsense);
        assert_eq!(inbox.next(), Next::Nonsense, "and stays so");
    }

    #[test]
    fn an_answer_that_no_prefix_can_describe_is_left_out() {
        let mut outbox = Outbox::default();
        outbox.push(&vec![0; 65_536]);
        assert_eq!(outbox.len(), 0);
        outbox.push(&vec![0; 65_535]);
        assert_eq!((outbox.len(), outbox.bytes()), (1, 65_537));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            lengths in prop::collection::vec(12_usize..600, 1..8),
            reads in prop::collection::vec(1_usize..200, 1..20),
        ) {
            let mut outbox = Outbox::default();
            lengths.iter().for_each(|length| outbox.push(&query(*length)));
            let (mut inbox, mut seen) = (Inbox::default(), Vec::new());
            let mut sizes = reads.iter().cycle();
            while outbox.len() > 0 {
                let front = outbox.front();
                let part = front[..front.len().min(*sizes.next().unwrap())].to_vec();
                inbox.push(&part);
                outbox.advance(part.len());
                while let Next::Query(query) = inbox.next() {
                    seen.push(query.len());
                }
            }
            prop_assert_eq!(seen, lengths);
            prop_assert_eq!(inbox.next(), Next::Empty);
            prop_assert_eq!(outbox.bytes(), 0);
        }

        #[test]
        fn no_bytes_make_it_panic(reads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut inbox = Inbox::default();
            for read in reads {
                inbox.push(&read);
                while let Next::Query(_) | Next::Junk = inbox.next() {}
            }
        }
    }
}
