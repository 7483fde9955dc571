//! The stream traits of `embedded-io-async` for TCP, for a stream and for a reference to it: the two halves may be used
//! by two tasks at once.

use crate::Error;
use crate::sockets::TcpStream;
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
