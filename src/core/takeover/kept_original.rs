//! An original `resolv.conf` that is kept, as bytes and back.
//!
//! The bytes are a `resolv.conf` themselves. Their head is made of comments, one per line:
//!
//! | line | content |
//! |---|---|
//! | the first | a mark, which also names the version of this format |
//! | `#: file PATH` | the file that was taken over |
//! | `#: mode MODE OWNER GROUP` | permissions (octal) and owner, when that was a plain file |
//! | `#: link TARGET` | the target, when it was a symbolic link |
//! | `#: live PATH` | a file in which the writer's name servers stay readable; optional |
//! | `#> LINE` | one line of the text that was written in its place |
//! | `#: original` | the end of the head |
//!
//! The bytes of the original follow, unchanged.

use std::net::SocketAddr;

use super::text::carried;
use crate::core::network::DNS_PORT;
use crate::core::resolv_conf::{ResolvConf, ResolvConfWriter};

/// First line of a kept original.
const KEPT_MARK: &str = "# Kept by holdover 1: what stood here before is below; \
                         the rest of this head is for `holdover resolvconf restore`.";
/// Last line of its head.
const KEPT_END: &str = "#: original";

/// The kind of file that was taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Was {
    /// A plain file, with its permissions and owner.
    File {
        /// The permission bits of the file.
        mode: u32,
        /// The user ID of the file's owner.
        owner: u32,
        /// The group ID of the file.
        group: u32,
    },
    /// A symbolic link to this target.
    Link(String),
}

/// An original that is kept, with everything that restoring it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptOriginal {
    /// The path of the file that was taken over.
    pub file: String,
    /// The kind of file that was taken over.
    pub was: Was,
    /// The path of a file in which the name servers of the original's writer stay readable; `None`
    /// when there is none.
    pub live: Option<String>,
    /// The text that was written in place of the original.
    pub wrote: String,
    /// The bytes of the original; those of the link's target when it was a link.
    pub original: Vec<u8>,
}

/// The error for bytes that are not a kept original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an original that holdover kept")]
pub struct NotKept;

impl KeptOriginal {
    /// Writes the original with its head as bytes.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut text = format!("{KEPT_MARK}\n#: file {}\n", self.file);
        match &self.was {
            Was::File { mode, owner, group } => text.push_str(&format!("#: mode {mode:o} {owner} {group}\n")),
            Was::Link(target) => text.push_str(&format!("#: link {target}\n")),
        }
        if let Some(live) = &self.live {
            text.push_str(&format!("#: live {live}\n"));
        }
        // `lines` would drop a carriage return, which is part of what was written.
        for line in self.wrote.split_terminator('\n') {
            text.push_str(&format!("#> {line}\n"));
        }
        text.push_str(KEPT_END);
        text.push('\n');
        [text.as_bytes(), &self.original].concat()
    }

    /// Reads what [`KeptOriginal::write`] wrote.
    ///
    /// # Errors
    /// [`NotKept`] when the bytes are something else, or their head is cut off.
    pub fn read(bytes: &[u8]) -> Result<Self, NotKept> {
        // The head ends with a line of its own, and only the head has to be UTF-8.
        let mut rest = bytes;
        let mut line = || {
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or(NotKept)?;
            let (line, after) = rest.split_at_checked(end).ok_or(NotKept)?;
            rest = after.get(1..).unwrap_or_default();
            std::str::from_utf8(line).map_err(|_| NotKept)
        };
        if line()? != KEPT_MARK {
            return Err(NotKept);
        }
        // The head may have its lines in any order.
        let (mut file, mut was, mut live, mut wrote) = (None, None, None, String::new());
        loop {
            let line = line()?;
            if line == KEPT_END {
                break;
            }
            if let Some(text) = line.strip_prefix("#> ") {
                wrote.push_str(text);
                wrote.push('\n');
                continue;
            }
            match line.strip_prefix("#: ").and_then(|entry| entry.split_once(' ')).ok_or(NotKept)? {
                ("file", path) => file = Some(path.to_owned()),
                ("link", target) => was = Some(Was::Link(target.to_owned())),
                ("mode", numbers) => was = Some(read_mode(numbers)?),
                ("live", path) => live = Some(path.to_owned()),
                _ => return Err(NotKept),
            }
        }
        Ok(Self { file: file.ok_or(NotKept)?, was: was.ok_or(NotKept)?, live, wrote, original: rest.to_vec() })
    }

    /// Recovers an original whose kept file was lost from the text that holdover wrote in its
    /// place; `None` when the text does not carry it.
    ///
    /// `was` is the kind of file at the path `file` now, which stands for the unknown earlier kind.
    #[must_use]
    pub fn recover(text: &str, was: &Was, file: &str) -> Option<Self> {
        let original = carried(text)?;
        let live = ResolvConfWriter::of(&original, None).live_source().map(str::to_owned);
        Some(Self {
            file: file.to_owned(),
            was: was.clone(),
            live,
            wrote: text.to_owned(),
            original: original.into_bytes(),
        })
    }

    /// holdover's own address, which is the first name server of the text that was written; `None`
    /// when that text names none.
    #[must_use]
    pub fn own(&self) -> Option<SocketAddr> {
        let first = ResolvConf::read(&self.wrote).nameservers.into_iter().next()?;
        Some(SocketAddr::new(first.ip, DNS_PORT))
    }
}

