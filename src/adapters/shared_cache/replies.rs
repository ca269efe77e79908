//! Where a reply ends: frames what the server sends (RESP2) without believing its lengths.
//!
//! A reply is handed to the library's parser only when it is whole and within the bounds below, so
//! that a server, or whoever plays one, can neither have memory set aside for what never comes nor
//! nest without end.

use crate::config::limits::SHARED_CACHE_NAMES_MAX;

/// Longest reply: 64 entries of the largest size and their framing.
pub(super) const REPLY_MAX: usize = 64 * (super::seal::SEALED_MAX + 16);
/// Most values in one reply: the largest index.
const VALUES_MAX: usize = 2 * SHARED_CACHE_NAMES_MAX;
/// Longest line: a status, an error, a length.
const LINE_MAX: usize = 1024;

/// It is not a reply, or larger than any that we ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Where the first reply in these bytes ends; `None` while it is not whole.
///
/// # Errors
/// [`Malformed`].
pub(super) fn end(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let (mut at, mut left, mut seen) = (0, 1_usize, 1_usize);
    while left > 0 {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(line) = rest.windows(2).take(LINE_MAX).position(|pair| pair == b"\r\n") else {
            return if rest.len() > LINE_MAX { Err(Malformed) } else { Ok(None) };
        };
        let (kind, text) = rest.get(..line).and_then(<[u8]>::split_first).ok_or(Malformed)?;
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
            _ => return Err(Malformed),
        }
        if at > REPLY_MAX || seen > VALUES_MAX {
            return Err(Malformed);
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// A length; `None` for the -1 of what is not there.
fn length(text: &[u8]) -> Result<Option<usize>, Malformed> {
    if text == b"-1" {
        return Ok(None);
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).map(Some).ok_or(Malformed)
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
            assert_eq!(end(reply.as_bytes()), Err(Malformed), "{reply}");
        }
        assert_eq!(end(&[b'+'; LINE_MAX + 2]), Err(Malformed));
        assert_eq!(end("*1\r\n".repeat(VALUES_MAX + 1).as_bytes()), Err(Malformed), "nesting is counted");
    }
}
