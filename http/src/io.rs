//! A stream with one segment's worth of output buffer before it, and the bytes of a body.

use crate::chunked::Chunked;
use crate::error::Error;
use crate::exchange::Turn;
use crate::head::Framing;
use crate::server::{Clock, Server};
use alloc::vec::Vec;
use core::ops::Range;
use core::pin::pin;
use core::time::Duration;
use embedded_io_async::{Read, Write};

/// What one TCP segment carries on an ordinary Ethernet.
///
/// A head and a small body leave as one segment, pipelined replies share segments, and of a larger body only what
/// fills up the head's segment is copied: the rest goes to the stream from where it lies.
const SEGMENT: usize = 1460;
/// From here on all of a body does: a segment that is not full is less than the copy costs.
const LARGE: usize = 2 * SEGMENT;
/// What a head that is appended to an almost full segment takes beyond it, as a rule.
const HEAD_ROOM: usize = 512;

/// What is left of the current request's body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    Sized(u64),
    Chunked(Chunked),
}

impl From<Framing> for Body {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Sized(length) => Body::Sized(length),
            Framing::Chunked => Body::Chunked(Chunked::new()),
        }
    }
}

impl Body {
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Body::Sized(left) => *left == 0,
            Body::Chunked(chunked) => chunked.is_done(),
        }
    }
}

/// Both directions of a connection, and how far the current exchange has come in each.
pub(crate) struct Io<'s, S, C: Clock> {
    pub(crate) server: &'s Server<C>,
    stream: S,
    timer: C::Timer,
    out: Vec<u8>,
    /// Whether some of `out` was sent, and nobody knows how much.
    broken: bool,
    /// Where, behind the current head, the input lies that nobody has looked at.
    pub(crate) pending: Range<usize>,
    pub(crate) body: Body,
    /// How far the current exchange's reply has come.
    pub(crate) turn: Turn,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    /// Who the client has proved to be.
    #[cfg(feature = "access")]
    pub(crate) peer: Option<alloc::boxed::Box<xenlet_net::Peer>>,
}

impl<'s, S: Read + Write, C: Clock> Io<'s, S, C> {
    pub(crate) fn new(server: &'s Server<C>, stream: S) -> Self {
        Self {
            server,
            stream,
            timer: C::Timer::default(),
            out: Vec::new(),
            broken: false,
            pending: 0..0,
            body: Body::Sized(0),
            turn: Turn::default(),
            expects_continue: false,
            #[cfg(feature = "access")]
            peer: None,
        }
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The output buffer, to append a few lines to, after [`make_room`](Self::make_room).
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        if self.out.capacity() == 0 {
            self.out = self.server.spare.take();
            self.out.reserve(SEGMENT + HEAD_ROOM);
        }
        &mut self.out
    }

    /// Sends `bytes` sooner or later: at the next flush at the latest.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error<S::Error>> {
        if bytes.len() >= LARGE {
            self.send_out().await?;
            return send(self.server, &mut self.timer, &mut self.stream, bytes).await;
        }
        // Not its capacity: a peer that pipelines could make that grow without end.
        let room = SEGMENT.saturating_sub(self.out.len());
        if bytes.len() > room {
            let (first, rest) = bytes.split_at(room);
            self.out().extend_from_slice(first);
            self.send_out().await?;
            bytes = rest;
            if bytes.len() >= SEGMENT {
                return send(self.server, &mut self.timer, &mut self.stream, bytes).await;
            }
        }
        self.out().extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what has been written if that fills a segment, so that what is appended next is all there is beyond one.
    pub(crate) async fn make_room(&mut self) -> Result<(), Error<S::Error>> {
        if self.out.len() >= SEGMENT {
            self.send_out().await?;
        }
        Ok(())
    }

    /// Sends what has been written if `len` bytes more would be beyond a segment.
    pub(crate) async fn make_room_for(&mut self, len: usize) -> Result<(), Error<S::Error>> {
        if !self.out.is_empty() && self.out.len() + len > SEGMENT {
            self.send_out().await?;
        }
        Ok(())
    }

