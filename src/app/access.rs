//! The check that decides which clients are answered, and the note of the last client that is not.

use std::net::IpAddr;
use std::sync::Arc;

use super::unwanted_traffic::LastRejectedClient;
use crate::core::network::{self, IpNetwork};
use crate::resolver::ports::AccessList;

/// Makes the check that both fronts apply to every client, from the networks that the operator
/// names. Also gives the note of the last client that the check rejected, for the log.
pub(super) fn access_list(clients: Vec<IpNetwork>) -> (AccessList, Arc<LastRejectedClient>) {
    let last_rejected = Arc::new(LastRejectedClient::default());
    let note = Arc::clone(&last_rejected);
    let access_list = move |ip: IpAddr| {
        let is_allowed = network::admits(&clients, ip);
        if !is_allowed {
            note.note(ip);
        }
        is_allowed
    };
    (Arc::new(access_list), last_rejected)
}
