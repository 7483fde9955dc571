//! A reply's body, sent in pieces.

use crate::error::Error;
use crate::exchange::Progress;
use crate::io::Io;
use crate::server::Clock;
use embedded_io_async::{Read, Write};

/// Sends a body that comes in pieces. End it with [`finish`](Self::finish): a body that ends without that is cut off
/// by closing the connection, so that the client can tell.
pub struct Sender<'c, 's, S, C: Clock> {
    pub(crate) rest: &'c mut [u8],
    pub(crate) io: &'c mut Io<'s, S, C>,
    /// How much of the declared length is to come; `None` if none was declared.
    pub(crate) left: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) is_head: bool,
}

impl<S: Read + Write, C: Clock> Sender<'_, '_, S, C> {
    /// Sends a piece. Where the request was `HEAD` it only counts it.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] if it goes beyond the declared length: nothing of it is sent then. The stream's, and
    /// [`Error::Stalled`] if the peer takes nothing.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error<S::Error>> {
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(bytes.len() as u64)
                .ok_or(Error::WrongLength)?;
        }
        if self.is_head || bytes.is_empty() {
            return Ok(());
        }
        if !self.chunked {
            return self.io.write(bytes).await;
        }
        self.io
            .write(chunk_head(bytes.len()).trim_ascii_start())
            .await?;
        self.io.write(bytes).await?;
        self.io.write(b"\r\n").await
    }

    /// Sends what was written and is held back to fill a packet: for a body whose pieces are slow to come.
    ///
    /// # Errors
    ///
    /// The stream's, and [`Error::Stalled`].
    pub async fn flush(&mut self) -> Result<(), Error<S::Error>> {
        self.io.flush().await
    }

    /// Reads from the request's body, as [`Exchange::read`](crate::Exchange::read) does: for replies that begin
    /// before the request has ended.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, Error<S::Error>> {
        let result = self.io.read_body(self.rest, into).await;
        self.io.turn.keep_alive &= result.is_ok();
        result
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] if less was sent than declared; the connection is closed then, for the client to see it.
    /// The stream's, and [`Error::Stalled`].
    pub async fn finish(self) -> Result<(), Error<S::Error>> {
        if self.left.is_some_and(|left| left > 0) && !self.is_head {
            return Err(Error::WrongLength);
        }
        if self.chunked && !self.is_head {
            self.io.write(b"0\r\n\r\n").await?;
        }
        self.io.turn.progress = Progress::Replied;
        Ok(())
    }
}

/// A chunk's size line, with spaces before the digits.
fn chunk_head(mut size: usize) -> [u8; 18] {
    let mut line = *b"                \r\n";
    for place in line[..16].iter_mut().rev() {
        *place = b"0123456789abcdef"[size % 16];
        size /= 16;
        if size == 0 {
            break;
        }
    }
    line
}
