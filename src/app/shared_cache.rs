//! The connection between the resolver and the shared cache, where a shared cache is configured and
//! the program was compiled with one; and the view of the shared cache for the admin interface.
//!
//! The shared cache needs the memory, and the resolver's answers to queries for the name of its
//! server. The resolver asks the shared cache when no upstream answers, and owns the task of the
//! shared cache. Resolver and shared cache know each other only by ports, and are joined here.

use std::sync::Arc;

use crate::config::settings::Settings;
use crate::resolver::Resolver;
use crate::resolver::ports::Chance;

#[cfg(feature = "shared-cache")]
pub(crate) use with::complaint;
#[cfg(feature = "shared-cache")]
pub(super) use with::{AdministeredSharedCache, start};
#[cfg(not(feature = "shared-cache"))]
pub(crate) use without::complaint;
#[cfg(not(feature = "shared-cache"))]
pub(super) use without::{AdministeredSharedCache, start};

/// For a program that was compiled with the shared cache.
#[cfg(feature = "shared-cache")]
mod with {
    use std::net::SocketAddr;

    use super::{Arc, Chance, Resolver, Settings};
    use crate::adapters::shared_cache::{self, SharedCacheClient, SharedCachePorts};
    use crate::core::time::Timestamp;
    use crate::resolver::ports::{Answer, PortFuture, SharedCache};
    use crate::telemetry::reading::{SharedCacheReading, seconds};
    use crate::telemetry::shared_cache::{Counted, Reach};
    use crate::telemetry::tally::Tally;
    use crate::telemetry::tasks::LongTask;

    /// The shared cache as the admin interface sees it.
    pub(in crate::app) struct AdministeredSharedCache {
        url: String,
        group: String,
        cache: Arc<SharedCacheClient>,
    }

    impl AdministeredSharedCache {
        /// Status and counters of the shared cache, as JSON and metrics show them.
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

    /// Answers the queries for names of the shared cache's servers. They are not queries of
    /// clients, so they have a tally of their own, which nobody reads.
    struct OwnQueries {
        resolver: Arc<Resolver>,
        tally: Arc<Tally>,
    }

    impl Answer for OwnQueries {
        fn answer(&self, query: Vec<u8>, client: SocketAddr) -> PortFuture<Option<Vec<u8>>> {
            let (resolver, tally) = (Arc::clone(&self.resolver), Arc::clone(&self.tally));
            Box::pin(async move { resolver.answer(query, client, &tally).await })
        }
    }

    /// Starts the shared cache, where one is configured. The shared cache ends with the resolver.
    pub(in crate::app) fn start(
        settings: &Settings,
        chance: &Arc<dyn Chance>,
        resolver: &Arc<Resolver>,
    ) -> Option<AdministeredSharedCache> {
        let own = settings.shared_cache.as_ref()?;
        let answer = OwnQueries { resolver: Arc::clone(resolver), tally: Arc::new(Tally::default()) };
        let ports = SharedCachePorts {
            memory: Arc::clone(resolver.memory()),
            chance: Arc::clone(chance),
            answer: Arc::new(answer),
        };
        let (cache, start) = SharedCacheClient::new(own, ports);
        resolver.share(Arc::clone(&cache) as Arc<dyn SharedCache>);
        resolver.supervise(LongTask::SharedCache, start);
        Some(AdministeredSharedCache { url: own.url.clone(), group: own.group.clone(), cache })
    }

    /// The problem with a key, password or certificate file of the shared cache, in words; `None`
    /// when the files can be used, or no shared cache is configured.
    pub(crate) fn complaint(settings: &Settings) -> Option<String> {
        shared_cache::check(settings.shared_cache.as_ref()?).err().map(|unusable| unusable.to_string())
    }
}

/// For a program that was compiled without the shared cache, whose configuration can have none.
#[cfg(not(feature = "shared-cache"))]
mod without {
    use std::convert::Infallible;

    use super::{Arc, Chance, Resolver, Settings};
    use crate::core::time::Timestamp;
    use crate::telemetry::reading::SharedCacheReading;

    /// The shared cache as the admin interface sees it. Without a shared cache, the type has no
    /// value.
    pub(in crate::app) struct AdministeredSharedCache(Infallible);

    impl AdministeredSharedCache {
        /// Cannot be called, because no value of this type exists.
        pub(in crate::app) fn read(&self, _now: Timestamp) -> SharedCacheReading {
            match self.0 {}
        }
    }

    /// Starts nothing, because this program has no shared cache.
    pub(in crate::app) fn start(
        _: &Settings,
        _: &Arc<dyn Chance>,
        _: &Arc<Resolver>,
    ) -> Option<AdministeredSharedCache> {
        None
    }

    /// No problem, because this program has no shared cache and so reads no files for one.
    pub(crate) fn complaint(_: &Settings) -> Option<String> {
        None
    }
}
