//! The names and types that an operator wants flushed, read from a request to the admin interface.

use crate::adapters::admin::FlushScope;
use crate::adapters::seed;
use crate::core::key::{Key, is_within};

/// Names and types that are to be flushed.
pub(super) struct FlushRequest {
    /// The name in wire format, in lower case.
    name: Vec<u8>,
    extent: Extent,
    /// The type; `None` for all types.
    rtype: Option<u16>,
    /// The request in words, for the log.
    words: String,
}

/// How much of the tree of names a request covers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The name itself, and no other name.
    Name,
    /// The name itself and all names below it.
    Subtree,
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
        let name = seed::read_name(text)
            .ok_or_else(|| format!("\"{text}\" is no domain name. Allowed: a name such as www.example.com"))?;
        let rtype = scope.rtype.as_deref().map(|rtype| {
            seed::read_type(rtype).ok_or_else(|| {
                format!("type \"{rtype}\" is not known. Allowed: a name such as A or AAAA, or TYPE and a number")
            })
        });
        let words = match (extent, &scope.rtype) {
            (Extent::Name, None) => text.clone(),
            (Extent::Name, Some(rtype)) => format!("{text} {rtype}"),
            (Extent::Subtree, None) => format!("{text} and all below"),
            (Extent::Subtree, Some(rtype)) => format!("{text} and all below, {rtype}"),
        };
        Ok(Self { name: name.to_ascii_lowercase(), extent, rtype: rtype.transpose()?, words })
    }

    /// The request in words, for the log.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// Whether the request covers the answer that is remembered under this key.
    pub(super) fn covers(&self, key: &Key) -> bool {
        let is_named = match self.extent {
            Extent::Name => key.name() == self.name,
            Extent::Subtree => is_within(key.name(), &self.name),
        };
        is_named && self.rtype.is_none_or(|rtype| rtype == key.qtype())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::name;

    fn covered(own: Option<&str>, below: Option<&str>, rtype: Option<&str>) -> Result<Vec<&'static str>, String> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let request = FlushRequest::read(&FlushScope { name: text(own), below: text(below), rtype: text(rtype) })?;
        let keys = [("example.com", 1), ("www.example.com", 1), ("www.example.com", 28), ("wexample.com", 1)];
        let shown = ["example.com A", "www.example.com A", "www.example.com AAAA", "wexample.com A"];
        let is = |(text, rtype): &(&str, u16)| request.covers(&Key::new(&name(text), *rtype, 1, Dnssec::default()));
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
