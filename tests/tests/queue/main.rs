//! The upload queue, whole, on the hosted backend: a client on the other machine, and a disk whose power can be cut.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that fails says so by panicking"
)]

mod durable;
mod interface;
mod roles;
mod support;
mod trace;
mod transfers;
