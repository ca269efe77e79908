//! The names and types that somebody asks about, in the spelling of people.

use crate::adapters::admin::NameQuestion;
use crate::adapters::seed;
use crate::config::validate::bare_suffix;
use crate::core::message::{TYPE_A, TYPE_AAAA};

/// Reads one name into lower-cased wire form.
///
/// # Errors
/// A message for the operator, when the text is no domain name or stands for many.
pub(crate) fn read_one(text: &str) -> Result<Vec<u8>, String> {
    if let Some(bare) = bare_suffix(text) {
        return Err(format!("\"{text}\" stands for many names. Name one, such as {bare}"));
    }
    let name = seed::read_name(text).ok_or_else(|| {
        format!("\"{}\" is no domain name. Allowed: a name such as www.example.com", text.escape_debug())
    })?;
    // A byte of length is at most 63, which is no letter.
    Ok(name.to_ascii_lowercase())
}

/// Reads one type.
///
/// # Errors
/// A message for the operator, when the type is not known.
pub(crate) fn read_type(text: &str) -> Result<u16, String> {
    seed::read_type(text).ok_or_else(|| {
        let shown = text.escape_debug();
        format!("type \"{shown}\" is not known. Allowed: a name such as A or AAAA, or TYPE and a number")
    })
}

/// Reads a name and the types that are asked about: A and AAAA when the question names none.
///
/// # Errors
/// A message for the operator, as for [`read_one`] and [`read_type`].
pub(super) fn read_question(question: &NameQuestion) -> Result<(Vec<u8>, Vec<u16>), String> {
    let types = match &question.rtype {
        Some(rtype) => vec![read_type(rtype)?],
        None => vec![TYPE_A, TYPE_AAAA],
    };
    Ok((read_one(&question.name)?, types))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_type_is_asked_about_for_both_kinds_of_addresses() {
        let read = |name: &str, rtype: Option<&str>| {
            read_question(&NameQuestion { name: name.to_owned(), rtype: rtype.map(str::to_owned) })
        };
        assert_eq!(read("WWW.example.com", None), Ok((b"\x03www\x07example\x03com\x00".to_vec(), vec![1, 28])));
        assert_eq!(read(".", Some("ns")), Ok((vec![0], vec![2])));
        assert_eq!(read("a\\.b", Some("TYPE65280")), Ok((b"\x03a.b\x00".to_vec(), vec![65280])));
    }

    #[test]
    fn what_is_no_name_is_told_without_its_control_characters() {
        assert_eq!(
            read_one("a\x1b[31m..b"),
            Err("\"a\\u{1b}[31m..b\" is no domain name. Allowed: a name such as www.example.com".to_owned())
        );
        assert!(read_one("*.example.com").unwrap_err().contains("Name one, such as example.com"));
        assert!(read_type("\x07").unwrap_err().starts_with("type \"\\u{7}\" is not known"));
    }
}
