//! TLS over any stream, and the keys for it.
//!
//! ```no_run
//! # use embedded_io_async::{Read, Write};
//! # use xenlet_tls::{Error, TlsAcceptor, TlsStream};
//! async fn greet<S: Read + Write>(acceptor: &TlsAcceptor, stream: S) -> Result<(), Error<S::Error>>
//! # where Error<S::Error>: embedded_io_async::Error
//! {
//!     let mut stream: TlsStream<S> = acceptor.accept(stream).await?;
//!     stream.write(b"hello\n").await?;
//!     stream.close().await
//! }
//! ```
//!
//! A [`TlsAcceptor`] shows [`Identities`] (keys and certificates, by the name that a client asks for), which can be
//! replaced while it works; a [`TlsConnector`] verifies those of servers. TLS 1.3, and 1.2 where it is asked for; ciphers
//! that authenticate, keys with forward secrecy; sessions resumed by tickets whose keys are replaced every six hours; no 0-RTT,
//! no renegotiation, no compression.
//!
//! An idle connection has no buffers of records: what it keeps is rustls's state, and room for a short request. In a guest of 32 MiB each one more to httpd, from
//! 101 to 214 that were open, took 10 KB with all that belongs to it, buffers of TCP included.
//!
//! It is rustls 0.23 with ring, which nobody else names: their next versions lack what this needs. Neither needs an
//! operating system; time and entropy are the kernel's.
#![cfg_attr(xenlet = "xen", no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::cast_possible_truncation,
        reason = "a test that fails says so by panicking"
    )
)]

extern crate alloc;

mod accept;
mod buffer;
mod connect;
mod der;
mod error;
mod gate;
mod identity;
mod maybe;
mod pem;
mod role;
mod selfsigned;
mod session;
mod sessions;
pub mod setup;
mod stack;
mod start;
mod stream;
mod table;
mod ticket;

pub use accept::{Limits, Options, TlsAcceptor};
pub use connect::{Roots, TlsConnector};
pub use der::Date;
pub use error::Error;
pub use identity::{Identities, KeyError};
pub use maybe::MaybeTls;
pub use role::{Client, Role, Server};
pub use selfsigned::selfsigned;
pub use start::{StartError, Versions, check};
pub use stream::TlsStream;
/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}
