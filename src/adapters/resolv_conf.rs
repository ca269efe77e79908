//! Reads the upstreams of the host from `resolv.conf` (resolv.conf(5)), and takes that file over.
//!
//! Where no upstream is configured, holdover forwards to the name servers that the host's
//! `resolv.conf` names ([`read`]). With `holdover resolvconf` and `holdover run` it also writes its
//! own address into that file and puts the original back later ([`takeover`]). Then the file that
//! names the upstreams and the file that names holdover are the same one, so reading has to find
//! the original behind what holdover wrote.
//!
//! | part | what it does |
//! |---|---|
//! | `upstreams` | finds the upstreams that a `resolv.conf` stands for |
//! | `nameservers` | turns `nameserver` lines into socket addresses |
//! | `original` | knows where the original of a file that was taken over is kept |
//! | `readers` | finds out which C libraries on this host read the file |
//! | `file` | reads a file within a bound on its size, and replaces a file without tearing it |
//! | [`takeover`] | takes the file over, puts it back, and shows what it is |
//!
//! The syntax of the file, and what is written into it, is decided in [`crate::core::resolv_conf`]
//! and [`crate::core::takeover`], which touch no file.

mod error;
mod file;
mod nameservers;
mod original;
mod readers;
pub mod takeover;
mod upstreams;

pub use error::{ResolvConfError, TakeoverError};
pub use nameservers::nameservers;
pub use original::places;
pub use readers::readers;
pub use upstreams::{HostNameservers, names, read};
