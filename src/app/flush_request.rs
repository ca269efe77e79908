//! The names and types that an operator wants flushed, read from a request to the admin interface.

use super::name_request::read_type;
use crate::adapters::admin::FlushScope;
use crate::adapters::seed;
use crate::config::validate::bare_suffix;
use crate::memory::flushes::{Extent, Scope};

/// Names and types that are to be flushed.
pub(super) struct FlushRequest {
    scope: Scope,
    /// The request in words, for the log.
    words: String,
}

impl FlushRequest {
    /// Reads the names and types that a request covers.
    ///
    /// # Errors
    /// A message for the operator, when the request names not exactly one of name and below, no
    /// domain name, or no known type.
    pub(super) fn read(scope: &FlushScope) -> Result<Self, String> {
        let (text, extent) = match (&scope.name, &scope.below) {
            (Some(name), None) => (name, Extent::Name),
            (None, Some(below)) => (below, Extent::Subtree),
            (None, None) | (Some(_), Some(_)) => {
                return Err("name what is to be flushed. Allowed: either name or below, and with it type; below=. is \
                            everything"
                    .to_owned());
            }
        };
        if let Some(bare) = bare_suffix(text) {
            return Err(format!(
                "\"{text}\" is no suffix as it is written here. To flush {bare} and all names below it, name {bare} \
                 as below (`holdover cache flush --below {bare}`)"
            ));
        }
        if text.trim() == "*" {
            return Err("\"*\" is a name like any other. To flush everything, name . as below".to_owned());
        }
        let name = seed::read_name(text)
            .ok_or_else(|| format!("\"{text}\" is no domain name. Allowed: a name such as www.example.com"))?;
        let rtype = scope.rtype.as_deref().map(read_type);
        let words = match (extent, &scope.rtype) {
            (Extent::Name, None) => text.clone(),
            (Extent::Name, Some(rtype)) => format!("{text} {rtype}"),
            (Extent::Subtree, None) => format!("{text} and all below"),
            (Extent::Subtree, Some(rtype)) => format!("{text} and all below, {rtype}"),
        };
        Ok(Self { scope: Scope::new(&name, extent, rtype.transpose()?), words })
    }

    /// The request in words, for the log.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// The names and types that the request covers.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::{Dnssec, Key};
    use crate::core::testing::name;

    fn covered(own: Option<&str>, below: Option<&str>, rtype: Option<&str>) -> Result<Vec<&'static str>, String> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let request = FlushRequest::read(&FlushScope { name: text(own), below: text(below), rtype: text(rtype) })?;
        let keys = [("example.com", 1), ("www.example.com", 1), ("www.example.com", 28), ("wexample.com", 1)];
        let shown = ["example.com A", "www.example.com A", "www.example.com AAAA", "wexample.com A"];
        let is =
            |(text, rtype): &(&str, u16)| request.scope().covers(&Key::new(&name(text), *rtype, 1, Dnssec::default()));
        Ok(keys.iter().zip(shown).filter(|(key, _)| is(key)).map(|(_, shown)| shown).collect())
    }

    #[test]
    fn a_name_a_suffix_and_a_type_are_told_apart() {
        assert_eq!(
            covered(Some("WWW.example.com."), None, None).unwrap(),
            ["www.example.com A", "www.example.com AAAA"]
        );
        assert_eq!(covered(Some("www.example.com"), None, Some("aaaa")).unwrap(), ["www.example.com AAAA"]);
        assert_eq!(covered(None, Some("example.com"), Some("A")).unwrap(), ["example.com A", "www.example.com A"]);
        assert_eq!(covered(None, Some("."), None).unwrap().len(), 4);
    }

    #[test]
    fn a_wildcard_is_refused_with_what_to_write() {
        for text in ["*.example.com", ".example.com", "~example.com"] {
            for told in [covered(Some(text), None, None), covered(None, Some(text), None)] {
                assert!(told.unwrap_err().contains("flush --below example.com`"), "{text}");
            }
        }
    }

    #[test]
    fn a_request_that_cannot_be_meant_is_rejected_with_what_is_allowed() {
        for (own, below, rtype) in [
            (None, None, None),
            (Some("a"), Some("b"), None),
            (Some("a..b"), None, None),
            (Some("a"), None, Some("AB")),
        ] {
            assert!(covered(own, below, rtype).unwrap_err().contains("Allowed: "), "{own:?} {below:?} {rtype:?}");
        }
    }
}
