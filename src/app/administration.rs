//! The sidecar as its admin interface shows and changes it.
//!
//! What is remembered is exported, imported and flushed in the memory; the resolver is asked only
//! for its part of the reading and for its readiness.

use std::sync::Arc;

use super::export::Export;
use super::flush_request::FlushRequest;
use super::state_file::AdministeredStateFile;
use super::{seeds, shared_cache};
use crate::adapters::admin::{Administered, Flush, FlushScope, Imported};
use crate::core::special::Readiness;
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::flushes::Scope;
use crate::memory::journal::Origin;
use crate::resolver::Resolver;
use crate::telemetry::events;
use crate::telemetry::reading::{Reading, seconds};
use crate::telemetry::state_file::Durable;
use crate::telemetry::tally::{Connections, Tally, UpstreamCounters};

/// All parts of a sidecar that its admin interface shows or changes.
pub(super) struct Administration {
    pub(super) memory: Arc<Memory>,
    pub(super) resolver: Arc<Resolver>,
    /// The counters of everything that answers queries.
    pub(super) tallies: Vec<Arc<Tally>>,
    /// The counters of clients' TCP connections.
    pub(super) connections: Arc<Connections>,
    /// The counters of the transport to the upstreams.
    pub(super) upstream: Arc<UpstreamCounters>,
    /// The listen addresses, as they are shown.
    pub(super) listen: Vec<String>,
    pub(super) started: Timestamp,
    pub(super) state_file: Option<AdministeredStateFile>,
    pub(super) shared_cache: Option<shared_cache::Shown>,
}

impl Administered for Administration {
    fn reading(&self) -> Reading {
        let now = self.memory.now();
        let mut reading = Reading {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: seconds(now.since(self.started)),
            listen: self.listen.clone(),
            ignored_responses: self.upstream.ignored_responses().by_label(),
            upstream_traffic: self.upstream.carried().by_label(),
            tcp_connections: self.connections.by_label(),
            state_file: self.state_file.as_ref().map(|state_file| state_file.read(now)),
            shared_cache: self.shared_cache.as_ref().map(|shared_cache| shared_cache.read(now)),
            ..self.resolver.reading()
        };
        reading.add_tallies(self.tallies.iter().map(|tally| &**tally));
        reading
    }

    fn readiness(&self) -> Readiness {
        self.resolver.readiness()
    }

    fn export(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        Box::new(Export::new(&self.memory, self.memory.now()))
    }

    fn import(&self, text: &str) -> Result<Imported, String> {
        let imported = seeds::take_in(text, &self.memory, Origin::Import).map_err(|error| error.to_string())?;
        events::CacheImported { learned: imported.learned, older: imported.older }.emit();
        Ok(imported)
    }

    fn import_max(&self) -> usize {
        seeds::size_max(self.memory.policy())
    }

    fn flush(&self, scope: &FlushScope) -> Result<Flush, String> {
        let request = FlushRequest::read(scope)?;
        let words = request.words().to_owned();
        // The memory comes first, so that no answer is given any more that was flushed; the state
        // file is told next, so that none comes back after a crash.
        let flushed: Scope = Arc::new(move |key| request.covers(key));
        let count = self.memory.flush_all(&flushed);
        events::CacheFlushed { scope: &words, flushed: count }.emit();
        let durable = match &self.state_file {
            Some(state_file) => state_file.flush(flushed, self.memory.now()),
            None => Box::pin(std::future::ready(Durable::Off)),
        };
        Ok(Flush { flushed: count, durable })
    }
}
