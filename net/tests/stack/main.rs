//! The stack, from the sockets down to real ring bytes, against a peer in the same thread.
#![forbid(unsafe_code)]
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that fails says so by panicking"
)]

mod addresses;
mod crowd;
mod datagrams;
mod duplicates;
mod faults;
mod frames;
mod garbage;
mod liars;
mod links;
mod outgoing;
mod resting;
mod streams;
mod support;
mod waiting;
