//! Why a connection or an exchange ended early.

use core::fmt;

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
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}
