//! What touches the world.

pub mod udp;
