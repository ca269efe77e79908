//! The validation of `[stale]` and `[[stale.suffix]]`: when and for how long stale answers are
//! served.

use std::time::Duration;

use super::names::NameExtent;
use super::validator::Validator;
use crate::config::error::Problem;
use crate::config::keys;
use crate::config::layer::GivenTable;
use crate::config::limits;
use crate::config::quantity::Timer;
use crate::core::policy::{ClientResponseTimer, StalePolicy, SuffixStale, TtlZero};

const SECTION: &str = "[[stale.suffix]]";

impl Validator<'_> {
    /// Validates `[stale]` and `[[stale.suffix]]`.
    pub(super) fn stale(&mut self) -> StalePolicy {
        let maximum = self.bounded(&limits::STALE_MAXIMUM);
        let policy = StalePolicy {
            client_response_timer: match self.bounded(&limits::STALE_CLIENT_RESPONSE_TIMER) {
                Timer::Adaptive => ClientResponseTimer::Adaptive {
                    at_least: limits::ADAPTIVE_TIMER_MIN,
                    at_most: limits::ADAPTIVE_TIMER_MAX,
                },
                Timer::Fixed(duration) => ClientResponseTimer::Fixed(duration),
            },
            maximum,
            answer_ttl: self.bounded(&limits::STALE_ANSWER_TTL),
            recheck_min: self.bounded(&limits::STALE_RECHECK_MINIMUM),
            recheck_max: self.bounded(&limits::STALE_RECHECK_MAXIMUM),
            suffixes: self.suffixes(maximum),
        };
        self.ascending([&limits::STALE_RECHECK_MINIMUM, &limits::STALE_RECHECK_MAXIMUM]);
        policy
    }

    /// The exceptions by suffix. `default` is the maximum stale of a suffix that names none.
    fn suffixes(&mut self, default: Duration) -> Vec<SuffixStale> {
        let tables = self.tables("stale.suffix");
        let mut suffixes: Vec<SuffixStale> = Vec::new();
        for table in tables.iter().take(limits::STALE_SUFFIXES_MAX) {
            // Without a usable name, the other keys of the table concern nothing.
            let Some(given) = table.values.get(keys::SUFFIX_NAME) else {
                let complaint = r#"has no name. Add a line such as name = "db.example.com"."#;
                self.report(Problem::place(SECTION, &table.source, complaint));
                continue;
            };
            let Some(suffix) = self.name(keys::SUFFIX_NAME, given, NameExtent::Subtree) else { continue };
            if suffixes.iter().any(|other| other.suffix == suffix) {
                self.complain(keys::SUFFIX_NAME, given, "is named twice");
            }
            suffixes.push(SuffixStale {
                suffix,
                maximum: self.suffix_maximum(table).unwrap_or(default),
                ttl_zero: self.suffix_ttl_zero(table).unwrap_or(TtlZero::Forget),
            });
        }
        // Only the first table beyond the bound is reported.
        if let Some(extra) = tables.get(limits::STALE_SUFFIXES_MAX) {
            let complaint = format!(
                "is one too many. Allowed: {} suffixes. One suffix covers all names below it.",
                limits::STALE_SUFFIXES_MAX
            );
            self.report(Problem::place(SECTION, &extra.source, complaint));
        }
        suffixes
    }

    fn suffix_maximum(&mut self, table: &GivenTable) -> Option<Duration> {
        let given = table.values.get(keys::SUFFIX_MAXIMUM)?;
        self.quantity(keys::SUFFIX_MAXIMUM, given, &limits::STALE_MAXIMUM)
    }

    fn suffix_ttl_zero(&mut self, table: &GivenTable) -> Option<TtlZero> {
        let given = table.values.get(keys::SUFFIX_TTL_ZERO)?;
        let words = [("forget", TtlZero::Forget), ("keep", TtlZero::KeepForOutages)];
        self.word(keys::SUFFIX_TTL_ZERO, given, &words)
    }
}
