//! The sidecar of the drill: the real one, in a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::sync::oneshot;

use crate::app;
use crate::config::settings::Settings;
use crate::core::upstream::{Protocol, Role, UpstreamPolicy};
use crate::resolver::Resolver;

/// A running sidecar.
pub(super) struct Sidecar {
    /// Where it listens.
    address: SocketAddr,
    /// Its resolver.
    resolver: Arc<Resolver>,
    /// Ends it.
    stop: oneshot::Sender<()>,
    /// Its thread.
    thread: JoinHandle<()>,
}

impl Sidecar {
    /// Starts a sidecar before this upstream, with default settings but for what `prepare` changes.
    pub(super) fn start(upstream: SocketAddr, prepare: impl FnOnce(&mut Settings)) -> anyhow::Result<Self> {
        let mut settings = Settings::standard();
        settings.listen.addresses = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        settings.listen.threads = 1;
        settings.upstreams = vec![UpstreamPolicy {
            name: "drill".to_owned(),
            addresses: vec![upstream],
            protocol: Protocol::Udp,
            zones: Vec::new(),
            role: Role::Primary,
        }];
        prepare(&mut settings);
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread =
            std::thread::Builder::new().name("drill-sidecar".into()).spawn(move || live(&settings, &tell, stopped))?;
        let (address, resolver) = told.recv().context("the sidecar's thread ended")??;
        Ok(Self { address, resolver, stop, thread })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it thinks of its upstream.
    pub(super) fn state(&self) -> &'static str {
        self.resolver.upstreams().all().first().map_or("", |upstream| upstream.state().label())
    }

    /// Good answers that it remembers.
    pub(super) fn entries(&self) -> u64 {
        let [(good, _), ..] = self.resolver.store().sizes();
        good
    }

    /// Ends it and waits for its thread.
    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// What the thread says once it runs.
type Started = anyhow::Result<(SocketAddr, Arc<Resolver>)>;

/// The life of the thread.
fn live(settings: &Settings, tell: &mpsc::Sender<Started>, stopped: oneshot::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = tell.send(Err(error.into()));
            return;
        }
    };
    runtime.block_on(async {
        match app::start(settings) {
            Err(error) => drop(tell.send(Err(error.into()))),
            Ok(running) => {
                let address = running.addresses().first().copied().context("no address");
                let _ = tell.send(address.map(|address| (address, Arc::clone(running.resolver()))));
                let _ = stopped.await;
                running.stop().await;
            }
        }
    });
}
