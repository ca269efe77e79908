//! The common interface of all keys of the configuration, whatever kind of value a key takes.
//!
//! The file, the environment, the messages and the default file all ask a key by way of
//! [`ConfigKey`]. Keys with a range are [`Bounded`](super::limits::Bounded); lists, words and paths
//! are `PlainKey`.

/// A key of the configuration.
pub trait ConfigKey: Sync {
    /// Section and name of the key, such as `stale.maximum`.
    fn full_name(&self) -> &'static str;

    /// Purpose of the key and the reason for its default, as one paragraph.
    fn text(&self) -> String;

    /// The default as TOML; for a key of an array of tables, an example.
    fn default_toml(&self) -> String;

    /// The allowed values in words, to follow "Allowed: " in a message.
    fn allowed(&self) -> String;

    /// Whether the key may be left out.
    fn presence(&self) -> Presence;

    /// The section of the key, such as `stale`.
    fn section(&self) -> &'static str {
        self.full_name().rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The name of the key within its section, such as `maximum`.
    fn name(&self) -> &'static str {
        self.full_name().rsplit_once('.').map_or(self.full_name(), |(_, name)| name)
    }
}

/// Whether a key may be left out of its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The key may be left out, and then has its default.
    Optional,
    /// The key may be left out, and has no default: leaving it out means something else.
    WithoutDefault,
    /// The section means nothing without the key, for which there is no default.
    Required,
}

/// A key whose value has no range: a list, a word, a path or a name.
pub(super) struct PlainKey {
    /// Section and name of the key, such as `listen.addresses`.
    pub(super) key: &'static str,
    /// Purpose of the key and the reason for its default.
    pub(super) text: &'static str,
    /// The default as TOML; for a key of an array of tables, an example.
    pub(super) toml: &'static str,
    /// Writes the allowed values; a function, so that the text can name the numbers of `limits`.
    pub(super) allowed: fn() -> String,
    pub(super) presence: Presence,
}

impl ConfigKey for PlainKey {
    fn full_name(&self) -> &'static str {
        self.key
    }

    fn text(&self) -> String {
        self.text.to_owned()
    }

    fn default_toml(&self) -> String {
        self.toml.to_owned()
    }

    fn allowed(&self) -> String {
        (self.allowed)()
    }

    fn presence(&self) -> Presence {
        self.presence
    }
}
