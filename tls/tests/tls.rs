//! TLS over a pipe in memory: both ends, and peers that behave as badly as they can.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that fails says so by panicking"
)]

#[path = "tls/garbage.rs"]
mod garbage;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/keys.rs"]
mod keys;
#[path = "tls/pipe.rs"]
mod pipe;
#[path = "tls/streams.rs"]
mod streams;
#[path = "tls/support.rs"]
mod support;
