//! Finds the end of a reply of the server (RESP2), without believing the lengths that it states.
//!
//! A reply is handed to the library's parser only when it is complete and within the bounds below.
//! So a server, or somebody who pretends to be one, can neither have memory reserved for what never
//! comes nor nest values without end.

use crate::config::limits::SHARED_CACHE_NAMES_MAX;

/// Longest reply in bytes: 64 entries of the largest size and their framing.
pub(super) const REPLY_MAX: usize = 64 * (super::seal::SEALED_MAX + 16);
/// Most values in one reply: the members of the largest index.
const VALUES_MAX: usize = 2 * SHARED_CACHE_NAMES_MAX;
/// Longest line in bytes: a status, an error, or a length.
const LINE_MAX: usize = 1024;

/// The bytes are no reply, or a larger one than any that we ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedReply;

/// The position at which the first reply in `bytes` ends; `None` while the reply is not complete.
///
/// # Errors
/// [`MalformedReply`] as soon as the bytes cannot become a reply within the bounds.
pub(super) fn end(bytes: &[u8]) -> Result<Option<usize>, MalformedReply> {
    // `left` values are still to be walked, `seen` counts all of them. An array adds its members to
    // both, so that nesting needs no recursion.
    let (mut at, mut left, mut seen) = (0, 1_usize, 1_usize);
    while left > 0 {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(line) = rest.windows(2).take(LINE_MAX).position(|pair| pair == b"\r\n") else {
            return if rest.len() > LINE_MAX { Err(MalformedReply) } else { Ok(None) };
        };
        let (kind, text) = rest.get(..line).and_then(<[u8]>::split_first).ok_or(MalformedReply)?;
        at += line + 2;
        left -= 1;
        match kind {
            b'+' | b'-' | b':' => {}
            b'$' => at = length(text)?.map_or(at, |length| at.saturating_add(length).saturating_add(2)),
            b'*' => {
                let members = length(text)?.unwrap_or(0);
                left = left.saturating_add(members);
                seen = seen.saturating_add(members);
            }
            _ => return Err(MalformedReply),
        }
        if at > REPLY_MAX || seen > VALUES_MAX {
            return Err(MalformedReply);
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// Reads a length; `None` for -1, which stands for a missing value.
fn length(text: &[u8]) -> Result<Option<usize>, MalformedReply> {
    if text == b"-1" {
        return Ok(None);
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).map(Some).ok_or(MalformedReply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_where_its_lengths_say() {
        for reply in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":12\r\n",
            "$-1\r\n",
            "$3\r\na\r\n\r\n",
            "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            "*-1\r\n",
            "*0\r\n",
        ] {
            let more = format!("{reply}+NEXT\r\n");
            assert_eq!(end(more.as_bytes()), Ok(Some(reply.len())), "{reply}");
            for cut in 0..reply.len() {
                assert_eq!(end(&reply.as_bytes()[..cut]), Ok(None), "{reply} {cut}");
            }
        }
    }

    #[test]
    fn nobody_can_make_us_wait_for_more_than_we_ask_for() {
        for reply in [
            "$999999999\r\n",
            "*999999\r\n",
            "*99999999999999999999\r\n",
            "$-2\r\n",
            "$18446744073709551615\r\n",
            "?\r\n",
            "\r\n",
        ] {
            assert_eq!(end(reply.as_bytes()), Err(MalformedReply), "{reply}");
        }
        assert_eq!(end(&[b'+'; LINE_MAX + 2]), Err(MalformedReply));
        assert_eq!(end("*1\r\n".repeat(VALUES_MAX + 1).as_bytes()), Err(MalformedReply), "nesting is counted");
    }
}
