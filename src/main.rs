//! The holdover process.

fn main() {}
