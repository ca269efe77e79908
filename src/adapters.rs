//! What touches the world: sockets, clocks, chance, files. Each adapter stands alone and imports no
//! other.

pub mod admin;
pub mod chance;
pub mod children;
pub mod clock;
pub mod footprint;
pub mod hosts;
pub mod notify;
pub mod resolv_conf;
pub mod seed;
#[cfg(feature = "shared-cache")]
pub mod shared_cache;
pub mod state_file;
pub mod tcp;
pub mod udp;
pub mod upstream;
