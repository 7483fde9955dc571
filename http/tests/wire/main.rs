//! Whole connections over a stream in memory: bytes in, bytes out.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod conformance;
mod peer;
mod properties;
mod replies;
