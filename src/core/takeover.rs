//! Taking over `resolv.conf`: what is written into the file, and how its original is kept.
//!
//! holdover's own address comes first. An original name server may follow it, so that names are
//! still resolved while holdover itself is gone. Whether that helps depends on who reads the file:
//!
//! | reader | with a second name server | so it is |
//! |---|---|---|
//! | glibc, Go, c-ares | asks in order; moves on at once after a closed port or SERVFAIL | written |
//! | musl | asks all at once and takes the first answer | left out |
//! | systemd-resolved | stays with whichever answered last, for half a minute | left out |
//!
//! For musl a second name server would double the packets, and an upstream's wrong denial would win
//! over what holdover remembers. No more than one is written for anybody, because each further one
//! is another 5 s that a client waits in an outage for a name that is not remembered.
//!
//! Everything else that the original says stays, with these exceptions:
//!
//! | part of the original | left out |
//! |---|---|
//! | `options rotate` | beside a second name server: it would send half of all queries past holdover |
//! | `options trust-ad` | with systemd-resolved's stub, which validates; holdover passes on what upstreams claim |
//! | comments | those of generators, which would claim a file that is no longer theirs |
//!
//! The original is kept in a file that is a `resolv.conf` itself ([`KeptOriginal`]): a head of
//! comments that says where it belongs and what was written in its place, then its bytes,
//! unchanged. Anybody who finds it can read it, and can copy it back by hand.
//!
//! That file may be lost while the text that was written still stands: containers of a pod share
//! one mounted `resolv.conf`, but one that is started again has a new root. So the text carries the
//! lines of the original as comments ([`KeptOriginal::recover`]). It does not when they are many,
//! or when not every reader would take them for comments: not UTF-8, or with control characters.

mod kept_original;
mod second_nameserver;
mod text;

pub use kept_original::{KeptOriginal, NotKept, Was};
pub use second_nameserver::{
    Fallback, LeftOut, Readers, SecondNameserver, is_usable_source, leads_back, second_nameserver, upstreams,
};
pub use text::{kept_in, replacement};
