//! The stack, from the sockets down to real ring bytes, against a peer in the same thread.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod streams;
mod support;
