//! Log lines about answers that go back to the addresses from before a change.

use tracing::info;

use crate::core::key::Key;

/// Upstreams give the old and the new addresses of a name in turns; logged once for each change.
#[derive(Debug)]
pub struct ReversalRefuted<'a> {
    /// Name and type of the addresses.
    pub question: &'a Key,
}

impl ReversalRefuted<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        let question = self.question;
        info!(%question, "upstreams give old and new addresses in turns after a change: the new ones are kept");
    }
}

/// The addresses of a name went back to those from before a change, and all upstreams say so.
#[derive(Debug)]
pub struct ReversalBelieved<'a> {
    /// Name and type of the addresses.
    pub question: &'a Key,
}

impl ReversalBelieved<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        let question = self.question;
        info!(%question, "a change of addresses was taken back: the old ones are confirmed and believed");
    }
}
