//! A stream that is encrypted below and plain above.

use crate::role::{Role, Server};
use crate::session::{Session, Spare, Step, Wish};
use crate::{Error, der, sha256};
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use embedded_io_async::{ErrorType, Read, Write};
use xenlet_kernel::time::{self, Duration};
use xenlet_net::{Peer, Stream};

/// How long, and for how many bytes, a peer is listened to that was told of its mistake.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// How long a peer may leave what it is sent, a record or two. Nobody else counts: for who writes, it is written then.
const STALL: Duration = Duration::from_secs(20);

/// A connection whose handshake is over. [`TlsAcceptor`](crate::TlsAcceptor) and [`TlsConnector`](crate::TlsConnector)
/// make them.
///
/// Reads and writes may be dropped before they are done: they have taken nothing then, and no record is ever sent in
/// part. For that, reads and writes of the stream below must have the same property, as those of TCP streams do.
///
/// [`write`](Write::write) is done when its bytes are encrypted, and has sent what the stream below took at once. What is
/// left is sent by whatever is called next: a write, a read that has to wait, [`flush`](Write::flush), [`close`](Self::close). The
/// last two wait 20 s for a peer to take it, and are [`Error::Stalled`] then.
///
/// While it waits for input it takes about 4.5 KiB besides the stream below: keys, the state of the protocol, and room for a
/// record of 640 bytes. Room for longer records, and for those to be sent, is there while they are.
///
/// `Ok(0)` of a read is the end that the peer announced; an end without that is [`Error::Truncated`]. Dropping the
/// stream is no such announcement, [`close`](Self::close) is.
pub struct TlsStream<S, R: Role = Server> {
    stream: S,
    session: Box<Session<R>>,
    spare: Rc<Spare>,
}

impl<S, R: Role> core::fmt::Debug for TlsStream<S, R> {
    /// Says nothing: there are keys in it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TlsStream")
    }
}

impl<S: Read + Write, R: Role> TlsStream<S, R> {
    pub(crate) fn new(stream: S, session: Session<R>, spare: Rc<Spare>) -> Self {
        Self {
            stream,
            session: Box::new(session),
            spare,
        }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The application protocol that both chose (ALPN), if they did.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session.state().alpn_protocol()
    }

    /// Whether the handshake resumed a former session, by a ticket.
    pub fn is_resumed(&self) -> bool {
        self.session.state().handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// The certificate that the peer showed (DER), if it was asked for one and has one.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.session
            .state()
            .peer_certificates()?
            .first()
            .map(AsRef::as_ref)
    }

    /// Who the peer has proved to be by that certificate.
    pub fn peer(&self) -> Option<Box<Peer>> {
        let certificate = self.peer_certificate()?;
        Some(Box::new(Peer {
            name: der::common_name(certificate).unwrap_or_default().into(),
            fingerprint: sha256(certificate),
        }))
    }

    /// Says to the peer that nothing will follow (`close_notify`), after all that was written. Reading goes on. The stream
    /// below stays open. Does nothing the second time.
    ///
    /// # Errors
    /// Those of the stream below.
    pub async fn close(&mut self) -> Result<(), Error<S::Error>> {
        match self.session.advance(Wish::Close, &self.spare) {
            Ok(_) | Err(Error::Closed) => self.flush().await,
            // There may be an alert that says why.
            Err(error) => self.flush().await.and(Err(error)),
        }
    }

    /// Gives the stream below back.
    pub fn into_inner(self) -> S {
        self.stream
    }

    pub(crate) async fn handshake(&mut self) -> Result<(), Error<S::Error>> {
        while self.advance(Wish::Handshake).await? == Step::Wait {
            self.fill().await?;
        }
        // A server has only tickets left, which nobody waits for.
        self.send_some().await
    }

    /// Goes on with `wish`. An alert that follows from it is sent.
    async fn advance(&mut self, wish: Wish<'_>) -> Result<Step, Error<S::Error>> {
        match self.session.advance(wish, &self.spare) {
            Ok(step) => Ok(step),
            Err(error) => {
                if !self.session.outgoing.is_empty() {
                    // In a box, so that streams that go well need not have room for it.
                    Box::pin(self.linger()).await;
                }
                Err(error)
            }
        }
    }

