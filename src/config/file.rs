//! The reader of the configuration file, which makes a [`Layer`] of TOML, in which each value has
//! its line.
//!
//! Sections and keys that are not known are reported here, with the known name that is most like
//! them, and apart from mistakes: a file may be meant for a newer version as well. Values are only
//! read; whether they are allowed is decided later, together with those of the environment and the
//! flags.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Problem};
use super::key::ConfigKey;
use super::keys;
use super::layer::{GivenTable, GivenValue, Layer, Raw, ValueSource};
use super::sections::{ConfigSection, SECTIONS, SectionShape};

/// What a configuration file says.
#[derive(Clone, Debug, Default)]
pub struct ParsedFile {
    /// The values of known keys.
    pub layer: Layer,
    /// Sections and keys that are not known.
    pub unknown: Vec<Problem>,
    /// Mistakes: the text is not TOML, or a section is not written as a section.
    pub wrong: Vec<Problem>,
}

/// Parses the text of a configuration file that has to be without any mistake; the path is only
/// used in messages.
///
/// # Errors
/// [`ConfigError::Wrong`] when the text is not TOML, or has a section or key that is not known.
pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Layer, ConfigError> {
    let ParsedFile { layer, unknown, wrong } = read(path, text);
    let problems = [unknown, wrong].concat();
    if problems.is_empty() { Ok(layer) } else { Err(ConfigError::Wrong(problems)) }
}

/// Reads the text of a configuration file with all its mistakes; the path is only used in messages.
pub fn read(path: impl AsRef<Path>, text: &str) -> ParsedFile {
    let path = path.as_ref().display().to_string().into();
    let mut parser = FileParser { path, text, layer: Layer::default(), unknown: Vec::new(), problems: Vec::new() };
    match DeTable::parse(text) {
        Ok(root) => parser.root(root.get_ref()),
        Err(error) => {
            let source = parser.source(error.span().map_or(0, |span| span.start));
            let complaint =
                format!("{}. Correct the line; `holdover config default` shows a complete file.", error.message());
            parser.problems.push(Problem::place("not TOML:", &source, complaint));
        }
    }
    ParsedFile { layer: parser.layer, unknown: parser.unknown, wrong: parser.problems }
}

/// A file that is being read, with the values and the problems that were found so far.
struct FileParser<'a> {
    path: Arc<str>,
    text: &'a str,
    layer: Layer,
    unknown: Vec<Problem>,
    problems: Vec<Problem>,
}

impl FileParser<'_> {
    /// The line of a byte offset into the text.
    fn source(&self, offset: usize) -> ValueSource {
        let before = self.text.get(..offset).unwrap_or(self.text);
        ValueSource::File {
            path: Arc::clone(&self.path),
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
        }
    }

    fn root(&mut self, root: &DeTable<'_>) {
        for (name, value) in root {
            self.section(name.get_ref(), name, value);
        }
    }

    /// Reads one section. `full` is its name from the root of the file, such as `stale.suffix`;
    /// `name` is the name as it was written, for its place.
    fn section(&mut self, full: &str, name: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        // A section that is not known gets a message with the nearest one that is.
        let source = self.source(name.span().start);
        let Some(section) = SECTIONS.iter().find(|section| section.name == full) else {
            let what = if matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) { "section" } else { "key" };
            let guess = keys::nearest(full, SECTIONS.iter().map(|section| section.name));
            let hint = guess.map_or_else(String::new, |guess| format!(" Did you mean [{guess}]?"));
            let complaint = format!("is not known.{hint} {}", known_sections());
            self.unknown.push(Problem::place(&format!("{what} \"{full}\""), &source, complaint));
            return;
        };

        // The value has to be written in the way that the section is: `[name]` or `[[name]]`.
        match (section.shape, value.get_ref()) {
            (SectionShape::Table, DeValue::Table(table)) => {
                let values = self.table(section.name, table);
                self.layer.values.extend(values);
            }
            (SectionShape::ArrayOfTables, DeValue::Array(items)) => {
                let mut tables = Vec::new();
                for item in items.iter() {
                    let source = self.source(item.span().start);
                    if let DeValue::Table(table) = item.get_ref() {
                        tables.push(GivenTable { source, values: self.table(section.name, table) });
                    } else {
                        let complaint = format!("is not a table: write {} and its keys below.", section.head());
                        self.problems.push(Problem::place(section.name, &source, complaint));
                    }
                }
                self.layer.tables.insert(section.name, tables);
            }
            (SectionShape::Table, _) => {
                let complaint = format!("is a section: write {} and its keys below.", section.head());
                self.problems.push(Problem::place(full, &source, complaint));
            }
            (SectionShape::ArrayOfTables, _) => {
                let complaint =
                    format!("is a section that may be repeated: write {} and its keys below.", section.head());
                self.problems.push(Problem::place(full, &source, complaint));
            }
        }
    }

    /// Reads the keys of one table, and the sections that are nested in it.
    fn table(&mut self, section: &'static str, table: &DeTable<'_>) -> BTreeMap<&'static str, GivenValue> {
        let mut values = BTreeMap::new();
        for (name, value) in table {
            // TOML gives the tables of `[[stale.suffix]]` as a key of `[stale]`.
            let nested = format!("{section}.{}", name.get_ref());
            if SECTIONS.iter().any(|section| section.name == nested) {
                self.section(&nested, name, value);
                continue;
            }
            // A key that is not known gets a message with the nearest key of the same section.
            let source = self.source(name.span().start);
            match keys::of_section(section).find(|key| key.name() == name.get_ref()) {
                Some(key) => {
                    let given = GivenValue { raw: self.raw(value), source };
                    values.insert(key.full_name(), given);
                }
                None => {
                    let names = || keys::of_section(section).map(ConfigKey::name);
                    let hint = match keys::nearest(name.get_ref(), names()) {
                        Some(guess) => format!("Did you mean \"{guess}\"?"),
                        None => format!("Known keys: {}.", names().collect::<Vec<_>>().join(", ")),
                    };
                    let what = format!("key \"{}\" in [{section}]", name.get_ref());
                    self.unknown.push(Problem::place(&what, &source, format!("is not known. {hint}")));
                }
            }
        }
        values
    }

    /// Converts a TOML value to a raw value, without any regard to its key.
    fn raw(&self, value: &Spanned<DeValue<'_>>) -> Raw {
        match value.get_ref() {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                .map_or_else(|_| Raw::Other(number.as_str().to_owned()), Raw::Integer),
            DeValue::Boolean(on) => Raw::Switch(*on),
            DeValue::Array(items) => Raw::List(
                items
                    .iter()
                    .map(|item| GivenValue { raw: self.raw(item), source: self.source(item.span().start) })
                    .collect(),
            ),
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
                Raw::Other(self.text.get(value.span()).unwrap_or_default().to_owned())
            }
        }
    }
}

fn known_sections() -> String {
    let heads: Vec<String> = SECTIONS.iter().map(ConfigSection::head).collect();
    format!("Known sections: {}.", heads.join(" "))
}
