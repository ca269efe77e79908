//! Taking `resolv.conf` over: what is written into it, and what is kept of the original.
//!
//! holdover's address comes first. An original name server may follow it, so that names go on being
//! resolved while holdover itself is gone; whether that helps depends on who reads the file:
//!
//! | reader | with a second name server | so it is |
//! |---|---|---|
//! | glibc, Go, c-ares | asked in order: a closed port or SERVFAIL moves on to the next at once | written |
//! | musl | every query goes to all at once and the first answer wins: twice the packets, and an upstream's wrong denial beats what is remembered | left out |
//! | systemd-resolved | sticks to whichever answered last, for half a minute | left out |
//!
//! One is written, not all: each one more is another 5 s that a client waits in an outage for a
//! name that nobody knows. `options rotate` is left out beside a second one: it would send half of
//! all queries past holdover. `trust-ad` goes with systemd-resolved's stub. Everything else that
//! the original says stays. Comments stay where people made the file; those of generators would
//! claim a file that is no longer theirs.
//!
//! The original is kept as a `resolv.conf` itself ([`Kept`]): a head of comments that says where it
//! belongs and what was written in its place, then its very bytes. Whoever finds it can read it,
//! and copy it back by hand.
//!
//! The kept copy may be gone while the text that was written stands: containers of a pod share one
//! mounted `resolv.conf`, and one that is started again has a new root. So the text carries the
//! lines of the original as comments ([`Kept::of_text`]), unless they are many ([`CARRIED_MAX`]) or
//! not such that every reader takes a comment for one: not UTF-8, or with control characters.

use std::net::{IpAddr, SocketAddr};

use super::network::DNS_PORT;
use super::resolv_conf::{DOCKER, MARK, Nameserver, ResolvConf, STUBS, Writer, docker_forwards_to};

/// What the operator wants of the second name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Written where it helps.
    Auto,
    /// Written.
    Yes,
    /// Left out.
    No,
}

/// What was found on the host that reads the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readers {
    /// musl's loader is there.
    pub musl: bool,
    /// glibc's own loader is there, not a stand-in of musl for it.
    pub glibc: bool,
    /// It is Alpine, whose programs are linked to musl whatever else is installed.
    pub alpine: bool,
    /// systemd-resolved runs.
    pub resolved: bool,
}

/// The second name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Second {
    /// This one is written.
    Written(Nameserver),
    /// None is written.
    LeftOut(LeftOut),
}

/// Why there is no second name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// The operator said so.
    AskedFor,
    /// Programs here use musl.
    Musl,
    /// systemd-resolved reads the file.
    Resolved,
    /// There is none that does not lead back to holdover.
    Nobody,
}

impl LeftOut {
    /// The reason in words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::AskedFor => "--fallback no",
            Self::Musl => "programs here use musl, which asks all name servers at once",
            Self::Resolved => "systemd-resolved reads the file, and sticks to the second",
            Self::Nobody => "the original names none that does not lead back to holdover",
        }
    }
}

/// Decides whether an original name server follows holdover's address.
#[must_use]
pub fn second(fallback: Fallback, readers: Readers, candidates: &[Nameserver]) -> Second {
    let musl = readers.musl && (readers.alpine || !readers.glibc);
    match (fallback, candidates.first()) {
        (Fallback::No, _) => Second::LeftOut(LeftOut::AskedFor),
        (Fallback::Auto, _) if musl => Second::LeftOut(LeftOut::Musl),
        (Fallback::Auto, _) if readers.resolved => Second::LeftOut(LeftOut::Resolved),
        (Fallback::Auto | Fallback::Yes, None) => Second::LeftOut(LeftOut::Nobody),
        (Fallback::Auto | Fallback::Yes, Some(first)) => Second::Written(first.clone()),
    }
}

