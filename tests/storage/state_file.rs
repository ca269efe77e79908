//! What is remembered outlives the process: kill -9, power cuts, disks that are full, read-only or
//! somebody else's, files that are none.

mod disk;
mod file;
mod flush;
mod full;
mod memory;
mod process;
mod sidecar;
mod turns;
