//! The colours of `holdover status`, which only a terminal gets, and none where `NO_COLOR` is set
//! (<https://no-color.org>) or the terminal is dumb.
//!
//! | line | colour |
//! |---|---|
//! | with words in capitals, which an operator should act on, or an upstream that is down | red |
//! | about trouble, or an upstream that is impaired | yellow |
//! | any other | none |

use std::io::{self, IsTerminal};

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// Words for which a line is red.
const ALARMING: [&str; 7] = ["OUTAGE", "SHRUNK", "NOT WORKING", "LOOP", "DROPPED", "NOT TO BE HAD", ": down"];
/// Words for which a line is yellow.
const WORRYING: [&str; 2] = ["trouble ", ": impaired"];

/// Whether standard output is a terminal that understands escape sequences.
pub(super) fn is_screen() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").unwrap_or_default() != "dumb"
}

/// Whether texts are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Palette {
    Coloured,
    Plain,
}

impl Palette {
    /// The palette for what is written to standard output.
    pub(super) fn of_standard_output() -> Self {
        let is_wanted = std::env::var_os("NO_COLOR").unwrap_or_default().is_empty();
        if is_wanted && is_screen() { Self::Coloured } else { Self::Plain }
    }

    /// A text, line by line in its colour.
    pub(super) fn paint(self, text: &str) -> String {
        if self == Self::Plain {
            return text.to_owned();
        }
        let has = |line: &str, words: &[&str]| words.iter().any(|word| line.contains(word));
        let painted = text.lines().map(|line| match (has(line, &ALARMING), has(line, &WORRYING)) {
            (true, _) => format!("{RED}{line}{PLAIN}\n"),
            (false, true) => format!("{YELLOW}{line}{PLAIN}\n"),
            (false, false) => format!("{line}\n"),
        });
        painted.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_has_a_colour() {
        let text = "OUTAGE       for 3 s\nupstream     vpc: impaired\nqueries      1 fresh\n";
        assert_eq!(Palette::Plain.paint(text), text);
        assert_eq!(
            Palette::Coloured.paint(text),
            "\x1b[31mOUTAGE       for 3 s\x1b[0m\n\x1b[33mupstream     vpc: impaired\x1b[0m\nqueries      1 fresh\n"
        );
    }
}
