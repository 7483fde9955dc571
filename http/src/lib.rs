//! HTTP/1.1 server connections over any stream: RFC 9110 (what messages mean) and RFC 9112 (how they are framed).
//!
//! A [`Server`] holds what connections share: limits, the clock, counters, the `Date` line. A [`Connection`] yields
//! one [`Exchange`] after another; the application looks at its [`Request`], reads the body if it wants one, and replies:
//!
//! ```
//! # use xenlet_http::{Clock, Error, Server, Status};
//! # use embedded_io_async::{Read, Write};
//! async fn serve<S: Read + Write, C: Clock>(server: &Server<C>, stream: S) -> Result<(), Error<S::Error>> {
//!     let mut connection = server.connection(stream);
//!     while let Some(exchange) = connection.next().await? {
//!         match exchange.request().path() {
//!             "/" => exchange.respond(Status::OK, &[("Content-Type", "text/plain")], b"hello\n").await?,
//!             _ => exchange.refuse(Status::NOT_FOUND, "nothing lives here").await?,
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A [`Service`] is all that on the network: it accepts connections, as many as memory allows, and has a [`Handler`]
//! answer their requests.
//!
//! What is refused rather than guessed at: both `Content-Length` and `Transfer-Encoding`, more than one of either's
//! value, a transfer coding other than `chunked`, folded header lines, white space before a colon, bare CR or LF, a
//! missing or second `Host`. Such a request is answered once and the connection ends, because where the next request
//! would begin is then a matter of opinion.
//!
//! A request that arrives whole costs no allocation, and a reply whose head was made at build time costs no formatting.
#![cfg_attr(xenlet = "xen", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "access")]
pub mod access;
mod chunked;
mod conditional;
mod connection;
mod date;
mod error;
mod exchange;
mod fields;
mod head;
#[cfg(feature = "https")]
pub mod https;
mod io;
mod metrics;
mod range;
mod request;
mod select;
mod sender;
mod server;
mod service;
mod status;
mod stop;
mod target;

pub use conditional::Precondition;
pub use connection::Connection;
pub use date::http_date;
pub use error::Error;
pub use exchange::{Exchange, PLAIN_TEXT};
pub use range::ByteRange;
pub use request::{Method, Request};
pub use select::Selected;
pub use sender::Sender;
pub use server::{Clock, Counters, Limits, Server};
pub use service::{Handler, KernelClock, Service};
pub use status::Status;
