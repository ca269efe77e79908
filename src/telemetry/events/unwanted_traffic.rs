//! Log lines about packets and connections that nobody should send.

use std::net::IpAddr;

use tracing::{info, warn};

use crate::core::labelled::labelled;

labelled! {
    /// A kind of packet or connection that nobody should send.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum UnwantedTraffic {
        /// Clients send packets that are not queries, or are longer than a query may be.
        NotAQuery = "not_a_query",
        /// Clients send queries that are malformed, or of a kind that is not served.
        RejectedQuery = "rejected_query",
        /// Clients send queries although their address is not allowed.
        NotAllowed = "not_allowed",
        /// More clients connect over TCP than `listen.tcp_connections` allows.
        ConnectionLimit = "connection_limit",
        /// Responses arrive from an upstream's address that belong to no query.
        UnmatchedResponse = "unmatched_response",
        /// An upstream sends responses that cannot be parsed.
        MalformedResponse = "malformed_response",
    }
}

/// Something came that nobody should send; told at most once a minute and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnwantedTrafficSeen {
    /// What.
    pub kind: UnwantedTraffic,
    /// How many since it was told last.
    pub count: u64,
    /// One of those who sent it, where that helps.
    pub client: Option<IpAddr>,
}

impl UnwantedTrafficSeen {
    /// Writes it to the log.
    pub fn emit(&self) {
        let count = self.count;
        match self.kind {
            UnwantedTraffic::NotAQuery => {
                info!(count, "packets from clients were dropped: no queries, or too long for one")
            }
            UnwantedTraffic::RejectedQuery => {
                info!(
                    count,
                    "queries were refused: unreadable (FORMERR), of a kind that is not served (NOTIMP, BADVERS), or RD=0 for a name not fresh"
                );
            }
            UnwantedTraffic::NotAllowed => {
                let client = self.client.map(|client| client.to_string()).unwrap_or_default();
                warn!(count, client, "clients were turned away: none of listen.clients holds their address");
            }
            UnwantedTraffic::ConnectionLimit => {
                warn!(count, "TCP connections of clients were closed to stay within listen.tcp_connections");
            }
            UnwantedTraffic::UnmatchedResponse => {
                warn!(count, "responses that belong to no query were ignored: forged, late after a retry, or broken");
            }
            UnwantedTraffic::MalformedResponse => warn!(count, "responses of upstreams could not be read"),
        }
    }
}
