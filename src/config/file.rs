//! The configuration file: TOML into a [`Layer`], each value with its line. Unknown sections and
//! keys are refused here.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Problem};
use super::keys::{self, SECTIONS, Shape};
use super::layer::{Given, Layer, Origin, Raw, Record};

/// Reads the text of a file; `path` is for messages.
///
/// # Errors
/// [`ConfigError::Wrong`]: not TOML, or a section or key that is not known.
pub fn parse(path: &str, text: &str) -> Result<Layer, ConfigError> {
    let mut reader = Reader { path: path.into(), text, layer: Layer::default(), problems: Vec::new() };
    match DeTable::parse(text) {
        Ok(root) => reader.root(root.get_ref()),
        Err(error) => {
            let origin = reader.origin(error.span().map_or(0, |span| span.start));
            let complaint =
                format!("{}. Mend the line; `holdover config default` shows how a whole file looks.", error.message());
            reader.problems.push(Problem::place(&origin, "not TOML:", complaint));
        }
    }
    if reader.problems.is_empty() { Ok(reader.layer) } else { Err(ConfigError::Wrong(reader.problems)) }
}

/// What is being read.
struct Reader<'a> {
    /// The file, for messages.
    path: Arc<str>,
    /// Its text.
    text: &'a str,
    /// What was found.
    layer: Layer,
    /// What was wrong.
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// The line of an offset.
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        Origin::File { path: Arc::clone(&self.path), line: before.bytes().filter(|byte| *byte == b'\n').count() + 1 }
    }

    /// Reads the sections.
    fn root(&mut self, root: &DeTable<'_>) {
        for (name, value) in root {
            self.section(name.get_ref(), name, value);
        }
    }

    /// Reads one section.
    fn section(&mut self, full: &str, name: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let origin = self.origin(name.span().start);
        let Some(section) = SECTIONS.iter().find(|section| section.name == full) else {
            let what = if matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) { "section" } else { "key" };
            let guess = keys::nearest(full, SECTIONS.iter().map(|section| section.name));
            let hint = guess.map_or_else(String::new, |guess| format!(" Did you mean [{guess}]?"));
            self.problems.push(Problem::place(
                &origin,
                &format!("{what} \"{full}\""),
                format!("is not known.{hint} {}", known_sections()),
            ));
            return;
        };
        match (section.shape, value.get_ref()) {
            (Shape::Table, DeValue::Table(table)) => {
                let values = self.table(section.name, table);
                self.layer.values.extend(values);
            }
            (Shape::Records, DeValue::Array(records)) => {
                let mut read = Vec::new();
                for record in records.iter() {
                    let origin = self.origin(record.span().start);
                    match record.get_ref() {
                        DeValue::Table(table) => read.push(Record { origin, values: self.table(section.name, table) }),
                        _ => self.problems.push(Problem::place(
                            &origin,
                            section.name,
                            format!("is to be written [[{}]].", section.name),
                        )),
                    }
                }
                self.layer.records.insert(section.name, read);
            }
            (Shape::Table, _) => self.problems.push(Problem::place(
                &origin,
                full,
                format!("is a section: write [{full}] and its keys below."),
            )),
            (Shape::Records, _) => {
                self.problems.push(Problem::place(
                    &origin,
                    full,
                    format!("may stand several times: write [[{full}]] and its keys below."),
                ));
            }
        }
    }

    /// Reads the keys of one section.
    fn table(&mut self, section: &'static str, table: &DeTable<'_>) -> BTreeMap<&'static str, Given> {
        let mut values = BTreeMap::new();
        for (name, value) in table {
            let nested = format!("{section}.{}", name.get_ref());
            if SECTIONS.iter().any(|section| section.name == nested) {
                self.section(&nested, name, value);
                continue;
            }
            let origin = self.origin(name.span().start);
            match keys::find(section, name.get_ref()) {
                Some(known) => {
                    let given = Given { raw: self.raw(value), origin };
                    values.insert(known.key(), given);
                }
                None => {
                    let names = || keys::of_section(section).map(|known| keys::split(known.key()).1);
                    let hint = match keys::nearest(name.get_ref(), names()) {
                        Some(guess) => format!("Did you mean \"{guess}\"?"),
                        None => format!("Known keys: {}.", names().collect::<Vec<_>>().join(", ")),
                    };
                    self.problems.push(Problem::place(
                        &origin,
                        &format!("key \"{}\" in [{section}]", name.get_ref()),
                        format!("is not known. {hint}"),
                    ));
                }
            }
        }
        values
    }

    /// Takes a value over.
    fn raw(&self, value: &Spanned<DeValue<'_>>) -> Raw {
        match value.get_ref() {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                .map_or_else(|_| Raw::Other(number.as_str().to_owned()), Raw::Integer),
            DeValue::Boolean(on) => Raw::Switch(*on),
            DeValue::Array(items) => Raw::List(
                items
                    .iter()
                    .map(|item| Given { raw: self.raw(item), origin: self.origin(item.span().start) })
                    .collect(),
            ),
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
                Raw::Other(self.text.get(value.span()).unwrap_or_default().to_owned())
            }
        }
    }
}

/// The sections, for a message.
fn known_sections() -> String {
    let names: Vec<String> = SECTIONS
        .iter()
        .map(|section| match section.shape {
            Shape::Table => format!("[{}]", section.name),
            Shape::Records => format!("[[{}]]", section.name),
        })
        .collect();
    format!("Known sections: {}.", names.join(" "))
}