/// Reads permissions, owner and group, as the head has them.
fn read_mode(text: &str) -> Result<Was, NotKept> {
    let mut numbers = text.split(' ');
    let mut next = |radix| u32::from_str_radix(numbers.next().ok_or(NotKept)?, radix).map_err(|_| NotKept);
    Ok(Was::File { mode: next(8)? & 0o7777, owner: next(10)?, group: next(10)? })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::core::resolv_conf::Nameserver;
    use crate::core::takeover::second_nameserver::{LeftOut, SecondNameserver};
    use crate::core::takeover::text::{CARRIED_HEAD, CARRIED_MAX, kept_in, replacement};

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn servers(text: &str) -> Vec<Nameserver> {
        ResolvConf::read(text).nameservers
    }

    #[test]
    fn a_kept_original_is_read_back_byte_for_byte() {
        let wrote = replacement(
            "search example.com\n",
            ResolvConfWriter::Unknown,
            OWN,
            &SecondNameserver::LeftOut(LeftOut::Nobody),
            "/etc/x",
        );
        let file = Was::File { mode: 0o640, owner: 7, group: 8 };
        let originals: [&[u8]; 4] =
            [b"", b"nameserver 192.0.2.1", b"\n\nnameserver 192.0.2.1\r\n\xff\0#: original\n", KEPT_END.as_bytes()];
        for (original, was) in
            originals.into_iter().flat_map(|bytes| [(bytes, file.clone()), (bytes, Was::Link("../run/x y".into()))])
        {
            let kept = KeptOriginal {
                file: "/etc/resolv.conf".into(),
                was,
                live: Some("/run/l".into()),
                wrote: wrote.clone(),
                original: original.to_vec(),
            };
            let bytes = kept.write();
            assert_eq!(KeptOriginal::read(&bytes).as_ref(), Ok(&kept));
            assert_eq!(kept.own(), Some("127.0.0.1:53".parse().unwrap()));
            // Cut off anywhere in its head it is rejected, and nothing panics.
            let head = bytes.len() - original.len();
            assert!((0..head).all(|length| KeptOriginal::read(&bytes[..length]) == Err(NotKept)));
        }
        assert_eq!(KeptOriginal::read(b"nameserver 192.0.2.1\n"), Err(NotKept));
    }

    #[test]
    fn the_text_carries_the_original_byte_for_byte() {
        let originals = [
            "",
            "\n",
            "nameserver 192.0.2.1",
            "nameserver 192.0.2.1\r\n\t\n \n",
            "#   /elsewhere\n#< x\n#<\nsearch \u{fc}.test  \nnameserver 192.0.2.1\n\n",
        ];
        let was = Was::File { mode: 0o644, owner: 1, group: 2 };
        for original in originals {
            let text = replacement(
                original,
                ResolvConfWriter::of(original, None),
                OWN,
                &SecondNameserver::LeftOut(LeftOut::Nobody),
                "/etc/x",
            );
            let kept = KeptOriginal::recover(&text, &was, "/etc/resolv.conf").unwrap();
            assert_eq!(kept.original, original.as_bytes(), "{text}");
            assert_eq!(
                (&kept.wrote, kept.own(), kept_in(&text)),
                (&text, Some("127.0.0.1:53".parse().unwrap()), Some("/etc/x"))
            );
            assert_eq!(KeptOriginal::read(&kept.write()), Ok(kept));
            // A text that is cut off in the original, or in the first name server, gives nothing.
            let end = text.find("\nnameserver ").unwrap();
            assert!(
                text.char_indices()
                    .all(|(at, _)| at > end + 11 || KeptOriginal::recover(&text[..at], &was, "/f").is_none())
            );
        }
        let stub = replacement(
            "nameserver 127.0.0.53\n",
            ResolvConfWriter::ResolvedStub,
            OWN,
            &SecondNameserver::LeftOut(LeftOut::Resolved),
            "/x",
        );
        assert_eq!(
            KeptOriginal::recover(&stub, &was, "/f").unwrap().live.as_deref(),
            ResolvConfWriter::ResolvedStub.live_source()
        );
    }

    #[test]
    fn what_the_text_carries_is_a_comment_for_every_reader() {
        let original = "search a.test\n nameserver 192.0.2.1\nnameserver 192.0.2.2\n\noptions rotate\n";
        let text =
            replacement(original, ResolvConfWriter::Kubelet, OWN, &SecondNameserver::LeftOut(LeftOut::Musl), "/etc/x");
        let read = ResolvConf::read(&text);
        assert_eq!(
            (read.nameservers, read.search, read.options),
            (servers("nameserver 127.0.0.1"), vec!["a.test".into()], vec!["rotate".into()])
        );
        assert_eq!(ResolvConfWriter::of(&text, None), ResolvConfWriter::Holdover);
        // glibc, Go, c-ares and Java take a line for a comment that begins with # or ;, musl one
        // that begins with no keyword of its own.
        let carried = text.split(['\n', '\r']).filter(|line| line.contains("192.0.2."));
        assert_eq!(carried.filter(|line| line.starts_with("#< ")).count(), 2);
        // Nothing is carried of which a reader might see more than one line, or whose bytes would
        // be lost.
        for odd in ["# x\rnameserver 192.0.2.1\n", "# \0\n", "# \u{85}\n", "# \u{fffd}\n", &"#\n".repeat(CARRIED_MAX)] {
            let text =
                replacement(odd, ResolvConfWriter::Unknown, OWN, &SecondNameserver::LeftOut(LeftOut::Nobody), "/etc/x");
            assert!(
                !text.contains(CARRIED_HEAD) && KeptOriginal::recover(&text, &Was::Link(String::new()), "/f").is_none(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_kept_original_is_a_resolv_conf() {
        let kept = KeptOriginal {
            file: "/f".into(),
            was: Was::Link("t".into()),
            live: None,
            wrote: "nameserver 127.0.0.1\n".into(),
            original: b"nameserver 192.0.2.1\n".to_vec(),
        };
        assert_eq!(servers(&String::from_utf8(kept.write()).unwrap()), servers("nameserver 192.0.2.1"));
    }
}
