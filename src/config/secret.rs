//! A text that must never be shown: not in a log line, not in a message, not in a status.
//!
//! It stands in a file of its own because both the raw layers and the validated settings hold one.

/// A password whose text is left out where a value that holds it is formatted for debugging.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}
