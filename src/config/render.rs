//! Renders the default configuration file: every key with its default, its reason and its range.
//!
//! `config/default.toml` is this text; a test keeps the two equal. Parsing the text gives the
//! default settings.

use std::fmt::Write;

use super::keys;
use super::sections::{SECTIONS, SectionShape};

const HEAD: &str = "holdover's configuration: every key with its default. All keys are optional; delete what you do \
                    not change. Flags override environment variables (HOLDOVER_SECTION_KEY), which override this file.";

/// Columns of a comment line at the most.
const COLUMNS: usize = 100;

/// Renders the default configuration file. Arrays of tables are commented out, since they have no
/// default.
#[must_use]
pub fn default_file() -> String {
    let mut out = String::new();
    comment("# ", &mut out, HEAD);
    for section in SECTIONS {
        // An example is commented out, so that its explanations are comments within a comment.
        let mark = match section.shape {
            SectionShape::Table => "",
            SectionShape::ArrayOfTables => "# ",
        };
        let comment_mark = format!("{mark}# ");
        out.push('\n');
        comment("# ", &mut out, section.text);
        let _ = writeln!(out, "{mark}{}", section.head());
        for key in keys::of_section(section.name) {
            comment(&comment_mark, &mut out, &key.text());
            comment(&comment_mark, &mut out, &format!("Allowed: {}.", key.allowed()));
            let _ = writeln!(out, "{mark}{} = {}", key.name(), key.default_toml());
        }
    }
    out
}

/// Appends a paragraph as comment lines that begin with `mark`, broken between words.
fn comment(mark: &str, out: &mut String, paragraph: &str) {
    let mut column = COLUMNS;
    for word in paragraph.split(' ') {
        let width = word.chars().count();
        if column + 1 + width > COLUMNS {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(mark);
            column = mark.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}

/// Renders the table of all keys for the README, as Markdown.
#[must_use]
pub fn table() -> String {
    let mut out = String::from("| key | default | allowed |\n|---|---|---|\n");
    for section in SECTIONS {
        let example = match section.shape {
            SectionShape::Table => "",
            SectionShape::ArrayOfTables => "e.g. ",
        };
        for key in keys::of_section(section.name) {
            let (head, name, default) = (section.head(), key.name(), key.default_toml());
            let _ = writeln!(out, "| `{head} {name}` | {example}`{default}` | {} |", key.allowed());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_broken_between_words_and_keep_all_of_them() {
        let mut out = String::new();
        let paragraph = "word ".repeat(50) + "end.";
        comment("# # ", &mut out, &paragraph);
        assert!(out.lines().all(|line| line.starts_with("# # word") && line.len() <= COLUMNS), "{out}");
        assert_eq!(out.lines().map(|line| &line[4..]).collect::<Vec<_>>().join(" "), paragraph);
        assert_eq!(out.lines().count(), 3);
    }
}
