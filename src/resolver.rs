//! The story of one query.

pub mod ports;
pub mod store;
pub mod upstreams;
