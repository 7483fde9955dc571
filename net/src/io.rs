//! The stream traits of `embedded-io-async` for TCP, for a stream and for a reference to it: the two halves may be used
//! by two tasks at once. And what a service needs besides them.

use crate::Error;
use crate::sockets::TcpStream;
use alloc::boxed::Box;
use embedded_io_async::{ErrorType, Read, Write};

impl ErrorType for TcpStream {
    type Error = Error;
}

impl ErrorType for &TcpStream {
    type Error = Error;
}

/// `Ok(0)` is the end of what the peer sent. A read that is dropped before it is done has taken nothing.
impl Read for TcpStream {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        self.receive(buf).await
    }
}

/// `Ok(0)` is the end of what the peer sent. A read that is dropped before it is done has taken nothing.
impl Read for &TcpStream {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        self.receive(buf).await
    }
}

/// `write` is done when at least one byte is in the send buffer, from where it is sent without further asking; so
/// `flush` has nothing to wait for. A write that is dropped before it is done has taken nothing.
impl Write for TcpStream {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        self.send(buf).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// See `Write for TcpStream`.
impl Write for &TcpStream {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        self.send(buf).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Who the other end of a stream has proved to be, by a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The common name of the certificate's subject; empty if it has none.
    pub name: Box<str>,
    /// The certificate's SHA-256.
    pub fingerprint: [u8; 32],
}

/// A stream that ends: what a service needs of a connection, be it TCP or something on top of it.
pub trait Stream: Read + Write {
    /// Says to the peer that nothing will follow what was written. Reading goes on.
    ///
    /// # Errors
    /// When the connection is gone already.
    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>>;

    /// Breaks the connection off, without a word and at once.
    fn abort(&mut self);

    /// Who the other end has proved to be.
    fn peer(&self) -> Option<Box<Peer>> {
        None
    }
}

impl Stream for TcpStream {
    async fn close(&mut self) -> Result<(), Error> {
        self.shutdown_write().await
    }

    fn abort(&mut self) {
        TcpStream::abort(self);
    }
}
