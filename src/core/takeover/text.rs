//! The text that is written into a `resolv.conf` in place of the original, and the original that it
//! carries as comments.

use std::net::IpAddr;

use super::second_nameserver::SecondNameserver;
use crate::core::resolv_conf::{MARK, ResolvConfWriter};

/// The prefix of the line that names the file in which the original is kept.
const KEPT_IN: &str = "#   ";
/// Most bytes of an original that the text carries; a common one has 200.
pub(super) const CARRIED_MAX: usize = 4 << 10;
/// The line before those of the original, which follows that with [`KEPT_IN`].
pub(super) const CARRIED_HEAD: &str = "# and here, for when that file is gone:\n";
/// The prefix of an empty line of the original.
const CARRIED: &str = "#<";
/// The prefix of any other line of the original.
const CARRIED_FULL: &str = "#< ";

/// The text that takes the place of `original`, which `writer` wrote and which is kept in the file
/// `kept`. holdover answers on the address `own`.
#[must_use]
pub fn replacement(
    original: &str,
    writer: ResolvConfWriter,
    own: IpAddr,
    second: &SecondNameserver,
    kept: &str,
) -> String {
    // The head says what this file is, and how to get the original back.
    let mut text = format!(
        "{MARK}, which answers on {own} and forwards to the original name servers.\n\
         # `holdover resolvconf restore` puts the original back, which is kept in:\n{KEPT_IN}{kept}\n"
    );
    if can_be_carried(original) {
        text.push_str(CARRIED_HEAD);
        // Splitting at line ends gives one piece more than there are line ends, most often an empty
        // one. It is carried as well, so that joining the pieces gives the very same bytes.
        for piece in original.split('\n') {
            text.push_str(if piece.is_empty() { CARRIED } else { CARRIED_FULL });
            text.push_str(piece);
            text.push('\n');
        }
    }
    // The name servers replace those of the original.
    text.push_str(&format!("nameserver {own}\n"));
    if let SecondNameserver::Written(nameserver) = second {
        text.push_str(&format!("nameserver {nameserver}\n"));
    }
    // Everything else stays, apart from the exceptions of the table in the parent module.
    for line in original.lines() {
        let mut words = line.split_ascii_whitespace();
        let keep = match words.next() {
            None | Some("nameserver") => None,
            Some(first) if first.starts_with(['#', ';']) => {
                (writer == ResolvConfWriter::Unknown).then(|| line.to_owned())
            }
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
fn is_dropped(option: &str, writer: ResolvConfWriter, second: &SecondNameserver) -> bool {
    match option {
        "rotate" => matches!(second, SecondNameserver::Written(_)),
        // The stub validates itself; holdover passes on what an upstream across the network claims.
        "trust-ad" => writer == ResolvConfWriter::ResolvedStub,
        _ => false,
    }
}

/// The file in which the original is kept, according to a text that holdover wrote; `None` for any
/// other text.
#[must_use]
pub fn kept_in(text: &str) -> Option<&str> {
    if !text.starts_with(MARK) {
        return None;
    }
    text.lines().find_map(|line| line.strip_prefix(KEPT_IN))
}

/// Whether every reader takes the lines of this original for comments once they are marked as such.
///
/// Some readers end a line at a carriage return (Java), or lose track of lines at a zero byte
/// (musl's `fgets`).
fn can_be_carried(original: &str) -> bool {
    let plain = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    // Bytes that were not UTF-8 were read as the replacement character, and could not be given
    // back.
    original.len() <= CARRIED_MAX
        && original.replace("\r\n", "\n").chars().all(|letter| plain(letter) && letter != '\u{fffd}')
}

/// The original that a text carries which holdover wrote; `None` when it carries none, or was cut
/// off.
pub(super) fn carried(text: &str) -> Option<String> {
    kept_in(text)?;
    let mut lines = text.split('\n').skip_while(|line| !line.starts_with(KEPT_IN)).skip(1).peekable();
    lines.next_if(|line| Some(*line) == CARRIED_HEAD.strip_suffix('\n'))?;
    let mut pieces = Vec::new();
    while let Some(piece) = lines.next_if(|line| line.starts_with(CARRIED)) {
        let piece = piece.strip_prefix(CARRIED).unwrap_or_default();
        pieces.push(piece.strip_prefix(' ').unwrap_or(piece));
    }
    // A text that ends before its first name server was cut off, perhaps within the original.
    lines.next().is_some_and(|line| line.starts_with("nameserver ")).then(|| pieces.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::resolv_conf::ResolvConf;
    use crate::core::takeover::second_nameserver::LeftOut;

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn search_options_comments_and_unknown_lines_stay_and_rotate_goes() {
        let original = "# by hand\n\nsearch example.com\nnameserver 192.0.2.1\noptions rotate ndots:2\n\
                        options rotate\nsortlist 192.0.2.0\n";
        let alone =
            replacement(original, ResolvConfWriter::Unknown, OWN, &SecondNameserver::LeftOut(LeftOut::Musl), "/etc/x");
        assert!(
            alone.ends_with(
                "\nnameserver 127.0.0.1\n# by hand\nsearch example.com\noptions rotate ndots:2\noptions rotate\n\
                 sortlist 192.0.2.0\n"
            ),
            "{alone}"
        );
        let both = SecondNameserver::Written(ResolvConf::read(original).nameservers[0].clone());
        let both = replacement(original, ResolvConfWriter::NetworkManager, OWN, &both, "/etc/x");
        assert!(
            both.ends_with(
                "\nnameserver 127.0.0.1\nnameserver 192.0.2.1\nsearch example.com\noptions ndots:2\n\
                 sortlist 192.0.2.0\n"
            ),
            "{both}"
        );
        assert_eq!((ResolvConfWriter::of(&both, None), kept_in(&both)), (ResolvConfWriter::Holdover, Some("/etc/x")));
        let stub = replacement(
            "nameserver 127.0.0.53\noptions edns0 trust-ad\n",
            ResolvConfWriter::ResolvedStub,
            OWN,
            &SecondNameserver::LeftOut(LeftOut::Resolved),
            "/etc/x",
        );
        assert!(stub.ends_with("\nnameserver 127.0.0.1\noptions edns0\n"), "{stub}");
        assert_eq!(kept_in("#   /etc/x\n"), None, "only in a text that holdover wrote");
    }
}
