//! Lists what is remembered, page by page.
//!
//! One page is one walk over answers and failures, in slices ([`super::walks`]), which keeps no
//! more than the names of the page. Names come in their canonical order (RFC 4034 §6.1), so that
//! those of one zone stand together and a page can begin behind any name; or hottest first, which
//! is one page alone, since hits change from one page to the next.
//!
//! Left out are answers past their maximum stale, and positive answers that a denial overrules.

use std::collections::BinaryHeap;
use std::sync::Arc;

use super::context::Context;
use super::walks::in_slices;
use crate::core::classify::Failure;
use crate::core::decision::Recheck;
use crate::core::key::{Dnssec, Key, NameText, is_within, type_text};
use crate::core::time::Timestamp;
use crate::memory::cached::{CachedAnswer, FailureNote};
use crate::memory::cached_failure::CachedFailure;
use crate::memory::journal::Origin;
use crate::telemetry::reading::explanation::{FailureReading, kind_label};
use crate::telemetry::reading::names::{ListedName, NamePage};
use crate::telemetry::reading::seconds;

/// The most names on a page: each takes some 1.3 KB at the most, so that a page stays below the
/// 4 MiB that a client of the admin interface reads.
pub const PAGE_MAX: usize = 1_000;

/// Which names are listed, and in which order. Conditions that are set hold together.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Only answers that are not fresh any more.
    pub stale: bool,
    /// Only names whose last resolution failed.
    pub failed: bool,
    /// Only this name, in lower-cased wire form, and all below it.
    pub below: Option<Vec<u8>>,
    /// Only answers that came from there.
    pub origin: Option<Origin>,
    /// The order of the names.
    pub order: NameOrder,
    /// The most names on the page, at most [`PAGE_MAX`].
    pub limit: usize,
}

/// The order in which names are listed.
#[derive(Clone, Debug)]
pub enum NameOrder {
    /// By name, from behind this key on.
    ByName(Option<Box<Key>>),
    /// Those with the most hits first; names without a hit are left out.
    HottestFirst,
}

/// Something that is remembered under a key.
enum Item {
    Answer(Arc<CachedAnswer>),
    Failure(Arc<CachedFailure>),
}

/// An item with its place in the order; the first has the least one.
struct Placed {
    place: Vec<u8>,
    key: Key,
    item: Item,
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Placed {}

/// A walk that looks for the names of one page.
struct Search {
    selection: Selection,
    /// The place behind which the page begins.
    after: Vec<u8>,
    now: Timestamp,
    matching: u64,
    /// Whether a name behind those of the page was met.
    is_more: bool,
    /// The names so far; the last one is on top.
    found: BinaryHeap<Placed>,
}

/// Lists one page.
pub(super) async fn list(context: Arc<Context>, selection: Selection) -> NamePage {
    let now = context.now();
    let mut search = Search::new(selection, now);
    let store = context.memory.store();
    in_slices(store.answers(), |cached| search.offer_answer(cached)).await;
    in_slices(store.failures(), |failed| search.offer_failure(failed)).await;
    search.page(|placed| show(&context, placed, now))
}

impl Search {
    fn new(selection: Selection, now: Timestamp) -> Self {
        let after = match &selection.order {
            NameOrder::ByName(Some(key)) => place_of(key),
            NameOrder::ByName(None) | NameOrder::HottestFirst => Vec::new(),
        };
        Self { selection, after, now, matching: 0, is_more: false, found: BinaryHeap::new() }
    }

    fn offer_answer(&mut self, cached: Arc<CachedAnswer>) {
        let wanted = &self.selection;
        let is_wanted = cached.entry.is_servable(self.now)
            && !cached.is_overruled(self.now)
            && (!wanted.stale || !cached.is_fresh(self.now))
            && (!wanted.failed || cached.failure.failures() > 0)
            && wanted.origin.is_none_or(|origin| origin == cached.origin());
        if let Some(key) = cached.key().filter(|_| is_wanted) {
            let hits = cached.hits();
            self.offer(key, hits, Item::Answer(cached));
        }
    }

