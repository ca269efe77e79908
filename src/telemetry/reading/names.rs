//! A page of the names that are remembered, as `/names` and `holdover cache list` show it.
//!
//! The fields are the keys of the JSON, with the same promises as those of a
//! [`Reading`](super::Reading); `config/ADMIN.md` lists them. The text for people is written by the
//! sidecar as well.

use std::fmt::{Display, Formatter, Result};

use serde::Serialize;

use super::explanation::FailureReading;
use crate::telemetry::words::duration;

/// Names that follow one another in the order that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NamePage {
    /// The names and types of this page.
    pub names: Vec<ListedName>,
    /// Number of all names and types that match, on this page or not.
    pub matching: u64,
    /// Where the next page begins: the value for `after`; `null` on the last page.
    pub next: Option<String>,
}

/// One name and type of which something is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ListedName {
    /// The name in lower case, with a dot at its end.
    pub name: String,
    /// The type, such as `AAAA`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The DNSSEC bits of the query: empty, `do`, `cd` or `do cd`.
    pub dnssec: &'static str,
    /// `positive`, `nodata`, `nxdomain`, or `failure` when only a failed resolution is known.
    pub kind: &'static str,
    /// Where the answer came from; `null` for failures.
    pub origin: Option<&'static str>,
    /// Time since an upstream gave the answer, in seconds; `null` when that is not known.
    pub age_seconds: Option<f64>,
    /// Whether the answer may be given as fresh.
    pub fresh: bool,
    /// Time for which the answer will be fresh, in seconds; 0 when it is not.
    pub ttl_left_seconds: f64,
    /// Time for which the answer may still be served, fresh or stale, in seconds.
    pub servable_seconds: f64,
    /// Number of hits, half of those of the answers before it included.
    pub hits: u32,
    /// The last failed resolution, if no answer came since; `null` without one.
    pub failure: Option<FailureReading>,
}

impl Display for NamePage {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.names.iter().try_for_each(|own| writeln!(f, "{own}"))?;
        let (shown, matching) = (self.names.len(), self.matching);
        writeln!(f, "{shown} of {matching} names and types")?;
        self.next.as_ref().map_or(Ok(()), |next| writeln!(f, "the next page: --after '{next}'"))
    }
}

impl Display for ListedName {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let bits = if self.dnssec.is_empty() { String::new() } else { format!(" ({})", self.dnssec) };
        write!(f, "{} {}{bits}: ", self.name, self.rtype)?;
        match self.kind {
            "nodata" => f.write_str("NODATA, ")?,
            "nxdomain" => f.write_str("NXDOMAIN, ")?,
            _ => {}
        }
        if let Some(origin) = self.origin {
            if self.fresh {
                write!(f, "fresh for {}", duration(self.ttl_left_seconds))?;
            } else {
                write!(f, "stale, servable for {}", duration(self.servable_seconds))?;
            }
            write!(f, ", from {}, {} hits", origin.replace('_', " "), self.hits)?;
        }
        let Some(failure) = &self.failure else { return Ok(()) };
        let separator = if self.origin.is_some() { "; " } else { "" };
        let reason = failure.reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        write!(f, "{separator}FAILED {} times in a row{reason}", failure.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_a_line_and_the_last_line_says_how_to_go_on() {
        let stale = ListedName {
            name: "www.example.com.".to_owned(),
            rtype: "A".to_owned(),
            dnssec: "do",
            kind: "nxdomain",
            origin: Some("state_file"),
            servable_seconds: 3600.0,
            hits: 7,
            failure: Some(FailureReading { reason: Some("timeout"), failures: 2, recheck_seconds: 1.0 }),
            ..ListedName::default()
        };
        let failed = ListedName { kind: "failure", origin: None, dnssec: "", ..stale.clone() };
        let page = NamePage { names: vec![stale, failed], matching: 9, next: Some("www.example.com./A/0".to_owned()) };
        assert_eq!(
            page.to_string(),
            "www.example.com. A (do): NXDOMAIN, stale, servable for 1 h 0 min, from state file, 7 hits; FAILED 2 times \
             in a row (timeout)\n\
             www.example.com. A: FAILED 2 times in a row (timeout)\n\
             2 of 9 names and types\n\
             the next page: --after 'www.example.com./A/0'\n"
        );
    }
}
