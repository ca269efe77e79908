//! The state file: the cache outlives the process, through kill -9, power cuts, disks that are full
//! or read-only, and files that are not state files or belong to another process.

mod disk;
mod file;
mod flush;
mod full;
mod memory;
mod process;
mod sidecar;
mod turns;
