//! The pure core: everything that holdover decides, as functions and state machines of plain
//! values.
//!
//! Nothing here does I/O, reads a clock, waits, locks or draws random numbers. The time comes in as
//! the last parameter, `now`, and chance as a number, so that every decision can be tested alone.
//!
//! | modules | subject |
//! |---|---|
//! | [`message`], [`question`], [`answer`], [`extended_error`], [`upstream_query`] | DNS messages, read and written |
//! | [`key`], [`entry`], [`record`], [`restore`], [`fingerprint`] | a remembered answer: its key, its life, its bytes |
//! | [`decision`], [`refresh`] | what is done with a query, and when a name is asked for again |
//! | [`matching`], [`classify`] | whether a response belongs to a query, and what kind of answer it is |
//! | [`attempts`], [`budget`], [`pace`] | how upstreams are asked, and how often |
//! | [`history`], [`reversal`] | how steady the data of a question are, and what follows when they go back |
//! | [`health`], [`witness`], [`suffix`], [`trouble`] | how well upstreams answer, and whose fault trouble is |
//! | [`upstream`], [`routes`], [`network`], [`policy`] | what the operator configured |
//! | [`upstream_record`] | what is known of an upstream, as bytes |
//! | [`special`], [`hosts`], [`critical`] | names that are answered or watched in a way of their own |
//! | [`resolv_conf`], [`takeover`] | the text of `resolv.conf` |
//! | [`time`] | the timeline of everything that ages |
//! | [`labelled`] | enums whose variants are counted and reported by a label |

pub mod alias;
pub mod answer;
pub mod attempts;
pub mod budget;
pub mod chain;
pub mod classify;
pub mod clients;
pub mod critical;
pub mod decision;
pub mod edns;
pub mod entry;
pub mod extended_error;
pub mod fingerprint;
pub mod health;
pub mod history;
pub mod hosts;
pub mod key;
pub mod labelled;
pub mod matching;
pub mod message;
pub mod name;
pub mod nearest;
pub mod network;
pub mod pace;
pub mod packet_shares;
pub mod policy;
pub mod question;
pub mod record;
pub mod refresh;
pub mod resolv_conf;
pub mod restore;
pub mod reversal;
pub mod rewriting;
pub mod rotation;
pub mod routes;
pub mod shares;
pub mod special;
pub mod suffix;
pub mod takeover;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;
pub mod trouble;
pub mod upstream;
pub mod upstream_query;
pub mod upstream_record;
pub mod witness;
