//! Real loopback sockets inside the test process: a sidecar or one of its adapters before a
//! scripted upstream, and packets as clients send them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and measures real time"
)]

#[path = "../support/mod.rs"]
mod support;
mod tcp_front;
mod upstream_sockets;
mod wildcard;
mod wire;
