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
        /// More clients connect over TCP than `listen.tcp_connections` allows, or their connections
        /// hold more than 8 MiB.
        ConnectionLimit = "connection_limit",
        /// Responses arrive from an upstream's address that belong to no query.
        UnmatchedResponse = "unmatched_response",
        /// An upstream sends responses that cannot be parsed.
        MalformedResponse = "malformed_response",
    }
}

/// Packets or connections of one kind came that nobody should send; logged at most once a minute
/// for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnwantedTrafficSeen {
    /// Kind of the packets or connections.
    pub kind: UnwantedTraffic,
    /// Number of packets or connections since the last line about this kind.
    pub count: u64,
    /// Address of the last client that was not allowed; `None` for kinds other than
    /// [`UnwantedTraffic::NotAllowed`].
    pub client: Option<IpAddr>,
}

impl UnwantedTrafficSeen {
    /// Writes one log line: at INFO for packets that only their sender can mend, at WARN for what
    /// an operator may have to mend.
    pub fn emit(&self) {
        let (kind, count) = (self.kind.label(), self.count);
        match self.kind {
            UnwantedTraffic::NotAQuery => {
                info!(kind, count, "packets from clients were dropped: not queries, or longer than a query may be");
            }
            UnwantedTraffic::RejectedQuery => {
                info!(
                    kind,
                    count,
                    "queries were rejected: malformed (FORMERR), of a kind that is not served (NOTIMP, BADVERS), or \
                     RD=0 for a name that is not fresh"
                );
            }
            UnwantedTraffic::NotAllowed => {
                let client = self.client.map(|client| client.to_string()).unwrap_or_default();
                warn!(kind, count, client, "clients were not answered: their address is not in listen.clients");
            }
            UnwantedTraffic::ConnectionLimit => {
                warn!(
                    kind,
                    count, "TCP connections of clients were closed to stay within listen.tcp_connections and 8 MiB"
                );
            }
            UnwantedTraffic::UnmatchedResponse => {
                warn!(
                    kind,
                    count,
                    "responses that belong to no query were ignored: forged, malformed, or a duplicate after a retry"
                );
            }
            UnwantedTraffic::MalformedResponse => {
                warn!(kind, count, "responses of upstreams were malformed and could not be used");
            }
        }
    }
}
