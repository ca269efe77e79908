//! The check that decides which clients are answered, and the note of the last client that is not.

use std::net::IpAddr;
use std::sync::Arc;

use super::unwanted_traffic::LastRejectedClient;
use crate::adapters::udp::Admission;
use crate::core::network::{self, IpNetwork};

/// Makes the check that both fronts apply to every client, from the networks that the operator
/// names. Also gives the note of the last client that the check rejected, for the log.
pub(super) fn admission(clients: Vec<IpNetwork>) -> (Admission, Arc<LastRejectedClient>) {
    let last_rejected = Arc::new(LastRejectedClient::default());
    let note = Arc::clone(&last_rejected);
    let admission = move |ip: IpAddr| {
        let admitted = network::admits(&clients, ip);
        if !admitted {
            note.note(ip);
        }
        admitted
    };
    (Arc::new(admission), last_rejected)
}
