//! What several suites need to drive holdover: the built binary as a child process, a scripted
//! upstream and a sidecar on real sockets, clients, and waiting with a bound.
//!
//! Each test binary includes this module once. What only one suite needs stays beside that suite.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod asking;
pub mod binary;
pub mod frames;
pub mod harness;
pub mod http;
pub mod waiting;
