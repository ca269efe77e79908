//! The end of a flight: in whatever way its resolution ends, the flight is removed from the table
//! and the end is reported to all waiting clients.

use std::sync::Arc;

use super::context::Context;
use super::flight::{Flight, NoAnswer, Progress};
use crate::core::key::Key;

/// Ends a flight when it is dropped.
pub(super) struct FlightGuard {
    pub(super) context: Arc<Context>,
    pub(super) key: Key,
    pub(super) flight: Arc<Flight>,
}

impl FlightGuard {
    /// Takes the resolution out of the table: nobody joins it any more.
    pub(super) fn release(&self) {
        // A resolution that was released or displaced before may have a successor, whose refresh
        // goes on.
        if self.context.flights.remove(&self.key, &self.flight)
            && let Some(cached) = self.context.memory.find_answer(&self.key, self.context.now())
        {
            cached.end_refresh();
        }
    }
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        self.release();
        self.flight.report(Progress::Ended(NoAnswer::of_local_limit()));
    }
}
