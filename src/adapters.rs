//! Everything that touches the operating system: sockets, clocks, random numbers, files, processes.
//!
//! An adapter is either an implementation of one of the resolver's ports (`resolver::ports`), or a
//! front through which queries and operators come in. Each adapter stands alone and imports no
//! other, so that one can be replaced or left out without reading the rest. The only exception is
//! `tls`, which is there for all adapters whose protocol runs over TLS.

pub mod admin;
pub mod cgroup;
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
#[cfg(feature = "tls")]
mod tls;
pub mod udp;
pub mod upstream;
