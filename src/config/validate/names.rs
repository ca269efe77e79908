//! The validation of domain names, and of other spellings that people use for "a name and all below
//! it".
//!
//! `*.corp.example.com` is a domain name by itself (RFC 4592 §2.1.1), one that nobody ever asks
//! for: taken as it stands, it would match nothing, in silence. The same is true of
//! `~corp.example.com` (systemd-resolved) and `.corp.example.com` (some proxies).

use super::validator::Validator;
use crate::config::layer::GivenValue;
use crate::core::key::read_name;

/// What a name of the configuration stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NameExtent {
    /// The name and all names below it.
    Subtree,
    /// The name alone.
    Name,
}

/// The name without what stands before it in other programs' spellings of a suffix; `None` when the
/// text has none of them, or no name is left.
#[must_use]
pub fn bare_suffix(text: &str) -> Option<&str> {
    let text = text.trim();
    let bare = text.trim_start_matches(['*', '.', '~']);
    let is_spelling = bare.len() < text.len() && !bare.contains('*');
    (is_spelling && read_name(bare).is_some()).then_some(bare)
}

impl Validator<'_> {
    /// Reads a domain name in wire form; `None` after a complaint that says what to write.
    pub(super) fn name(&mut self, key: &str, given: &GivenValue, extent: NameExtent) -> Option<Box<[u8]>> {
        let text = given.raw.text().unwrap_or_default();
        let name = given.raw.text().and_then(read_name).filter(|_| !text.contains('*') && !text.starts_with('~'));
        if name.is_some() {
            return name;
        }
        let what = match (bare_suffix(text), extent) {
            (Some(bare), NameExtent::Subtree) => {
                format!("is no suffix as it is written here: write \"{bare}\", which stands for it and all below it")
            }
            (Some(bare), NameExtent::Name) => {
                format!("would stand for many names, and this key takes one: write \"{bare}\", or each name below it")
            }
            (None, NameExtent::Subtree) if text.contains('*') => {
                "has a wildcard, which matches nothing here: write a suffix without it, which stands for all below"
                    .to_owned()
            }
            (None, NameExtent::Name) if text.contains('*') => "has a wildcard, which matches nothing here".to_owned(),
            (None, NameExtent::Subtree | NameExtent::Name) => "is not a domain name".to_owned(),
        };
        self.complain(key, given, &what);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_of_a_suffix_are_understood() {
        for text in [
            "*.corp.example.com",
            ".corp.example.com",
            "~corp.example.com",
            "*corp.example.com",
            " *.corp.example.com ",
        ] {
            assert_eq!(bare_suffix(text), Some("corp.example.com"), "{text}");
        }
        for text in ["corp.example.com", "*", "*.", "~.", "a.*.example.com", "", "*.a..b"] {
            assert_eq!(bare_suffix(text), None, "{text}");
        }
    }
}
