//! The sidecar under test: the same code as `holdover serve`, in a thread of this process.
//!
//! Because it is in this process, the drill can look at its cache and at the state of its upstream.
//! The scenario that kills the sidecar uses a child process instead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::oneshot;

use crate::app;
use crate::config::settings::Settings;
use crate::core::upstream::UpstreamPolicy;
use crate::resolver::Resolver;

/// The running sidecar under test, in a thread of this process.
pub(super) struct Sidecar {
    address: SocketAddr,
    resolver: Arc<Resolver>,
    /// Sends the signal that ends the sidecar.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Sidecar {
    /// Starts a sidecar in front of an upstream with these addresses, with default settings except
    /// for what `prepare` changes.
    pub(super) fn start(upstream: Vec<SocketAddr>, prepare: impl FnOnce(&mut Settings)) -> anyhow::Result<Self> {
        let mut settings = Settings::standard();
        settings.listen.addresses = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        settings.listen.threads = 1;
        settings.upstreams = vec![UpstreamPolicy::plain("drill", upstream)];
        prepare(&mut settings);
        let (report, reported) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("drill-sidecar".into())
            .spawn(move || serve(&settings, &report, stopped))?;
        let (address, resolver) = reported.recv().context("the sidecar's thread ended")??;
        Ok(Self { address, resolver, stop, thread })
    }

    /// Address on which the sidecar listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// State that the sidecar sees its upstream in, as the log calls it.
    pub(super) fn upstream_state(&self) -> &'static str {
        self.resolver.upstreams().all().first().map_or("", |upstream| upstream.state().label())
    }

    /// Number of outages that the sidecar has announced so far.
    pub(super) fn outages(&self) -> u64 {
        self.resolver.reading().outages.iter().map(|outage| outage.begun).sum()
    }

    /// Number of positive answers in the sidecar's cache.
    pub(super) fn entries(&self) -> u64 {
        let [(positive, _), ..] = self.resolver.memory().store().sizes();
        positive
    }

    /// Ends the sidecar and waits for its thread.
    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// The report of the thread, once the sidecar runs or has failed to start.
type Started = anyhow::Result<(SocketAddr, Arc<Resolver>)>;

/// Runs the sidecar in the current thread until it is stopped.
fn serve(settings: &Settings, report: &mpsc::Sender<Started>, stopped: oneshot::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = report.send(Err(error.into()));
            return;
        }
    };
    runtime.block_on(async {
        match app::start(settings) {
            Err(error) => drop(report.send(Err(error.into()))),
            Ok(running) => {
                let address = running.addresses().first().copied().context("no address");
                let _ = report.send(address.map(|address| (address, Arc::clone(running.resolver()))));
                let _ = stopped.await;
                running.stop(Duration::from_secs(10)).await;
            }
        }
    });
}
