//! See `resolv_conf` in `bodies.rs`.
#![no_main]

#[path = "../bodies.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::resolv_conf(bytes));
