//! The pure core: decides, and touches nothing.

pub mod policy;
pub mod time;
