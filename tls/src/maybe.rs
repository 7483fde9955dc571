//! A stream that may be encrypted: for programs that have both, and want their code once.

use crate::{Error, TlsStream};
use alloc::boxed::Box;
use embedded_io_async::{ErrorType, Read, Write};
use xenlet_net::{Peer, Stream};

/// A stream in the clear, or TLS over one.
#[derive(Debug)]
pub enum MaybeTls<S> {
    /// In the clear.
    Plain(S),
    /// Encrypted.
    Tls(TlsStream<S>),
}

impl<S: ErrorType> ErrorType for MaybeTls<S>
where
    Error<S::Error>: embedded_io_async::Error,
{
    type Error = Error<S::Error>;
}

impl<S: Read + Write> Read for MaybeTls<S>
where
    Error<S::Error>: embedded_io_async::Error,
{
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Self::Error> {
        match self {
            Self::Plain(stream) => stream.read(buf).await.map_err(Error::Stream),
            Self::Tls(stream) => stream.read(buf).await,
        }
    }
}

impl<S: Read + Write> Write for MaybeTls<S>
where
    Error<S::Error>: embedded_io_async::Error,
{
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Self::Error> {
        match self {
            Self::Plain(stream) => stream.write(buf).await.map_err(Error::Stream),
            Self::Tls(stream) => stream.write(buf).await,
        }
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        match self {
            Self::Plain(stream) => stream.flush().await.map_err(Error::Stream),
            Self::Tls(stream) => stream.flush().await,
        }
    }
}

impl<S: Stream> Stream for MaybeTls<S>
where
    Error<S::Error>: embedded_io_async::Error,
{
    async fn close(&mut self) -> Result<(), Self::Error> {
        match self {
            Self::Plain(stream) => stream.close().await.map_err(Error::Stream),
            Self::Tls(stream) => Stream::close(stream).await,
        }
    }

    fn abort(&mut self) {
        match self {
            Self::Plain(stream) => stream.abort(),
            Self::Tls(stream) => stream.abort(),
        }
    }

    fn peer(&self) -> Option<Box<Peer>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.peer(),
        }
    }
}
