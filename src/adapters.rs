//! What touches the world: sockets, clocks and chance. An adapter never imports another.

pub mod chance;
pub mod clock;
pub mod tcp;
pub mod upstream;
