//! Renders the default configuration file: every key with its default, its reason and its range.
//!
//! `config/default.toml` is this text; a test keeps the two equal. Parsing it gives the default
//! settings.

use std::fmt::Write;

use super::keys::{self, SECTIONS, Shape};

/// The head of the file.
const HEAD: &str = "\
# holdover's configuration: every key with its default. All keys are optional; delete what you do not change.
# Flags cover environment variables (HOLDOVER_SECTION_KEY), which cover this file.
";

/// Renders the default file.
#[must_use]
pub fn default_file() -> String {
    let mut out = HEAD.to_owned();
    for section in SECTIONS {
        out.push('\n');
        for line in section.text {
            let _ = writeln!(out, "# {}", line.trim());
        }
        let mark = match section.shape {
            Shape::Table => "",
            Shape::Records => "# ",
        };
        let _ = match section.shape {
            Shape::Table => writeln!(out, "[{}]", section.name),
            Shape::Records => writeln!(out, "# [[{}]]", section.name),
        };
        for known in keys::of_section(section.name) {
            let (_, name) = keys::split(known.key());
            for line in known.text() {
                let _ = writeln!(out, "{mark}# {}", line.trim());
            }
            let _ = writeln!(out, "{mark}# Allowed: {}.", known.allowed());
            let _ = writeln!(out, "{mark}{name} = {}", known.default_toml());
        }
    }
    out
}

/// Renders the table of all keys for the README, as Markdown.
#[must_use]
pub fn table() -> String {
    let mut out = String::from("| key | default | allowed |\n|---|---|---|\n");
    for section in SECTIONS {
        for known in keys::of_section(section.name) {
            let (_, name) = keys::split(known.key());
            let _ = match section.shape {
                Shape::Table => {
                    writeln!(out, "| `[{}] {name}` | `{}` | {} |", section.name, known.default_toml(), known.allowed())
                }
                Shape::Records => {
                    writeln!(
                        out,
                        "| `[[{}]] {name}` | e.g. `{}` | {} |",
                        section.name,
                        known.default_toml(),
                        known.allowed()
                    )
                }
            };
        }
    }
    out
}
