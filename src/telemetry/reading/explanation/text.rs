//! An explanation as text for people.
//!
//! Names come from whoever asked for them, and records from whoever answered: both are written with
//! the escapes of RFC 1035 §5.1 before they get here.

use std::fmt::{Display, Formatter, Result};

use super::{ExplainedQuestion, ExplainedUpstream, Explanation, Foreseen, ForeseenReading, RememberedReading};
use crate::telemetry::words::duration;

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "{}\n", self.name)?;
        let zone = if self.zone == "." {
            "no zone has upstreams of its own for it, so those for all names are asked".to_owned()
        } else {
            format!("{}, the longest with upstreams of its own that holds the name", self.zone)
        };
        line(f, "zone", &zone)?;
        if let Some(outage) = self.outage_seconds {
            line(f, "OUTAGE", &format!("for {}", duration(outage)))?;
        }
        for upstream in &self.upstreams {
            show_upstream(f, upstream)?;
        }
        if self.upstreams.is_empty() {
            line(f, "upstream", "NONE")?;
        }
        if self.shared_cache {
            line(f, "shared cache", "asked when upstreams have no answer")?;
        }
        self.questions.iter().try_for_each(|question| show_question(f, question))
    }
}

/// Writes one line: a subject, then the words about it.
fn line(f: &mut Formatter<'_>, subject: &str, words: &str) -> Result {
    writeln!(f, "{subject:<12} {words}")
}

fn show_upstream(f: &mut Formatter<'_>, upstream: &ExplainedUpstream) -> Result {
    let state = if upstream.looping { "LOOP (sends our own queries back)" } else { upstream.state };
    let age = upstream.state_age_seconds.map_or_else(String::new, |age| format!(" for {}", duration(age)));
    let p99 = upstream.rtt_p99_seconds.map_or_else(String::new, |p99| format!(", p99 {:.1} ms", p99 * 1000.0));
    line(f, "upstream", &format!("{}, {}: {state}{age}{p99}", upstream.upstream, upstream.role))?;
    if upstream.evidence.is_empty() { Ok(()) } else { line(f, "", &upstream.evidence) }
}

fn show_question(f: &mut Formatter<'_>, question: &ExplainedQuestion) -> Result {
    // What is remembered comes first, then what stands in its way.
    writeln!(f)?;
    match (&question.remembered, question.local) {
        (Some(remembered), _) => show_remembered(f, &question.rtype, remembered)?,
        (None, Some("hosts_file")) => line(f, &question.rtype, "the hosts file answers it")?,
        (None, Some(_)) => line(f, &question.rtype, "a special-use name (RFC 6761), which is never forwarded")?,
        (None, None) => line(f, &question.rtype, "nothing is remembered")?,
    }
    for (subject, beside) in [("  beneath", &question.overruled), ("  nearest", &question.nearest)] {
        if let Some(beside) = beside {
            show_remembered(f, subject, beside)?;
        }
    }
    if let Some(failure) = &question.failure {
        let reason = failure.reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        let again = if failure.recheck_seconds > 0.0 {
            format!("asked again in {} at the earliest", duration(failure.recheck_seconds))
        } else {
            "may be asked again now".to_owned()
        };
        line(f, "  failure", &format!("{} in a row{reason}; {again}", failure.failures))?;
    }
    if question.in_flight {
        line(f, "  in flight", "a resolution is under way")?;
    }
    if question.failed_in_a_row > 0 {
        let times = question.failed_in_a_row;
        line(f, "  TROUBLE", &format!("failed {times} times in a row although its upstreams answer others"))?;
    }
    for charge in &question.charges {
        let since = duration(charge.duration_seconds);
        line(f, "  TROUBLE", &format!("{}: {} names failing for {since}", charge.charged, charge.names))?;
    }
    if let Some(critical) = &question.critical {
        line(f, "  critical", &format!("{}; kept fresh without clients, and never evicted", critical.state))?;
    }
    line(f, "  now", &foreseen_words(&question.now))?;
    line(f, "  outage", &outage_words(&question.outage))
}

fn show_remembered(f: &mut Formatter<'_>, subject: &str, answer: &RememberedReading) -> Result {
    let kind = match answer.kind {
        "positive" => "",
        "nodata" => "NODATA, ",
        _ => "NXDOMAIN, ",
    };
    let state = if answer.fresh {
        format!("fresh for {}", duration(answer.ttl_left_seconds))
    } else {
        format!("stale, servable for {}", duration(answer.servable_seconds))
    };
    let age = answer.age_seconds.map_or_else(String::new, |age| format!(" {} ago", duration(age)));
    let marked = if answer.marked_stale { ", marked as stale by the upstream" } else { "" };
    let from = answer.origin.replace('_', " ");
    line(f, subject, &format!("{kind}{state}; from {from}{age}, {} hits{marked}", answer.hits))?;
    answer.records.iter().try_for_each(|record| line(f, "", record))
}

