//! What holdover says about itself: typed events, which alone know log texts, and counters.

pub mod console;
pub mod counters;
pub mod events;
pub mod logging;
pub mod metrics;
pub mod reading;
pub mod shared_cache;
pub mod state_file;
pub mod takeover;
pub mod tally;
