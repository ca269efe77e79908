//! The fronts of a sidecar, which receive queries over UDP and TCP on all listen addresses.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::listeners::OpenAddress;
use super::start_error::StartError;
use super::stream_answerer::StreamAnswerer;
use crate::adapters::tcp::{self, TcpLimits, TcpPhase};
use crate::adapters::udp::UdpFront;
use crate::config::settings::Settings;
use crate::core::time::Timestamp;
use crate::resolver::ports::AccessList;
use crate::resolver::{self, Resolver};
use crate::telemetry::events;
use crate::telemetry::tally::{Answered, Connections, Tally};

/// The running UDP and TCP fronts, with the counters that both keep.
pub(super) struct Fronts {
    udp: UdpFront,
    /// One task for each listen address.
    tcp: JoinSet<()>,
    /// Tells the tasks of the TCP front whether they still accept queries.
    tcp_phase: watch::Sender<TcpPhase>,
    answerer: Arc<StreamAnswerer>,
    connections: Arc<Connections>,
}

impl Fronts {
    /// Starts to receive queries on the open addresses, from clients that `allowed` lets in.
    ///
    /// # Errors
    /// [`StartError::Thread`] when a UDP thread cannot be started.
    pub(super) fn start(
        settings: &Settings,
        bound: Vec<OpenAddress>,
        resolver: &Arc<Resolver>,
        allowed: &AccessList,
    ) -> Result<Self, StartError> {
        // The TCP front consists of tokio tasks only, so its start cannot fail.
        let listen = &settings.listen;
        let (tcp_phase, phases) = watch::channel(TcpPhase::Serving);
        let answerer = StreamAnswerer::new(resolver);
        let limits = TcpLimits {
            connections: listen.tcp_connections,
            queries: listen.tcp_queries,
            idle: listen.tcp_idle,
            ..TcpLimits::new(Arc::clone(allowed))
        };
        let connections = Arc::clone(&limits.counters);
        let (mut tcp, mut sockets) = (JoinSet::new(), Vec::new());
        for open in bound {
            let answer = Arc::new(Arc::clone(&answerer));
            tcp.spawn(tcp::serve(open.tcp, limits.clone(), answer, phases.clone()));
            sockets.push(open.udp);
            events::Listening { address: open.address, threads: listen.threads }.emit();
        }

        // The UDP front has threads of its own, whose start can fail.
        let udp = UdpFront::start(sockets, resolver, allowed, settings.policy.in_flight.waiting)
            .map_err(StartError::Thread)?;
        Ok(Self { udp, tcp, tcp_phase, answerer, connections })
    }

    /// The query counters of both fronts: one tally for each UDP thread, and one for TCP.
    pub(super) fn tallies(&self) -> Vec<Arc<Tally>> {
        self.udp.tallies().iter().chain([self.answerer.tally()]).cloned().collect()
    }

    /// The counters of clients' TCP connections.
    pub(super) const fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// The number of queries so far that were answered.
    pub(super) fn answered(&self) -> u64 {
        let tallies = self.tallies();
        Answered::ALL.iter().filter(|kind| kind.is_answer()).map(|kind| resolver::sum(&tallies, *kind)).sum()
    }

    /// When the last query came that was no health check.
    pub(super) fn last_query(&self) -> Timestamp {
        self.udp.last_query().max(self.answerer.last_query())
    }

    /// Ends both fronts after they have answered the queries that they have received. Both wait for
    /// that only as long as their bounds allow.
    pub(super) async fn stop(&mut self) {
        // Neither front takes a new query from here on. Ending the UDP threads blocks for half a
        // second at most.
        let _ = self.tcp_phase.send(TcpPhase::Draining);
        self.udp.stop();
        // Both fronts finish at the same time the queries that they have received.
        let tcp = &mut self.tcp;
        tokio::join!(async { while tcp.join_next().await.is_some() {} }, self.udp.finish());
    }
}