/// The name servers of a text that holdover at `own` may forward to: not itself, and not Docker's
/// resolver where that forwards to holdover.
#[must_use]
pub fn upstreams(text: &str, own: IpAddr) -> Vec<Nameserver> {
    let circle = leads_back(text, own);
    let named = ResolvConf::read(text).nameservers;
    named
        .into_iter()
        .filter(|nameserver| nameserver.ip.to_canonical() != own.to_canonical() && !(circle && nameserver.ip == DOCKER))
        .collect()
}

/// Whether the text names Docker's resolver, and says that this forwards to `own`.
#[must_use]
pub fn leads_back(text: &str, own: IpAddr) -> bool {
    ResolvConf::read(text).nameservers.iter().any(|nameserver| nameserver.ip == DOCKER)
        && docker_forwards_to(text).contains(&own)
}

/// The text that takes the original's place.
#[must_use]
pub fn written(original: &str, writer: Writer, own: IpAddr, second: &Second, kept: &str) -> String {
    let mut text = format!(
        "{MARK}, which answers on {own} and forwards to the original name servers.\n\
         # `holdover resolvconf restore` puts the original back, which is kept in:\n{KEPT_IN}{kept}\n"
    );
    if can_be_carried(original) {
        text.push_str(CARRIED_HEAD);
        // What stands behind the last line's end is the last piece, most often an empty one.
        for piece in original.split('\n') {
            text.push_str(if piece.is_empty() { CARRIED } else { CARRIED_FULL });
            text.push_str(piece);
            text.push('\n');
        }
    }
    text.push_str(&format!("nameserver {own}\n"));
    if let Second::Written(nameserver) = second {
        text.push_str(&format!("nameserver {nameserver}\n"));
    }
    for line in original.lines() {
        let mut words = line.split_ascii_whitespace();
        let keep = match words.next() {
            None | Some("nameserver") => None,
            Some(first) if first.starts_with(['#', ';']) => (writer == Writer::Unknown).then(|| line.to_owned()),
            Some("options") => {
                let options: Vec<&str> = words.filter(|option| !is_dropped(option, writer, second)).collect();
                (!options.is_empty()).then(|| format!("options {}", options.join(" ")))
            }
            Some(_) => Some(line.to_owned()),
        };
        if let Some(line) = keep {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// Whether an option would be wrong in the new file.
fn is_dropped(option: &str, writer: Writer, second: &Second) -> bool {
    match option {
        "rotate" => matches!(second, Second::Written(_)),
        // The stub validates itself; holdover passes on what an upstream across the network claims.
        "trust-ad" => writer == Writer::ResolvedStub,
        _ => false,
    }
}

/// Before the place of the kept original, in a text that holdover wrote.
const KEPT_IN: &str = "#   ";

/// Where the original is kept, as a text says that holdover wrote.
#[must_use]
pub fn kept_in(text: &str) -> Option<&str> {
    if !text.starts_with(MARK) {
        return None;
    }
    text.lines().find_map(|line| line.strip_prefix(KEPT_IN))
}

/// Most bytes of an original that holdover's text carries; a common one has 200.
const CARRIED_MAX: usize = 4 << 10;
/// Before the lines of the original, behind [`KEPT_IN`].
const CARRIED_HEAD: &str = "# and here, for when that file is gone:\n";
/// Before each of these lines.
const CARRIED: &str = "#<";
/// Before one with something on it.
const CARRIED_FULL: &str = "#< ";

/// Whether every reader takes the lines of this original for comments, when they are marked as
/// such: some end a line at a carriage return (Java), or lose track of lines at a zero (musl's
/// `fgets`).
fn can_be_carried(original: &str) -> bool {
    let plain = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    // What was not UTF-8 was read with the replacement character.
    original.len() <= CARRIED_MAX
        && original.replace("\r\n", "\n").chars().all(|letter| plain(letter) && letter != '\u{fffd}')
}

/// The original that a text carries which holdover wrote; `None` where it carries none, or was cut
/// off.
fn carried(text: &str) -> Option<String> {
    kept_in(text)?;
    let mut lines = text.split('\n').skip_while(|line| !line.starts_with(KEPT_IN)).skip(1).peekable();
    lines.next_if(|line| Some(*line) == CARRIED_HEAD.strip_suffix('\n'))?;
    let mut pieces = Vec::new();
    while let Some(piece) = lines.next_if(|line| line.starts_with(CARRIED)) {
        let piece = piece.strip_prefix(CARRIED).unwrap_or_default();
        pieces.push(piece.strip_prefix(' ').unwrap_or(piece));
    }
    lines.next().is_some_and(|line| line.starts_with("nameserver ")).then(|| pieces.join("\n"))
}

/// What the file was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Was {
    /// A file.
    File {
        /// Its permissions.
        mode: u32,
        /// Its owner.
        owner: u32,
        /// Its group.
        group: u32,
    },
    /// A symbolic link to this.
    Link(String),
}

/// An original that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The file that was taken over.
    pub file: String,
    /// What it was.
    pub was: Was,
    /// Where its writer's name servers go on being readable.
    pub live: Option<String>,
    /// The text that was written in its place.
    pub wrote: String,
    /// Its bytes; those of the link's target where it was a link.
    pub original: Vec<u8>,
}

/// A text is not a kept original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an original that holdover kept")]
pub struct NotKept;

/// First line of a kept original.
const KEPT_MARK: &str = "# Kept by holdover 1: what stood here before is below; the rest of this head is for `holdover resolvconf restore`.";
/// Last line of its head.
const KEPT_END: &str = "#: original";

impl Kept {
    /// As bytes.
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
        // Not `lines`: a carriage return is part of what was written.
        for line in self.wrote.split_terminator('\n') {
            text.push_str(&format!("#> {line}\n"));
        }
        text.push_str(KEPT_END);
        text.push('\n');
        [text.as_bytes(), &self.original].concat()
    }

    /// From bytes.
    ///
    /// # Errors
    /// [`NotKept`]: something else, or torn.
    pub fn read(bytes: &[u8]) -> Result<Self, NotKept> {
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

    /// What can be known of a lost one from the text that holdover wrote in its place into `file`,
    /// which is a file as `was` says.
    #[must_use]
    pub fn of_text(text: &str, file: &str, was: &Was) -> Option<Self> {
        let original = carried(text)?;
        let live = Writer::of(&original, None).live_source().map(str::to_owned);
        Some(Self {
            file: file.to_owned(),
            was: was.clone(),
            live,
            wrote: text.to_owned(),
            original: original.into_bytes(),
        })
    }

    /// The name servers that were written with it: holdover's own address first.
    #[must_use]
    pub fn own(&self) -> Option<SocketAddr> {
        let first = ResolvConf::read(&self.wrote).nameservers.into_iter().next()?;
        Some(SocketAddr::new(first.ip, DNS_PORT))
    }
}

/// Reads permissions, owner and group.
fn read_mode(text: &str) -> Result<Was, NotKept> {
    let mut numbers = text.split(' ');
    let mut next = |radix| u32::from_str_radix(numbers.next().ok_or(NotKept)?, radix).map_err(|_| NotKept);
    Ok(Was::File { mode: next(8)? & 0o7777, owner: next(10)?, group: next(10)? })
}

/// Whether a live source may stand for the original: it names somebody who is neither holdover nor
/// a stub.
#[must_use]
pub fn is_usable_source(text: &str, own: IpAddr) -> bool {
    let others = upstreams(text, own);
    others.iter().any(|nameserver| !STUBS.contains(&nameserver.ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const GLIBC: Readers = Readers { musl: false, glibc: true, alpine: false, resolved: false };

    fn servers(text: &str) -> Vec<Nameserver> {
        ResolvConf::read(text).nameservers
    }

    #[test]
    fn the_second_name_server_is_written_where_it_helps() {
        let one = servers("nameserver 192.0.2.1\nnameserver 192.0.2.2\n");
        let written = Second::Written(one[0].clone());
        let musl = Readers { musl: true, ..Readers::default() };
        let cases = [
            (Fallback::Auto, GLIBC, written.clone()),
            // An empty image with one static binary: Go's own resolver, most likely.
            (Fallback::Auto, Readers::default(), written.clone()),
            (Fallback::Auto, musl, Second::LeftOut(LeftOut::Musl)),
            // Debian with the package musl: its programs use glibc.
            (Fallback::Auto, Readers { musl: true, ..GLIBC }, written.clone()),
            (Fallback::Auto, Readers { musl: true, alpine: true, ..GLIBC }, Second::LeftOut(LeftOut::Musl)),
            (Fallback::Auto, Readers { resolved: true, ..GLIBC }, Second::LeftOut(LeftOut::Resolved)),
            (Fallback::Yes, musl, written),
            (Fallback::No, GLIBC, Second::LeftOut(LeftOut::AskedFor)),
        ];
        for (fallback, readers, expected) in cases {
            assert_eq!(second(fallback, readers, &one), expected, "{fallback:?} {readers:?}");
        }
        assert_eq!(second(Fallback::Yes, GLIBC, &[]), Second::LeftOut(LeftOut::Nobody));
    }

    #[test]
    fn search_options_comments_and_unknown_lines_stay_and_rotate_goes() {
        let original = "# by hand\n\nsearch example.com\nnameserver 192.0.2.1\noptions rotate ndots:2\noptions rotate\nsortlist 192.0.2.0\n";
        let alone = written(original, Writer::Unknown, OWN, &Second::LeftOut(LeftOut::Musl), "/etc/x");
        assert!(
            alone.ends_with(
                "\nnameserver 127.0.0.1\n# by hand\nsearch example.com\noptions rotate ndots:2\noptions rotate\nsortlist 192.0.2.0\n"
            ),
            "{alone}"
        );
        let both = Second::Written(servers(original)[0].clone());
        let both = written(original, Writer::NetworkManager, OWN, &both, "/etc/x");
        assert!(
            both.ends_with("\nnameserver 127.0.0.1\nnameserver 192.0.2.1\nsearch example.com\noptions ndots:2\nsortlist 192.0.2.0\n"),
            "{both}"
        );
        assert_eq!((Writer::of(&both, None), kept_in(&both)), (Writer::Holdover, Some("/etc/x")));
        let stub = written(
            "nameserver 127.0.0.53\noptions edns0 trust-ad\n",
            Writer::ResolvedStub,
            OWN,
            &Second::LeftOut(LeftOut::Resolved),
            "/etc/x",
        );
        assert!(stub.ends_with("\nnameserver 127.0.0.1\noptions edns0\n"), "{stub}");
        assert_eq!(kept_in("#   /etc/x\n"), None, "only where holdover wrote it");
    }

    #[test]
    fn nobody_who_leads_back_is_an_upstream() {
        let docker = "nameserver 127.0.0.11\nnameserver 127.0.0.1\n# ExtServers: [127.0.0.1]\n";
        assert!(leads_back(docker, OWN) && upstreams(docker, OWN).is_empty());
        let docker = docker.replace("[127.0.0.1]", "[host(127.0.0.1)]");
        assert_eq!(upstreams(&docker, OWN), servers("nameserver 127.0.0.11"), "the host's 127.0.0.1 is another");
        assert!(!is_usable_source("nameserver 127.0.0.1\nnameserver 127.0.0.53\n", OWN));
        assert!(is_usable_source("nameserver 127.0.0.1\nnameserver 192.0.2.1\n", OWN));
    }

    #[test]
    fn what_is_kept_comes_back_byte_for_byte() {
        let wrote = written("search example.com\n", Writer::Unknown, OWN, &Second::LeftOut(LeftOut::Nobody), "/etc/x");
        let file = Was::File { mode: 0o640, owner: 7, group: 8 };
        let originals: [&[u8]; 4] =
            [b"", b"nameserver 192.0.2.1", b"\n\nnameserver 192.0.2.1\r\n\xff\0#: original\n", KEPT_END.as_bytes()];
        for (original, was) in
            originals.into_iter().flat_map(|bytes| [(bytes, file.clone()), (bytes, Was::Link("../run/x y".into()))])
        {
            let kept = Kept {
                file: "/etc/resolv.conf".into(),
                was,
                live: Some("/run/l".into()),
                wrote: wrote.clone(),
                original: original.to_vec(),
            };
            let bytes = kept.write();
            assert_eq!(Kept::read(&bytes).as_ref(), Ok(&kept));
            assert_eq!(kept.own(), Some("127.0.0.1:53".parse().unwrap()));
            // Torn anywhere in its head it is refused, and nothing panics.
            let head = bytes.len() - original.len();
            assert!((0..head).all(|length| Kept::read(&bytes[..length]) == Err(NotKept)));
        }
        assert_eq!(Kept::read(b"nameserver 192.0.2.1\n"), Err(NotKept));
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
            let text = written(original, Writer::of(original, None), OWN, &Second::LeftOut(LeftOut::Nobody), "/etc/x");
            let kept = Kept::of_text(&text, "/etc/resolv.conf", &was).unwrap();
            assert_eq!(kept.original, original.as_bytes(), "{text}");
            assert_eq!(
                (&kept.wrote, kept.own(), kept_in(&text)),
                (&text, Some("127.0.0.1:53".parse().unwrap()), Some("/etc/x"))
            );
            assert_eq!(Kept::read(&kept.write()), Ok(kept));
            // Cut off anywhere in the original, or where the name server stands, it is not
            // believed.
            let end = text.find("\nnameserver ").unwrap();
            assert!(
                text.char_indices().all(|(at, _)| at > end + 11 || Kept::of_text(&text[..at], "/f", &was).is_none())
            );
        }
        let stub =
            written("nameserver 127.0.0.53\n", Writer::ResolvedStub, OWN, &Second::LeftOut(LeftOut::Resolved), "/x");
        assert_eq!(Kept::of_text(&stub, "/f", &was).unwrap().live.as_deref(), Writer::ResolvedStub.live_source());
    }

    #[test]
    fn what_the_text_carries_is_a_comment_for_every_reader() {
        let original = "search a.test\n nameserver 192.0.2.1\nnameserver 192.0.2.2\n\noptions rotate\n";
        let text = written(original, Writer::Kubelet, OWN, &Second::LeftOut(LeftOut::Musl), "/etc/x");
        let read = ResolvConf::read(&text);
        assert_eq!(
            (read.nameservers, read.search, read.options),
            (servers("nameserver 127.0.0.1"), vec!["a.test".into()], vec!["rotate".into()])
        );
        assert_eq!(Writer::of(&text, None), Writer::Holdover);
        // glibc, Go, c-ares and Java take a line for a comment that begins with # or ;, musl one
        // that begins with no keyword of its own.
        let carried = text.split(['\n', '\r']).filter(|line| line.contains("192.0.2."));
        assert_eq!(carried.filter(|line| line.starts_with("#< ")).count(), 2);
        // Where a reader might see more lines than one, or the bytes would not come back, nothing
        // is carried.
        for odd in ["# x\rnameserver 192.0.2.1\n", "# \0\n", "# \u{85}\n", "# \u{fffd}\n", &"#\n".repeat(CARRIED_MAX)] {
            let text = written(odd, Writer::Unknown, OWN, &Second::LeftOut(LeftOut::Nobody), "/etc/x");
            assert!(
                !text.contains(CARRIED_HEAD) && Kept::of_text(&text, "/f", &Was::Link(String::new())).is_none(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_kept_original_is_a_resolv_conf() {
        let kept = Kept {
            file: "/f".into(),
            was: Was::Link("t".into()),
            live: None,
            wrote: "nameserver 127.0.0.1\n".into(),
            original: b"nameserver 192.0.2.1\n".to_vec(),
        };
        assert_eq!(servers(&String::from_utf8(kept.write()).unwrap()), servers("nameserver 192.0.2.1"));
    }
}