    fn offer_failure(&mut self, failed: Arc<CachedFailure>) {
        if self.selection.stale || self.selection.origin.is_some() {
            return;
        }
        if let Some(key) = Key::from_stored(&failed.key) {
            self.offer(key, 0, Item::Failure(failed));
        }
    }

    /// Takes an item if it belongs on the page as far as is known.
    fn offer(&mut self, key: Key, hits: u32, item: Item) {
        if self.selection.below.as_ref().is_some_and(|below| !is_within(key.name(), below)) {
            return;
        }
        let place = match self.selection.order {
            NameOrder::ByName(_) => place_of(&key),
            NameOrder::HottestFirst if hits == 0 => return,
            NameOrder::HottestFirst => [&(u32::MAX - hits).to_be_bytes()[..], &place_of(&key)].concat(),
        };
        self.matching += 1;
        if place <= self.after {
            return;
        }
        self.found.push(Placed { place, key, item });
        if self.found.len() > self.selection.limit {
            let _ = self.found.pop();
            self.is_more = true;
        }
    }

    fn page(self, show: impl Fn(&Placed) -> ListedName) -> NamePage {
        let names = self.found.into_sorted_vec();
        let last = names.last().filter(|_| self.is_more && matches!(self.selection.order, NameOrder::ByName(_)));
        let next = last.map(|last| key_text(&last.key));
        NamePage { names: names.iter().map(show).collect(), matching: self.matching, next }
    }
}

/// The place of a key in canonical order: its labels from the last to the first, then the key
/// itself, since a label may hold any byte.
fn place_of(key: &Key) -> Vec<u8> {
    let (mut labels, mut rest) = (Vec::new(), key.name());
    while let Some((&length, tail)) = rest.split_first() {
        let Some((label, after)) = tail.split_at_checked(usize::from(length)).filter(|_| length > 0) else { break };
        labels.push(label);
        rest = after;
    }
    let mut place = Vec::with_capacity(2 * key.as_bytes().len());
    for label in labels.iter().rev() {
        place.extend_from_slice(label);
        place.push(0);
    }
    place.extend_from_slice(key.as_bytes());
    place
}

/// A key as one word: name, type and the number of its DNSSEC bits, as in `www.example.com./A/0`.
fn key_text(key: &Key) -> String {
    format!("{}/{}/{}", NameText(key.name()), type_text(key.qtype()), key.service())
}

fn show(context: &Context, placed: &Placed, now: Timestamp) -> ListedName {
    let key = &placed.key;
    let listed = ListedName {
        name: NameText(key.name()).to_string(),
        rtype: type_text(key.qtype()).into_owned(),
        dnssec: match key.dnssec() {
            Dnssec { dnssec_ok: true, checking_disabled: true } => "do cd",
            Dnssec { dnssec_ok: true, checking_disabled: false } => "do",
            Dnssec { dnssec_ok: false, checking_disabled: true } => "cd",
            Dnssec { dnssec_ok: false, checking_disabled: false } => "",
        },
        ..ListedName::default()
    };
    match &placed.item {
        Item::Answer(cached) => {
            let fresh = cached.is_fresh(now);
            ListedName {
                kind: kind_label(cached.entry.kind),
                origin: Some(cached.origin().label()),
                age_seconds: (!cached.entry.undated).then(|| seconds(now.since(cached.entry.stored))),
                fresh,
                ttl_left_seconds: if fresh { seconds(now.until(cached.fresh_until())) } else { 0.0 },
                servable_seconds: seconds(now.until(cached.entry.stale_until)),
                hits: cached.hits(),
                failure: show_failure(context, key, &cached.failure, cached.failed_for(), now),
                ..listed
            }
        }
        Item::Failure(failed) => ListedName {
            kind: "failure",
            failure: show_failure(context, key, &failed.note, Some(failed.reason.failure), now),
            ..listed
        },
    }
}

/// A failed resolution that no answer followed; `None` when the last one did not fail.
pub(super) fn show_failure(
    context: &Context,
    key: &Key,
    note: &FailureNote,
    reason: Option<Failure>,
    now: Timestamp,
) -> Option<FailureReading> {
    (note.failures() > 0).then(|| FailureReading {
        reason: reason.map(Failure::label),
        failures: note.failures(),
        recheck_seconds: match context.recheck(key, context.group_of(key), note, now) {
            Recheck::NotDue => seconds(now.until(note.recheck_at())),
            Recheck::Due => 0.0,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::entry::Entry;
    use crate::core::testing::{Response, name, policy};
    use crate::core::upstream::GroupId;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn key(text: &str) -> Key {
        Key::new(&name(text), 1, 1, Dnssec::default())
    }

    fn answer(text: &str, hits: u32) -> Arc<CachedAnswer> {
        let key = key(text);
        let bytes = Response::new(text, 1).a(text, 60).bytes();
        let entry = Entry::remember(&key, &bytes, classify(1, &bytes), &policy(), NOW).unwrap().entry;
        let cached = Arc::new(CachedAnswer::new(&key, entry, GroupId::new(0)));
        for _ in 0..hits {
            cached.hit();
        }
        cached
    }

    fn all() -> Selection {
        Selection { stale: false, failed: false, below: None, origin: None, order: NameOrder::ByName(None), limit: 3 }
    }

    const NAMES: [(&str, u32); 5] =
        [("b.example.com", 1), ("example.com", 9), ("a.example.net", 0), ("c.b.example.com", 5), ("zexample.com", 2)];

    /// The names on a page, how many match, and where the next page begins.
    fn page(selection: Selection, seconds: u64) -> (Vec<String>, u64, Option<String>) {
        let mut search = Search::new(selection, NOW.plus(std::time::Duration::from_secs(seconds)));
        NAMES.iter().for_each(|(text, hits)| search.offer_answer(answer(text, *hits)));
        let page =
            search.page(|placed| ListedName { name: NameText(placed.key.name()).to_string(), ..ListedName::default() });
        (page.names.into_iter().map(|own| own.name).collect(), page.matching, page.next)
    }

    #[test]
    fn pages_follow_one_another_in_canonical_order_and_miss_nothing() {
        let (first, matching, next) = page(all(), 1);
        assert_eq!(first, ["example.com.", "b.example.com.", "c.b.example.com."]);
        assert_eq!((matching, next.as_deref()), (5, Some("c.b.example.com./A/0")));
        let order = NameOrder::ByName(Some(Box::new(key("c.b.example.com"))));
        let (second, matching, next) = page(Selection { order, ..all() }, 1);
        assert_eq!((second, matching, next), (vec!["zexample.com.".to_owned(), "a.example.net.".to_owned()], 5, None));
    }

    #[test]
    fn the_hottest_come_first_and_names_without_a_hit_not_at_all() {
        let (names, matching, next) = page(Selection { order: NameOrder::HottestFirst, ..all() }, 1);
        assert_eq!(names, ["example.com.", "c.b.example.com.", "zexample.com."]);
        assert_eq!((matching, next), (4, None));
    }

    #[test]
    fn conditions_hold_together() {
        let below = |text: &str| Some(name(text));
        assert_eq!(page(Selection { below: below("example.com"), ..all() }, 1).1, 3);
        assert_eq!(page(Selection { stale: true, ..all() }, 1).1, 0);
        assert_eq!(page(Selection { stale: true, below: below("b.example.com"), ..all() }, 100).1, 2);
        assert_eq!(page(all(), 100_000).1, 0, "past their maximum stale");
        assert_eq!(page(Selection { failed: true, ..all() }, 1).1, 0);
        assert_eq!(page(Selection { origin: Some(Origin::Seed), ..all() }, 1).1, 0);
        assert_eq!(page(Selection { origin: Some(Origin::Upstream), ..all() }, 1).1, 5);
    }

    #[test]
    fn no_two_keys_have_one_place() {
        let one_label = Key::new(b"\x03b\x00a\x00", 1, 1, Dnssec::default());
        let two_labels = Key::new(b"\x01a\x01b\x00", 1, 1, Dnssec::default());
        assert_ne!(place_of(&one_label), place_of(&two_labels));
        assert_eq!(key_text(&one_label), "b\\000a./A/0");
    }
}
