//! The tasks that run for as long as the process does: one vocabulary for the log and the metrics.

use crate::core::labelled::labelled;

labelled! {
    /// A task or thread that is started again when it fails.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LongTask {
        /// The review of upstreams and outages every second, which is also the heartbeat.
        Background = "background",
        /// The probes of one upstream.
        Probing = "probing",
        /// The start of refreshes beside answers.
        Refreshes = "refreshes",
        /// The report of hits to the caches of the store.
        HitReports = "hit_reports",
        /// The care for critical names.
        CriticalNames = "critical_names",
        /// The queries over UDP that wait for an upstream.
        UdpWaiting = "udp_waiting",
        /// The receiving thread of one UDP socket.
        UdpReceiver = "udp",
        /// The TCP listener of one address.
        Tcp = "tcp",
        /// The watch over listen addresses that are missing.
        MissingAddresses = "missing_addresses",
        /// The watch over the hosts file.
        HostsFile = "hosts_file",
        /// The watch over the host's `resolv.conf`.
        ResolvConf = "resolv_conf",
        /// The watch over the thread of the state file.
        StateFileWatch = "state_file_watch",
        /// The connection to the shared cache.
        SharedCache = "shared_cache",
        /// The log lines about unwanted traffic.
        UnwantedTraffic = "unwanted_traffic",
        /// The care for the memory of the process.
        Footprint = "footprint",
    }
}
