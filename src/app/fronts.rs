//! The fronts of a sidecar, which receive queries over UDP and TCP on all listen addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::listeners::{self, OpenAddress};
use super::start_error::StartError;
use super::stream_answerer::StreamAnswerer;
use crate::adapters::tcp::{self, TcpLimits, TcpPhase};
use crate::adapters::udp::{UdpFront, UdpReceivers};
use crate::config::settings::Settings;
use crate::core::time::Timestamp;
use crate::resolver::ports::AccessList;
use crate::resolver::vitals::{Vitals, supervise};
use crate::resolver::{self, Resolver};
use crate::telemetry::events;
use crate::telemetry::tally::{Answered, Connections, Tally};
use crate::telemetry::tasks::LongTask;

/// How often a listen address that this host does not have is tried again.
const TRY_EVERY: Duration = Duration::from_secs(2);

/// The running UDP and TCP fronts, with the counters that both keep.
pub(super) struct Fronts {
    udp: UdpFront,
    tcp: Arc<TcpFronts>,
    /// Tells the tasks of the TCP front whether they still accept queries.
    tcp_phase: watch::Sender<TcpPhase>,
    answerer: Arc<StreamAnswerer>,
    connections: Arc<Connections>,
}

/// The TCP front, with one task for each listen address.
struct TcpFronts {
    tasks: Mutex<JoinSet<()>>,
    limits: TcpLimits,
    phases: watch::Receiver<TcpPhase>,
    answerer: Arc<StreamAnswerer>,
    vitals: Arc<Vitals>,
}

impl TcpFronts {
    /// Serves an address until the front shall drain. After a panic the address is opened anew.
    fn add(&self, listener: TcpListener, address: SocketAddr) {
        let (limits, phases) = (self.limits.clone(), self.phases.clone());
        let (answerer, first) = (Arc::clone(&self.answerer), Mutex::new(Some(listener)));
        let serve = move || {
            let (limits, phases, answer) = (limits.clone(), phases.clone(), Arc::new(Arc::clone(&answerer)));
            let listener = first.lock().take();
            async move {
                match listener.map_or_else(|| tcp::bind(address), Ok) {
                    Ok(listener) => tcp::serve(listener, limits, answer, phases).await,
                    // Another process may have the port by now.
                    Err(error) => {
                        let error = StartError::Listen { address, protocol: "TCP", source: error };
                        events::AddressMissing { address, reason: &error.to_string() }.emit();
                    }
                }
            }
        };
        self.tasks.lock().spawn(supervise(LongTask::Tcp, Arc::clone(&self.vitals), serve));
    }
}

impl Fronts {
    /// Starts to receive queries on the open addresses, from clients that `allowed` lets in. The
    /// missing ones are tried again and again, for as long as the resolver runs.
    ///
    /// # Errors
    /// [`StartError::Thread`] when a UDP thread cannot be started.
    pub(super) fn start(
        settings: &Settings,
        (bound, missing): (Vec<OpenAddress>, Vec<SocketAddr>),
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
        let (own, vitals) = (Arc::clone(&answerer), Arc::clone(resolver.vitals()));
        let tcp = Arc::new(TcpFronts { tasks: Mutex::default(), limits, phases, answerer: own, vitals });
        let mut sockets = Vec::new();
        for open in bound {
            tcp.add(open.tcp, open.address);
            sockets.push(open.udp);
            events::Listening { address: open.address, threads: listen.threads }.emit();
        }

        // The UDP front has threads of its own, whose start can fail.
        let mut udp = UdpFront::start(sockets, resolver, allowed).map_err(StartError::Thread)?;
        if !missing.is_empty() {
            let watch = MissingAddresses {
                threads: listen.threads,
                udp: Arc::clone(udp.receivers()),
                tcp: Arc::clone(&tcp),
                // The counters are there from the start on: who reads them learns of no others.
                missing: missing.into_iter().map(|address| (address, udp.add_tallies(listen.threads))).collect(),
            };
            watch.say();
            let missing = Arc::new(tokio::sync::Mutex::new(watch));
            resolver.supervise(LongTask::MissingAddresses, move || MissingAddresses::run(Arc::clone(&missing)));
        }
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
        let mut tcp = std::mem::take(&mut *self.tcp.tasks.lock());
        tokio::join!(async { while tcp.join_next().await.is_some() {} }, self.udp.finish());
    }
}

/// The listen addresses that this host does not have at present, each with the counters of its
/// threads.
struct MissingAddresses {
    threads: usize,
    udp: Arc<UdpReceivers>,
    tcp: Arc<TcpFronts>,
    missing: Vec<(SocketAddr, Vec<Arc<Tally>>)>,
}

impl MissingAddresses {
    /// Says once which addresses are missing.
    fn say(&self) {
        for (address, _) in &self.missing {
            let reason = "this host has no such address at present";
            events::AddressMissing { address: *address, reason }.emit();
        }
    }

    /// Tries the addresses again until all of them are served.
    async fn run(own: Arc<tokio::sync::Mutex<Self>>) {
        let mut own = own.lock().await;
        while !own.missing.is_empty() {
            tokio::time::sleep(TRY_EVERY).await;
            let (threads, udp, tcp) = (own.threads, Arc::clone(&own.udp), Arc::clone(&own.tcp));
            own.missing.retain(|(address, tallies)| {
                let Ok(open) = listeners::bind(*address, threads) else { return true };
                if udp.add(open.udp, tallies).is_err() {
                    return true;
                }
                tcp.add(open.tcp, open.address);
                events::Listening { address: open.address, threads }.emit();
                false
            });
        }
    }
}
