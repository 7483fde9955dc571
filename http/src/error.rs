//! Why a connection or an exchange ended early.

use alloc::boxed::Box;
use core::fmt;
use core::pin::Pin;
use xenlet_kernel::memory;

/// What went wrong on a connection. All but [`Error::Field`] end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The stream itself failed.
    Stream(E),
    /// The peer neither sent nor took a byte for [`Limits::stall_timeout`](crate::Limits::stall_timeout).
    Stalled,
    /// The peer closed its side in the middle of a request's body.
    Truncated,
    /// The peer's chunked body is not what RFC 9112 §7.1 allows; the text says how.
    BadBody(&'static str),
    /// A header field that the application wanted to send has a control character or an empty name. Nothing was sent.
    Field,
    /// The application sent more or less body than the length it declared.
    WrongLength,
    /// There is no memory to go on with.
    NoMemory,
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Stream(error) => write!(f, "the connection failed: {error}"),
            Error::Stalled => f.write_str("the peer stood still for too long"),
            Error::Truncated => f.write_str("the peer hung up in the middle of a request's body"),
            Error::BadBody(how) => write!(f, "the request's body is malformed: {how}"),
            Error::Field => {
                f.write_str("a reply's header field has a control character or no name")
            }
            Error::WrongLength => f.write_str("a reply's body is not as long as its head said"),
            Error::NoMemory => f.write_str("there is no memory to go on with"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}

/// What is free at least when something is allocated for a peer, in bytes: more than goes with it unasked.
const RESERVE: usize = 16 * 1024;

/// # Errors
/// [`Error::NoMemory`] if memory is too short to go on with a connection. One that ends gives back what it has.
pub(crate) fn check_memory<E>() -> Result<(), Error<E>> {
    if memory::has_room(RESERVE) {
        Ok(())
    } else {
        Err(Error::NoMemory)
    }
}

/// Puts what happens to few connections in a box, so that all the others need not have room for it.
///
/// # Errors
/// [`Error::NoMemory`]
pub(crate) fn rare<F: Future, E>(future: F) -> Result<Pin<Box<F>>, Error<E>> {
    check_memory()?;
    Ok(Box::pin(future))
}