    /// Sends an alert and lets the peer read it: closing a TCP connection with unread input resets it, and a reset can overtake
    /// what was sent. Takes in what the peer still sends, within limits; who was told that it is over closes at once.
    async fn linger(&mut self) {
        // Why this has failed says more than that the peer doesn't even take an alert.
        if self.flush().await.is_err() {
            return;
        }
        let drained = async {
            let (mut scratch, mut left) = ([0; 512], LINGER_BYTES);
            while let Ok(count @ 1..) = self.stream.read(&mut scratch).await {
                left = left.saturating_sub(count);
                if left == 0 {
                    break;
                }
            }
        };
        let _ = time::timeout(LINGER, drained).await;
    }

    /// Waits for input, after what there is to send.
    pub(crate) async fn fill(&mut self) -> Result<(), Error<S::Error>> {
        self.send().await?;
        let room = self.session.room()?;
        let count = self.stream.read(room).await.map_err(Error::Stream)?;
        if count == 0 {
            return Err(Error::Truncated);
        }
        self.session.received(count);
        Ok(())
    }

    /// Sends what is encrypted, as the peer takes it.
    async fn send(&mut self) -> Result<(), Error<S::Error>> {
        while !self.session.outgoing.is_empty() {
            let write = self.stream.write(self.session.outgoing.filled());
            let count = write.await.map_err(Error::Stream)?;
            self.sent(count)?;
        }
        Ok(())
    }

    /// Sends what the stream below takes at once.
    async fn send_some(&mut self) -> Result<(), Error<S::Error>> {
        if self.session.outgoing.is_empty() {
            return Ok(());
        }
        let count = {
            let mut write = pin!(self.stream.write(self.session.outgoing.filled()));
            poll_fn(|context| match write.as_mut().poll(context) {
                Poll::Ready(count) => Poll::Ready(Some(count)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        };
        match count {
            None => Ok(()),
            Some(count) => self.sent(count.map_err(Error::Stream)?),
        }
    }

    fn sent(&mut self, count: usize) -> Result<(), Error<S::Error>> {
        if count == 0 {
            // A stream that takes nothing and says so at once would have us ask forever.
            return Err(Error::Closed);
        }
        self.session.outgoing.consume(count);
        self.session.give_back(&self.spare);
        Ok(())
    }
}

impl<S: ErrorType, R: Role> ErrorType for TlsStream<S, R>
where
    Error<S::Error>: embedded_io_async::Error,
{
    type Error = Error<S::Error>;
}

impl<S: Read + Write, R: Role> Read for TlsStream<S, R>
where
    Error<S::Error>: embedded_io_async::Error,
{
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Self::Error> {
        loop {
            match self.advance(Wish::Read(buf)).await? {
                Step::Done(count) => return Ok(count),
                Step::End => return Ok(0),
                Step::Wait => self.fill().await?,
            }
        }
    }
}

impl<S: Read + Write, R: Role> Write for TlsStream<S, R>
where
    Error<S::Error>: embedded_io_async::Error,
{
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Self::Error> {
        // First, so that there is never more than one record here; and nothing of `buf` is taken while this waits.
        self.send().await?;
        if buf.is_empty() {
            return Ok(0);
        }
        match self.advance(Wish::Write(buf)).await? {
            Step::Done(count) => {
                self.send_some().await?;
                Ok(count)
            }
            Step::Wait | Step::End => Err(Error::Closed),
        }
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        time::timeout(STALL, self.send())
            .await
            .map_err(|_| Error::Stalled)??;
        self.stream.flush().await.map_err(Error::Stream)
    }
}

impl<S: Stream, R: Role> Stream for TlsStream<S, R>
where
    Error<S::Error>: embedded_io_async::Error,
{
    async fn close(&mut self) -> Result<(), Self::Error> {
        let said = TlsStream::close(self).await;
        let closed = self.stream.close().await.map_err(Error::Stream);
        said.and(closed)
    }

    fn abort(&mut self) {
        self.stream.abort();
    }

    fn peer(&self) -> Option<Box<Peer>> {
        TlsStream::peer(self)
    }
}
