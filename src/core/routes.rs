//! The routes from names to upstreams: the longest zone that holds a name decides.
//!
//! Every zone for which any upstream is configured is an upstream group of its own, and so is the
//! root. The routes are made once from the configuration and never change: the host's `resolv.conf`
//! may replace addresses of upstreams, but adds no zone.

use super::key::is_within;
use super::upstream::{GroupId, UpstreamPolicy};

/// The wire form of the root.
pub const ROOT: &[u8] = b"\x00";

/// The zones that have upstreams, and the group of each.
#[derive(Clone, Debug)]
pub struct Routes {
    /// In lower-cased wire form, longest first; the last is the root.
    zones: Vec<Box<[u8]>>,
}

impl Routes {
    /// Makes the routes to these upstreams.
    #[must_use]
    pub fn new(upstreams: &[UpstreamPolicy]) -> Self {
        let mut zones: Vec<Box<[u8]>> = upstreams.iter().flat_map(|upstream| upstream.zones.iter().cloned()).collect();
        zones.push(ROOT.into());
        zones.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        zones.dedup();
        Self { zones }
    }

    /// The upstream group of a name in lower-cased wire form.
    #[must_use]
    pub fn group_of(&self, name: &[u8]) -> GroupId {
        GroupId::new(self.zones.iter().position(|zone| is_within(name, zone)).unwrap_or_default())
    }

    /// The longest zone that holds a name in lower-cased wire form, in the same form.
    #[must_use]
    pub fn zone_of(&self, name: &[u8]) -> &[u8] {
        self.zones.iter().find(|zone| is_within(name, zone)).map_or(ROOT, |zone| zone)
    }

    /// Every zone in lower-cased wire form, with its upstream group.
    pub fn zones(&self) -> impl Iterator<Item = (GroupId, &[u8])> {
        self.zones.iter().enumerate().map(|(index, zone)| (GroupId::new(index), &**zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::name;

    #[test]
    fn the_longest_zone_that_holds_a_name_is_its_group_and_the_root_holds_the_rest() {
        let upstream = |zones: &[&str]| UpstreamPolicy {
            zones: zones.iter().map(|zone| name(zone).into()).collect(),
            ..UpstreamPolicy::plain("u", Vec::new())
        };
        let routes = Routes::new(&[upstream(&[]), upstream(&["example.com"]), upstream(&["corp.example.com"])]);
        let zone_of = |text: &str| {
            let group = routes.group_of(&name(text));
            routes.zones().find(|(own, _)| *own == group).map(|(_, zone)| zone.to_vec())
        };
        assert_eq!(zone_of("db.corp.example.com"), Some(name("corp.example.com")));
        assert_eq!(zone_of("www.example.com"), Some(name("example.com")));
        assert_eq!(zone_of("www.example.net"), Some(name("")));
        assert_eq!(routes.zones().count(), 3);
    }
}
