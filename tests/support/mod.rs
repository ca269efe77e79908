//! What several suites need to drive holdover. Each test binary includes this module once; what
//! only one suite needs stays beside that suite.
//!
//! | module | what it is for |
//! |---|---|
//! | `binary` | the built binary as a child process: started, watched, ended |
//! | `sidecar` | a sidecar inside the test process, on a real socket |
//! | `upstream` | a scripted upstream on real sockets |
//! | `messages` | queries, responses, and what stands in an answer |
//! | `asking` | a client over UDP or TCP, each time with a bound |
//! | `frames` | messages byte by byte, and with their length as over TCP |
//! | `http` | a raw HTTP client for the admin interface |
//! | `files` | files of a given text |
//! | `stalled` | a pipe that nobody reads |
//! | `waiting` | waiting for something that happens by itself, with a bound |

#![allow(dead_code, reason = "each test binary uses its own part of this module")]
#![allow(clippy::disallowed_methods, reason = "real processes and sockets take real time")]

pub mod asking;
pub mod binary;
pub mod files;
pub mod frames;
pub mod http;
pub mod messages;
pub mod sidecar;
pub mod stalled;
pub mod upstream;
pub mod waiting;
