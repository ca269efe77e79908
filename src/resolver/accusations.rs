//! Tells in the log which zones and types are in trouble while the upstreams are well, once when it
//! begins and once when it ends.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::upstreams::Group;
use crate::core::decision::Availability;
use crate::core::key::{NameText, type_text};
use crate::core::time::Timestamp;
use crate::core::trouble::Charges;
use crate::core::upstream::GroupId;
use crate::telemetry::events;

/// What has been told so far: for each group, what is charged and since when. Bounded by the
/// questions in trouble that each group keeps.
#[derive(Default)]
pub(super) struct Accusations {
    told: HashMap<GroupId, HashMap<String, Timestamp>>,
}

impl Accusations {
    /// Tells what has changed since the last review. While upstreams are ill nothing new is told:
    /// whatever fails then is their fault.
    pub(super) fn review(&mut self, id: GroupId, group: &Group, now: Timestamp) {
        let charges = group.recoveries.charges();
        let told = self.told.entry(id).or_default();
        let present = in_words(&charges);
        told.retain(|charged, since| {
            let lasts = present.iter().any(|(present, ..)| present == charged);
            if !lasts {
                events::TroubleEnded { charged, lasted: now.since(*since) }.emit();
            }
            lasts
        });
        if group.availability() != Availability::Healthy {
            return;
        }
        for (charged, names, since) in present {
            if let Entry::Vacant(place) = told.entry(charged) {
                events::TroubleBegan { charged: place.key(), names }.emit();
                place.insert(since);
            }
        }
    }
}

/// All that is charged, as it is told: in words, with the number of names, and since when.
pub(super) fn in_words(charges: &Charges) -> Vec<(String, usize, Timestamp)> {
    let zones = charges
        .zones
        .iter()
        .map(|own| (format!("zone {} {}", NameText(&own.zone), type_text(own.qtype)), own.names, own.since));
    let types = charges.types.iter().map(|own| (format!("type {}", type_text(own.qtype)), own.names, own.since));
    zones.chain(types).collect()
}
