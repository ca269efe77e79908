//! Lets the resolver share what it remembers, if that is wanted and this program can; and shows how
//! it stands.

use std::sync::Arc;

use crate::config::settings::Settings;
use crate::resolver::Resolver;
use crate::resolver::ports::Chance;

#[cfg(feature = "shared-cache")]
pub(crate) use with::complaint;
#[cfg(feature = "shared-cache")]
pub(super) use with::{Shown, start};
#[cfg(not(feature = "shared-cache"))]
pub(crate) use without::complaint;
#[cfg(not(feature = "shared-cache"))]
pub(super) use without::{Shown, start};

/// With the adapter for it.
#[cfg(feature = "shared-cache")]
mod with {
    use super::{Arc, Chance, Resolver, Settings};
    use crate::adapters::shared_cache::{self, SharedCacheClient};
    use crate::core::time::Timestamp;
    use crate::telemetry::reading::{SharedCacheReading, seconds};
    use crate::telemetry::shared_cache::{Counted, Reach};

    /// The shared cache as the admin interface sees it.
    pub(in crate::app) struct Shown {
        /// Where it is.
        url: String,
        /// Whose it is.
        group: String,
        /// Itself.
        cache: Arc<SharedCacheClient>,
    }

    impl Shown {
        /// How it stands now.
        pub(in crate::app) fn read(&self, now: Timestamp) -> SharedCacheReading {
            let counters = self.cache.counters();
            let (problem, failing_seconds) = match self.cache.reach() {
                Reach::Reached => (None, None),
                Reach::Lost { since, reason } => (Some(reason.advice().to_owned()), Some(seconds(now.since(since)))),
            };
            SharedCacheReading {
                url: self.url.clone(),
                group: self.group.clone(),
                working: problem.is_none(),
                problem,
                failing_seconds,
                lookups: counters.by_label_of(&Counted::LOOKUPS),
                writes: counters.by_label_of(&Counted::WRITES),
                ignored_entries: counters.by_label_of(&Counted::IGNORED_ENTRIES),
            }
        }
    }

    /// Starts to share, if that is wanted.
    pub(in crate::app) fn start(
        settings: &Settings,
        chance: &Arc<dyn Chance>,
        resolver: &Arc<Resolver>,
    ) -> Option<Shown> {
        let own = settings.shared_cache.as_ref()?;
        let cache = SharedCacheClient::start(own, Arc::clone(chance), resolver);
        Some(Shown { url: own.url.clone(), group: own.group.clone(), cache })
    }

    /// What is wrong with the files that it needs.
    pub(crate) fn complaint(settings: &Settings) -> Option<String> {
        shared_cache::check(settings.shared_cache.as_ref()?).err().map(|unusable| unusable.to_string())
    }
}

/// Without: the configuration refuses what would need it.
#[cfg(not(feature = "shared-cache"))]
mod without {
    use std::convert::Infallible;

    use super::{Arc, Chance, Resolver, Settings};
    use crate::core::time::Timestamp;
    use crate::telemetry::reading::SharedCacheReading;

    /// None.
    pub(in crate::app) struct Shown(Infallible);

    impl Shown {
        /// Never called.
        pub(in crate::app) fn read(&self, _now: Timestamp) -> SharedCacheReading {
            match self.0 {}
        }
    }

    /// Shares nothing.
    pub(in crate::app) fn start(_: &Settings, _: &Arc<dyn Chance>, _: &Arc<Resolver>) -> Option<Shown> {
        None
    }

    /// Nothing.
    pub(crate) fn complaint(_: &Settings) -> Option<String> {
        None
    }
}
