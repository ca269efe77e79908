//! Cuts an incoming byte stream into DNS messages, and turns messages into an outgoing byte stream
//! (RFC 1035 §4.2.2: two bytes of length, then the message).
//!
//! No I/O happens here. An idle connection holds no buffer: the inbox holds exactly what has
//! arrived and is not cut, at most one message and one read, and gives its memory back when it is
//! empty. A message that is longer than any query may be is noticed by its prefix, before it has
//! arrived.

use std::collections::VecDeque;

use crate::config::limits::TCP_QUERY_MAX;
use crate::core::message::HEADER;

/// Bytes of the length prefix.
const PREFIX: usize = 2;

/// The next thing at the front of an [`Inbox`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextFrame {
    /// A whole query, which has been taken out.
    Query(Vec<u8>),
    /// A whole frame that is no query: under 12 bytes, or a response. It has been taken out and is
    /// dropped without an answer: answering responses is how two servers begin to talk to each
    /// other for ever.
    Junk,
    /// The beginning of a frame, of which more has to arrive.
    Partial,
    /// No byte has arrived that is not cut.
    Empty,
    /// A frame of length zero: the client does not speak DNS.
    Nonsense,
    /// The beginning of a frame that is longer than any query may be ([`TCP_QUERY_MAX`]).
    TooLong,
}

/// Bytes that have arrived and are not cut yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// The bytes; those before `start` have been cut already.
    bytes: Vec<u8>,
    /// Where the next frame begins.
    start: usize,
}

impl Inbox {
    /// Appends bytes that have been read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        // Bytes that were cut are left out here, once for each read, and not once for each frame.
        // The vector is made anew, so that it takes no more memory than it has bytes.
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        self.bytes = [rest, bytes].concat();
        self.start = 0;
    }

    /// The memory that the inbox takes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes the next frame out.
    pub(super) fn next(&mut self) -> NextFrame {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX>() else {
            return if rest.is_empty() { self.release() } else { NextFrame::Partial };
        };
        let length = usize::from(u16::from_be_bytes(*prefix));
        if length == 0 {
            return NextFrame::Nonsense;
        }
        if length > TCP_QUERY_MAX {
            return NextFrame::TooLong;
        }
        let Some(message) = rest.get(..length) else { return NextFrame::Partial };
        let is_query = length >= HEADER && message.get(2).is_some_and(|flags| flags & 0x80 == 0);
        let next = if is_query { NextFrame::Query(message.to_vec()) } else { NextFrame::Junk };
        self.start = self.start.saturating_add(PREFIX).saturating_add(length);
        next
    }

    /// Gives the memory of the empty inbox back.
    fn release(&mut self) -> NextFrame {
        *self = Self::default();
        NextFrame::Empty
    }
}

/// Answers on their way to the client.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Whole frames; a part of the first may have been written.
    frames: VecDeque<Vec<u8>>,
    /// Bytes of the first frame that have been written.
    written: usize,
    /// Bytes of all frames, written ones of the first included.
    bytes: usize,
}

impl Outbox {
    /// Appends a message. A message of more than 65 535 bytes, which no length prefix can describe,
    /// is left out.
    pub(super) fn push(&mut self, message: &[u8]) {
        let Ok(length) = u16::try_from(message.len()) else { return };
        let mut frame = Vec::with_capacity(PREFIX.saturating_add(message.len()));
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(message);
        self.bytes = self.bytes.saturating_add(frame.len());
        self.frames.push_back(frame);
    }

    /// The bytes to be written next, at most one frame; empty when there is nothing to write.
    pub(super) fn front(&self) -> &[u8] {
        self.frames.front().and_then(|frame| frame.get(self.written..)).unwrap_or_default()
    }

    /// Notes that so many bytes of [`Self::front`] have been written; returns whether the frame is
    /// written whole now.
    pub(super) fn advance(&mut self, written: usize) -> WriteProgress {
        self.written = self.written.saturating_add(written);
        match self.frames.front() {
            Some(frame) if self.written >= frame.len() => {
                self.bytes = self.bytes.saturating_sub(frame.len());
                self.frames.pop_front();
                self.written = 0;
                WriteProgress::Frame
            }
            Some(_) | None => WriteProgress::Part,
        }
    }

    /// The number of frames that are not written whole.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// The bytes of all frames that are not written whole.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// How far a write brought the frame at the front of the [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteProgress {
    /// The frame is written whole, and the next one has come to the front.
    Frame,
    /// Only a part of the frame is written.
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
        assert_eq!(inbox.next(), NextFrame::Query(query(12)));
        assert_eq!(inbox.next(), NextFrame::Query(query(30)));
        assert_eq!(inbox.next(), NextFrame::Empty);
        assert_eq!(inbox.bytes.capacity(), 0);
    }

    #[test]
    fn half_a_prefix_is_a_part() {
        let mut inbox = Inbox::default();
        inbox.push(&[0]);
        assert_eq!(inbox.next(), NextFrame::Partial);
    }

    #[test]
    fn responses_and_fragments_are_junk_and_what_follows_is_still_cut() {
        let mut response = query(12);
        response[2] = 0x80;
        let mut inbox = Inbox::default();
        inbox.push(&[framed(&response), framed(&query(11)), framed(&query(12))].concat());
        assert_eq!([inbox.next(), inbox.next()], [NextFrame::Junk, NextFrame::Junk]);
        assert_eq!(inbox.next(), NextFrame::Query(query(12)));
    }

    #[test]
    fn a_frame_without_a_message_is_nonsense() {
        let mut inbox = Inbox::default();
        inbox.push(&[0, 0, 0, 12]);
        assert_eq!(inbox.next(), NextFrame::Nonsense);
        assert_eq!(inbox.next(), NextFrame::Nonsense, "and stays so");
    }

    #[test]
    fn a_query_that_is_too_long_is_noticed_by_its_prefix() {
        let mut inbox = Inbox::default();
        inbox.push(&framed(&query(TCP_QUERY_MAX)));
        assert_eq!(inbox.next(), NextFrame::Query(query(TCP_QUERY_MAX)));
        inbox.push(&4097_u16.to_be_bytes());
        assert_eq!(inbox.next(), NextFrame::TooLong);
    }

    #[test]
    fn the_inbox_takes_no_more_memory_than_has_arrived() {
        let mut inbox = Inbox::default();
        let frame = framed(&query(4000));
        for piece in frame.chunks(700) {
            assert_eq!(inbox.next(), if inbox.bytes.is_empty() { NextFrame::Empty } else { NextFrame::Partial });
            inbox.push(piece);
            assert_eq!(inbox.size(), inbox.bytes.len());
        }
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
                while let NextFrame::Query(query) = inbox.next() {
                    seen.push(query.len());
                }
            }
            prop_assert_eq!(seen, lengths);
            prop_assert_eq!(inbox.next(), NextFrame::Empty);
            prop_assert_eq!(outbox.bytes(), 0);
        }

        #[test]
        fn no_bytes_make_it_panic(reads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut inbox = Inbox::default();
            for read in reads {
                inbox.push(&read);
                while let NextFrame::Query(_) | NextFrame::Junk = inbox.next() {}
            }
        }
    }
}