    /// Sends what has been written. Called before every wait for input.
    pub(crate) async fn flush(&mut self) -> Result<(), Error<S::Error>> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.send_out().await?;
        self.stream.flush().await.map_err(Error::Stream)
    }

    async fn send_out(&mut self) -> Result<(), Error<S::Error>> {
        // What failed or was given up half-way is not sent again from its beginning, and nothing behind it.
        if core::mem::replace(&mut self.broken, true) {
            return Err(Error::Stalled);
        }
        send(self.server, &mut self.timer, &mut self.stream, &self.out).await?;
        self.broken = false;
        self.out.clear();
        // Who waits has no use for it, and the next to reply has.
        if self.out.capacity() > 0 {
            self.server.spare.set(core::mem::take(&mut self.out));
        }
        Ok(())
    }

    /// Reads from the stream, without a timeout.
    pub(crate) async fn receive(&mut self, into: &mut [u8]) -> Result<usize, Error<S::Error>> {
        self.stream.read(into).await.map_err(Error::Stream)
    }

    /// Reads from the stream; `None` if nothing came within `limit`.
    pub(crate) async fn receive_within(
        &mut self,
        limit: Duration,
        into: &mut [u8],
    ) -> Option<Result<usize, Error<S::Error>>> {
        let clock = &self.server.clock;
        let read = pin!(self.stream.read(into));
        let read = clock.timeout(&mut self.timer, limit, read).await?;
        Some(read.map_err(Error::Stream))
    }

    /// Reads bytes of the body into `into`: zero at its end. `rest` is the input buffer behind the head.
    pub(crate) async fn read_body(
        &mut self,
        rest: &mut [u8],
        into: &mut [u8],
    ) -> Result<usize, Error<S::Error>> {
        while !into.is_empty() {
            let data_left = match &mut self.body {
                Body::Sized(left) => *left,
                Body::Chunked(chunked) if chunked.data_left() > 0 => chunked.data_left(),
                Body::Chunked(chunked) if !chunked.is_done() => {
                    let taken = chunked
                        .feed(&rest[self.pending.clone()])
                        .map_err(Error::BadBody)?;
                    self.pending.start += taken;
                    if self.pending.is_empty() && !self.body.is_done() {
                        self.pending = 0..self.receive_body(rest).await?;
                    }
                    continue;
                }
                Body::Chunked(_) => 0,
            };
            if data_left == 0 {
                break;
            }
            let wanted = into
                .len()
                .min(usize::try_from(data_left).unwrap_or(usize::MAX));
            let taken = self.take(rest, &mut into[..wanted]).await?;
            match &mut self.body {
                Body::Sized(left) => *left -= taken as u64,
                Body::Chunked(chunked) => chunked.took(taken as u64),
            }
            return Ok(taken);
        }
        Ok(0)
    }

    /// Moves pending input, or what the stream has, into `into`.
    async fn take(&mut self, rest: &[u8], into: &mut [u8]) -> Result<usize, Error<S::Error>> {
        if self.pending.is_empty() {
            return self.receive_body(into).await;
        }
        let taken = into.len().min(self.pending.len());
        into[..taken].copy_from_slice(&rest[self.pending.start..][..taken]);
        self.pending.start += taken;
        Ok(taken)
    }

    async fn receive_body(&mut self, into: &mut [u8]) -> Result<usize, Error<S::Error>> {
        if core::mem::take(&mut self.expects_continue) {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        self.flush().await?;
        let server = self.server;
        match self.receive_within(server.limits.stall_timeout, into).await {
            None => Err(Error::Stalled),
            Some(Ok(0)) => Err(Error::Truncated),
            Some(result) => result,
        }
    }

    /// Whether the rest of the body may be read to get at the next request, as far as is known now.
    pub(crate) fn is_worth_draining(&self) -> bool {
        match self.body {
            Body::Sized(0) => true,
            // A client that was not told to go on may or may not send the body: where it ends nobody knows.
            _ if self.expects_continue && self.pending.is_empty() => false,
            Body::Sized(left) => left <= self.server.limits.drain_bytes,
            Body::Chunked(_) => true,
        }
    }

    /// Reads the rest of the body, within the limit. Returns whether that brought its end.
    pub(crate) async fn drain(&mut self, rest: &mut [u8]) -> Result<bool, Error<S::Error>> {
        // The reply is sent: 100 would now be about the next request.
        self.expects_continue = false;
        let mut sink = [0; 256];
        let mut budget = self.server.limits.drain_bytes;
        while !self.body.is_done() {
            let read = self.read_body(rest, &mut sink).await? as u64;
            if read > budget {
                return Ok(false);
            }
            budget -= read;
        }
        Ok(true)
    }
}

/// Sends `bytes` as the peer takes them.
async fn send<S: Write, C: Clock>(
    server: &Server<C>,
    timer: &mut C::Timer,
    stream: &mut S,
    mut bytes: &[u8],
) -> Result<(), Error<S::Error>> {
    while !bytes.is_empty() {
        let write = pin!(stream.write(bytes));
        let sent = server
            .clock
            .timeout(timer, server.limits.stall_timeout, write)
            .await;
        // A stream that takes nothing and says so at once would have us ask forever.
        let sent = sent
            .filter(|sent| !matches!(sent, Ok(0)))
            .ok_or(Error::Stalled)?
            .map_err(Error::Stream)?;
        server.count(|counters| counters.bytes_sent += sent as u64);
        bytes = &bytes[sent..];
    }
    Ok(())
}