/// The answer of a query in words, without what becomes of it later.
fn foreseen_words(foreseen: &ForeseenReading) -> String {
    let waits = duration_of_a_wait(foreseen.waits_seconds);
    let answer = Foreseen::ALL.into_iter().find(|own| own.label() == foreseen.answer);
    let words = match answer {
        Some(Foreseen::Local) => "a local answer".to_owned(),
        Some(Foreseen::Fresh) => "the answer, fresh".to_owned(),
        Some(Foreseen::Stale) => "the answer, stale, at once".to_owned(),
        Some(Foreseen::RefreshedElseStale) => format!("a fresh answer within {waits}, else the stale one"),
        Some(Foreseen::Resolved) => {
            format!("the answer of an upstream within {waits}, else what is nearest, else SERVFAIL")
        }
        Some(Foreseen::ResolvedElsewhere) => {
            format!("what a fallback or the shared cache knows within {waits}, else SERVFAIL")
        }
        Some(Foreseen::CachedFailure) => "SERVFAIL at once".to_owned(),
        Some(Foreseen::Failed) | None => format!("SERVFAIL within {waits}"),
    };
    let beside = match answer {
        Some(Foreseen::Fresh | Foreseen::Stale) if foreseen.asks => "; it is refreshed beside",
        _ => "",
    };
    format!("{words}{beside} ({})", foreseen.because)
}

/// The answer in an outage that begins now, with what becomes of it as the outage lasts.
fn outage_words(foreseen: &ForeseenReading) -> String {
    let (fresh, stale) = (foreseen.fresh_for_seconds, foreseen.stale_for_seconds);
    match (fresh > 0.0, stale > 0.0) {
        (true, true) => format!("fresh for {}, then stale for {}", duration(fresh), duration(stale)),
        (true, false) => format!("fresh for {}", duration(fresh)),
        (false, true) => format!("stale at once for {}", duration(stale)),
        (false, false) => foreseen_words(foreseen),
    }
}

fn duration_of_a_wait(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::reading::ChargeReading;
    use crate::telemetry::reading::explanation::FailureReading;

    fn foreseen(answer: Foreseen, seconds: [f64; 3]) -> ForeseenReading {
        let [waits_seconds, fresh_for_seconds, stale_for_seconds] = seconds;
        ForeseenReading {
            answer: answer.label(),
            because: "reason".to_owned(),
            asks: true,
            waits_seconds,
            fresh_for_seconds,
            stale_for_seconds,
        }
    }

    #[test]
    fn each_foreseen_answer_has_its_words() {
        let words = |answer, seconds| foreseen_words(&foreseen(answer, seconds));
        assert_eq!(words(Foreseen::Fresh, [0.0; 3]), "the answer, fresh; it is refreshed beside (reason)");
        assert_eq!(
            words(Foreseen::RefreshedElseStale, [0.02, 0.0, 9.0]),
            "a fresh answer within 20 ms, else the stale one (reason)"
        );
        assert_eq!(words(Foreseen::Failed, [0.4, 0.0, 0.0]), "SERVFAIL within 400 ms (reason)");
        let outage = |seconds| outage_words(&foreseen(Foreseen::Fresh, seconds));
        assert_eq!(outage([0.0, 60.0, 3600.0]), "fresh for 1 min 0 s, then stale for 1 h 0 min");
        assert_eq!(outage([0.0, 0.0, 3.0]), "stale at once for 3 s");
    }

    #[test]
    fn what_an_operator_should_act_on_stands_in_capitals() {
        let question = ExplainedQuestion {
            rtype: "A".to_owned(),
            failure: Some(FailureReading { reason: Some("timeout"), failures: 3, recheck_seconds: 4.0 }),
            failed_in_a_row: 3,
            charges: vec![ChargeReading {
                charged: "zone example.com. A".to_owned(),
                names: 4,
                duration_seconds: 40.0,
            }],
            now: foreseen(Foreseen::CachedFailure, [0.0; 3]),
            outage: foreseen(Foreseen::CachedFailure, [0.0; 3]),
            ..ExplainedQuestion::default()
        };
        let text = Explanation {
            name: "www.example.com.".to_owned(),
            zone: ".".to_owned(),
            outage_seconds: Some(61.0),
            questions: vec![question],
            ..Explanation::default()
        }
        .to_string();
        for words in [
            "OUTAGE       for 1 min 1 s",
            "upstream     NONE",
            "A            nothing is remembered",
            "  failure    3 in a row (timeout); asked again in 4 s at the earliest",
            "  TROUBLE    failed 3 times in a row although its upstreams answer others",
            "  TROUBLE    zone example.com. A: 4 names failing for 40 s",
            "  now        SERVFAIL at once (reason)",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    }
}
