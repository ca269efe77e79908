//! The state file: the cache, and what is known of the upstreams, outlive the process, through kill
//! -9, power cuts, disks that are full or read-only, and files that are not state files or belong
//! to another process.

mod damage;
mod disk;
mod file;
mod flush;
mod full;
mod memory;
mod process;
mod sidecar;
mod turns;
mod upstreams;
