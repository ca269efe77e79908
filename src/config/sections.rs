//! The sections of the configuration file, in the order in which the default file shows them.

/// The way in which a section is written in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionShape {
    /// A table, which is written once: `[stale]`.
    Table,
    /// An array of tables, which may be repeated: `[[upstream]]`.
    ArrayOfTables,
}

/// A section of the configuration file.
pub struct ConfigSection {
    /// The name of the section, such as `stale.suffix`.
    pub name: &'static str,
    /// The way in which the section is written in the file.
    pub shape: SectionShape,
    /// Subject of the section, as one paragraph.
    pub text: &'static str,
}

impl ConfigSection {
    /// The head of the section as the file shows it, such as `[stale]` or `[[upstream]]`.
    #[must_use]
    pub fn head(&self) -> String {
        match self.shape {
            SectionShape::Table => format!("[{}]", self.name),
            SectionShape::ArrayOfTables => format!("[[{}]]", self.name),
        }
    }
}

/// All sections of the configuration file, in reading order.
pub const SECTIONS: &[ConfigSection] = &[
    ConfigSection {
        name: "listen",
        shape: SectionShape::Table,
        text: "Where holdover answers clients, over UDP and TCP alike.",
    },
    ConfigSection {
        name: "upstream",
        shape: SectionShape::ArrayOfTables,
        text: "The resolvers that holdover asks; repeat for each. Unless one of them is a primary for \
               all names, the name servers of /etc/resolv.conf are asked as well.",
    },
    ConfigSection {
        name: "stale",
        shape: SectionShape::Table,
        text: "Serving stale answers (RFC 8767), only when upstreams fail.",
    },
    ConfigSection {
        name: "stale.suffix",
        shape: SectionShape::ArrayOfTables,
        text: "Exceptions for the names under a suffix; repeat for each.",
    },
    ConfigSection {
        name: "cache",
        shape: SectionShape::Table,
        text: "Which answers are cached, and how long they count as fresh.",
    },
    ConfigSection { name: "answers", shape: SectionShape::Table, text: "What clients are sent of a cached answer." },
    ConfigSection {
        name: "hosts",
        shape: SectionShape::Table,
        text: "Names and addresses of a hosts file, for which no upstream is asked.",
    },
    ConfigSection {
        name: "state",
        shape: SectionShape::Table,
        text: "The state file, with which cached answers survive a restart. It is written in the \
               background, no query waits for it, and its size is bounded as that of the cache is.",
    },
    ConfigSection {
        name: "shared_cache",
        shape: SectionShape::Table,
        text: "Sharing answers with other instances by way of Valkey, or Redis 6.2 or newer. An instance \
               that knows nothing of a name, because it has just been started or its upstreams are down, \
               gets what another one has learned. Whatever happens to the shared cache, queries are \
               answered as they are without it.",
    },
    ConfigSection {
        name: "prefetch",
        shape: SectionShape::Table,
        text: "Refreshing names in use before their answers expire.",
    },
    ConfigSection {
        name: "budget",
        shape: SectionShape::Table,
        text: "How many packets go upstream, and how much work is in progress at the same time.",
    },
    ConfigSection { name: "attempts", shape: SectionShape::Table, text: "How one resolution spends its packets." },
    ConfigSection {
        name: "health",
        shape: SectionShape::Table,
        text: "When an upstream is impaired, down, and healthy again.",
    },
    ConfigSection {
        name: "admin",
        shape: SectionShape::Table,
        text: "The admin interface. Whatever happens to it, queries are still answered.",
    },
    ConfigSection {
        name: "critical",
        shape: SectionShape::ArrayOfTables,
        text: "Names that must always have an answer; repeat for each. They are resolved at the start, \
               refreshed even when nobody asks for them, and never evicted, and readiness waits for \
               them.",
    },
    ConfigSection {
        name: "ready",
        shape: SectionShape::Table,
        text: "When health checks report that holdover is ready. Queries are answered before that.",
    },
    ConfigSection { name: "drain", shape: SectionShape::Table, text: "How holdover ends after SIGTERM." },
    ConfigSection { name: "log", shape: SectionShape::Table, text: "The log, which is written to standard error." },
];
