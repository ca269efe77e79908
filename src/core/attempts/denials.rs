//! Whose denial counts. Name servers are listed in an order, and they may have different views: a
//! public resolver denies internal names. So the denial (NXDOMAIN, NODATA) of a server is held back
//! until each server that is listed before it has really failed.
//!
//! | denial by | counts |
//! |---|---|
//! | the first in the list, or one with nobody before it that is not down | at once |
//! | a later primary | when each earlier one has really failed |
//! | a fallback | never: what a primary has not denied, a fallback cannot deny |
//!
//! An earlier server has *really failed* when it was asked, is not going to be asked again, and
//! each of its attempts has ended without an answer or is older than its patience. One that brought
//! a truncated answer, or one that is doubted, has not.

use super::choice::Choice;
use super::ledger::EndedBy;
use super::plan::Listed;
use crate::core::time::Timestamp;

/// Whether upstreams may still be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// Upstreams may be asked.
    Goes,
    /// Nothing is sent any more.
    Ended,
}

/// When a denial by the primary at this place counts, as far as is known now: the epoch when it
/// counts at once, and `None` while an earlier server is still to be asked, or may not be
/// contradicted.
pub(super) fn counts_at(denier: usize, choice: &Choice<'_>, sending: Sending) -> Option<Timestamp> {
    let mut at = Timestamp::EPOCH;
    for elder in before(denier, choice) {
        at = at.max(fails_at(elder, choice, sending)?);
    }
    Some(at)
}

/// The servers before a place whose answer a denial has to wait for.
fn before<'a>(denier: usize, choice: &Choice<'a>) -> impl Iterator<Item = &'a Listed> + use<'a> {
    choice.plan.listed.iter().take(denier).filter(|listed| listed.patience.is_some())
}

/// Whether an attempt with one of the servers before a place may still be answered.
pub(super) fn is_contradiction_possible(denier: usize, choice: &Choice<'_>) -> bool {
    before(denier, choice).any(|elder| choice.ledger.is_under_way(elder.upstream))
}

/// When a server will really have failed; `None` when more has to happen first.
fn fails_at(elder: &Listed, choice: &Choice<'_>, sending: Sending) -> Option<Timestamp> {
    let ledger = choice.ledger;
    let goes_on = match sending {
        Sending::Goes => choice.will_be_asked(elder.upstream),
        Sending::Ended => false,
    };
    let has_data = ledger.met(elder.upstream, EndedBy::Truncation) || ledger.met(elder.upstream, EndedBy::Doubt);
    if goes_on || ledger.asked(elder.upstream, 1) == 0 || has_data {
        return None;
    }
    let last = ledger.last_under_way(elder.upstream);
    Some(last.map_or(Timestamp::EPOCH, |sent_at| sent_at.plus(elder.patience.unwrap_or_default())))
}
