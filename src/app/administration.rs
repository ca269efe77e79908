//! The side of the sidecar that its admin interface shows and changes.
//!
//! What is remembered is exported, imported and flushed in the memory; the resolver is asked only
//! for its part of the reading and for its readiness.

use std::sync::Arc;

use super::export::Export;
use super::flush_request::FlushRequest;
use super::list_request;
use super::name_request;
use super::seeds;
use super::shared_cache::AdministeredSharedCache;
use super::state_file::AdministeredStateFile;
use crate::adapters::admin::{Administered, Flush, FlushScope, Imported, ListScope, NameQuestion};
use crate::adapters::seed;
use crate::core::key::{Dnssec, Key};
use crate::core::message::CLASS_IN;
use crate::core::special::Readiness;
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::journal::Origin;
use crate::resolver::Resolver;
use crate::resolver::ports::PortFuture;
use crate::telemetry::reading::explanation::Explanation;
use crate::telemetry::reading::names::NamePage;
use crate::telemetry::reading::{Reading, ShrunkReading, seconds};
use crate::telemetry::state_file::Durable;
use crate::telemetry::tally::{Connections, Tally, UpstreamCounters};
use crate::telemetry::{events, output};

/// All parts of a sidecar that its admin interface shows or changes.
pub(super) struct Administration {
    pub(super) memory: Arc<Memory>,
    pub(super) resolver: Arc<Resolver>,
    /// The counters of each UDP thread and of TCP.
    pub(super) tallies: Vec<Arc<Tally>>,
    pub(super) connections: Arc<Connections>,
    /// The counters of the transport to the upstreams.
    pub(super) upstream: Arc<UpstreamCounters>,
    /// The listen addresses with their final ports, as text.
    pub(super) listen: Vec<String>,
    /// When the process started.
    pub(super) started: Timestamp,
    /// What did not fit into the limits of the process.
    pub(super) shrunk: Vec<ShrunkReading>,
    pub(super) state_file: Option<AdministeredStateFile>,
    pub(super) shared_cache: Option<AdministeredSharedCache>,
}

impl Administered for Administration {
    fn reading(&self) -> Reading {
        let now = self.memory.now();
        let mut reading = Reading {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: seconds(now.since(self.started)),
            listen: self.listen.clone(),
            ignored_responses: self.upstream.ignored_responses().by_label(),
            upstream_traffic: self.upstream.traffic().by_label(),
            tcp_connections: self.connections.by_label(),
            task_restarts: self.resolver.vitals().restarts().by_label(),
            log_lines_dropped: output::dropped(),
            shrunk: self.shrunk.clone(),
            upstream_sockets_lacking: self.upstream.lacking(),
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

    fn explain(&self, question: &NameQuestion) -> Result<Explanation, String> {
        let (name, types) = name_request::read_question(question)?;
        let mut explanation = self.resolver.explain(&name, &types);
        // Records are written as text where seeds are, which the resolver does not know.
        for (own, qtype) in explanation.questions.iter_mut().zip(types) {
            let key = Key::new(&name, qtype, CLASS_IN, Dnssec::default());
            if let Some(cached) = self.memory.find_answer(&key, self.memory.now())
                && let Some(remembered) = &mut own.remembered
            {
                remembered.records = seed::show_records(&cached.entry);
            }
        }
        Ok(explanation)
    }

    fn list(&self, scope: &ListScope) -> Result<PortFuture<NamePage>, String> {
        Ok(self.resolver.list(list_request::read(scope)?))
    }

    fn export(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        Box::new(Export::new(&self.memory, self.memory.now()))
    }

    fn import(&self, text: &str) -> Result<Imported, String> {
        let imported = seeds::import(text, &self.memory, Origin::Import).map_err(|error| error.to_string())?;
        events::CacheImported { learned: imported.learned, older: imported.older }.emit();
        Ok(imported)
    }

    fn import_max(&self) -> usize {
        seeds::size_max(self.memory.policy())
    }

    fn flush(&self, scope: &FlushScope) -> Result<Flush, String> {
        let request = FlushRequest::read(scope)?;
        let words = request.words().to_owned();
        // The memory is flushed first, so that no flushed answer is given from here on. The flush
        // is written to the state file next, so that no flushed answer comes back after a crash.
        let scope = request.scope().clone();
        let flushed = self.memory.flush_all(&scope);
        events::CacheFlushed { scope: &words, flushed }.emit();
        let durable = match &self.state_file {
            Some(state_file) => state_file.flush(scope, self.memory.now()),
            None => Box::pin(std::future::ready(Durable::Off)),
        };
        Ok(Flush { flushed, durable })
    }
}
