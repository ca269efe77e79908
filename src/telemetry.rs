//! What holdover says about itself: typed events, which alone know log texts, and counters.

pub mod console;
pub mod events;
pub mod fleet;
pub mod logging;
pub mod metrics;
pub mod persistence;
pub mod reading;
pub mod takeover;
pub mod tally;
