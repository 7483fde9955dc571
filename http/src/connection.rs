//! A connection: one exchange after another.

use crate::error::{Error, check_memory, rare};
use crate::exchange::{Exchange, PLAIN_TEXT, Progress, Turn};
use crate::fields::Field;
use crate::head::{self, Framing, Head, Refusal};
use crate::io::{Body, Io};
use crate::request::Request;
use crate::server::{Clock, Server};
use crate::status::Status;
use crate::stop::Slot;
use alloc::vec;
use alloc::vec::Vec;
use core::pin::pin;
use core::time::Duration;
use embedded_io_async::{Read, Write};
use xenlet_kernel::trace::{self, Span};

/// The input buffer at first: most heads fit, and ten thousand idle connections hold no more than they need.
const FIRST_INPUT: usize = 512;
/// The least room behind the head of a chunked body, for its framing to be read into.
const BODY_ROOM: usize = 64;
/// How long a connection that ends lets the peer read the last reply before what it still sends counts as an insult.
const LINGER: Duration = Duration::from_secs(2);

/// A connection, which yields exchanges.
pub struct Connection<'s, S, C: Clock> {
    io: Io<'s, S, C>,
    slot: Slot,
    /// The head of the current request and, behind it, the input that `io.pending` counts from.
    input: Vec<u8>,
    /// Where the current head's fields lie.
    fields: Vec<Field>,
    /// How long the current head is.
    head_len: usize,
    /// How far the search for the next head's end came.
    searched: usize,
    served: u32,
    /// Whether there will be no further exchange.
    ended: bool,
    /// Whether the peer may still send what nobody will read.
    unread: bool,
    /// The request that came last, from its first byte until its reply is sent.
    span: Span,
}

impl<'s, S: Read + Write, C: Clock> Connection<'s, S, C> {
    pub(crate) fn new(server: &'s Server<C>, stream: S) -> Self {
        server.count(|counters| {
            counters.open += 1;
            counters.connections += 1;
        });
        Self {
            io: Io::new(server, stream),
            slot: server.stop.enter(),
            input: vec![0; FIRST_INPUT.min(server.limits.head_bytes)],
            fields: Vec::new(),
            head_len: 0,
            searched: 0,
            served: 0,
            ended: false,
            unread: false,
            span: Span::default(),
        }
    }

    /// Waits for the next request. `None` when the connection is over: the peer closed it, either side asked for its
    /// end, it was idle for too long, the server stops, or a request was refused.
    ///
    /// Replies are sent, at the latest, when this has to wait. An exchange that was dropped without a reply is
    /// answered with 500. Dropping this future before it is done ends the connection.
    ///
    /// # Errors
    ///
    /// The stream's, and those of [`Error`] about the peer. The connection is over then, too.
    pub async fn next(&mut self) -> Result<Option<Exchange<'_, 's, S, C>>, Error<S::Error>> {
        if self.ended {
            return Ok(None);
        }
        // Until there is another head; also when this future is dropped half-way.
        self.ended = true;
        match self.next_head().await? {
            Some(Ok(head)) => {
                if head.framing == Framing::Chunked && !self.grow(head.len + BODY_ROOM) {
                    rare(self.refuse(head::NO_MEMORY))?.await?;
                    return Ok(None);
                }
                self.ended = false;
                Ok(Some(self.exchange(head)))
            }
            Some(Err(refusal)) => {
                rare(self.refuse(refusal))?.await?;
                Ok(None)
            }
            None => {
                self.io.flush().await?;
                self.span.end();
                Ok(None)
            }
        }
    }

    /// Notes who the client has proved to be.
    #[cfg(feature = "access")]
    pub fn set_peer(&mut self, peer: Option<alloc::boxed::Box<xenlet_net::Peer>>) {
        self.io.peer = peer;
    }

    /// The stream, for what is to be done with it when the connection is over. Before that, writing to it or reading from it
    /// would be in the middle of something.
    pub fn stream(&mut self) -> &mut S {
        self.io.stream()
    }

    /// When the connection is over and the stream's owner has closed the sending side: takes in what the peer still
    /// sends, within limits, because closing a TCP connection with unread input resets it, and a reset can
    /// overtake the last reply. Returns at once if there is nothing to fear.
    ///
    /// When the server stops this waits for the peer's end of the stream too, which shows that the reply has arrived:
    /// what is still in a send buffer may be lost with the machine.
    pub async fn linger(mut self) {
        if !self.unread && !self.io.server.stop.is_stopping() {
            return;
        }
        let (clock, mut budget) = (&self.io.server.clock, self.io.server.limits.drain_bytes);
        let drained = rare::<_, S::Error>(async {
            while let Ok(read @ 1..) = self.io.receive(&mut self.input).await {
                match budget.checked_sub(read as u64) {
                    Some(left) => budget = left,
                    None => break,
                }
            }
        });
        if let Ok(drained) = drained {
            // Timeout or not: it is over.
            let _ = clock
                .timeout(&mut C::Timer::default(), LINGER, drained)
                .await;
        }
    }

    /// The next head or what is wrong with it; `None` if there will be none.
    async fn next_head(&mut self) -> Result<Option<Result<Head, Refusal>>, Error<S::Error>> {
        if self.served > 0 && !self.has_replied() && !rare(self.end_exchange())?.await? {
            return Ok(None);
        }
        self.forget_head();
        let server = self.io.server;
        let mut verdict = self.parse();
        if !self.io.pending.is_empty() {
            self.begin_span();
        }
        while verdict.is_none() && self.io.pending.is_empty() {
            self.io.flush().await?;
            self.span.end();
            let slot = self.slot;
            let received = {
                let wait = self
                    .io
                    .receive_within(server.limits.idle_timeout, &mut self.input);
                server.stop.unless_stopping(slot, pin!(wait)).await
            };
            match received.flatten() {
                None | Some(Ok(0)) => return Ok(None),
                Some(result) => self.io.pending.end = result?,
            }
            self.begin_span();
            check_memory()?;
            verdict = self.parse();
        }
        if verdict.is_some() {
            return Ok(verdict);
        }
        rare(self.late_head())?.await
    }

    /// The first bytes of a request have come.
    fn begin_span(&mut self) {
        self.span.end();
        self.span = trace::span("request");
    }

    /// The head whose beginning has come, or what is wrong with it; `None` if there will be none.
    async fn late_head(&mut self) -> Result<Option<Result<Head, Refusal>>, Error<S::Error>> {
        self.io.flush().await?;
        let server = self.io.server;
        let (mut timer, limit) = (C::Timer::default(), server.limits.head_timeout);
        let verdict = {
            let rest = pin!(self.rest_of_head());
            server.clock.timeout(&mut timer, limit, rest).await
        };
        let Some(verdict) = verdict else {
            // All that came may have been the rest of an empty line: nobody asked for anything then.
            let began = !self.io.pending.is_empty();
            return Ok(began.then_some(Err(Refusal {
                status: Status::REQUEST_TIMEOUT,
                why: "the request took too long to arrive",
            })));
        };
        verdict
    }

    /// Reads on until there is a verdict on the head; `None` if the peer closes before that.
    async fn rest_of_head(&mut self) -> Result<Option<Result<Head, Refusal>>, Error<S::Error>> {
        loop {
            // The parser gives its verdict on a full buffer of the largest size: one that is full is smaller.
            let filled = self.io.pending.end;
            let larger = (filled * 2).min(self.io.server.limits.head_bytes);
            if filled == self.input.len() && !self.grow(larger) {
                return Ok(Some(Err(head::NO_MEMORY)));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
            if let Some(verdict) = self.parse() {
                return Ok(Some(verdict));
            }
        }
    }

    /// Whether the exchange before came to its end by the reply, as most do.
    fn has_replied(&self) -> bool {
        self.io.turn.progress == Progress::Replied
            && self.io.turn.keep_alive
            && self.io.body.is_done()
    }

    /// Brings the exchange before to its end. Returns whether another may follow.
    async fn end_exchange(&mut self) -> Result<bool, Error<S::Error>> {
        if self.io.turn.progress == Progress::Waiting {
            let why = Refusal {
                status: Status::INTERNAL_SERVER_ERROR,
                why: "the server did not answer",
            };
            self.refuse(why).await?;
            return Ok(false);
        }
        let complete = self.io.turn.progress == Progress::Replied;
        if !complete || !self.io.turn.keep_alive {
            self.unread = !self.io.body.is_done() || !self.io.pending.is_empty();
            return Ok(false);
        }
        if self.io.body.is_done() {
            return Ok(true);
        }
        self.io.flush().await?;
        let (server, slot) = (self.io.server, self.slot);
        let (mut timer, limit) = (C::Timer::default(), server.limits.head_timeout);
        let drain = pin!(self.io.drain(&mut self.input[self.head_len..]));
        let drained = pin!(server.clock.timeout(&mut timer, limit, drain));
        match server.stop.unless_stopping(slot, drained).await.flatten() {
            Some(Ok(true)) => Ok(true),
            // Too much of it, too slow, or nonsense: the reply was sent, and where the next request begins is unknown.
            None | Some(Ok(false) | Err(Error::BadBody(_) | Error::Stalled)) => {
                self.unread = true;
                Ok(false)
            }
            Some(Err(error)) => Err(error),
        }
    }

    /// Makes the pending input the input.
    fn forget_head(&mut self) {
        let (start, end) = (
            self.head_len + self.io.pending.start,
            self.head_len + self.io.pending.end,
        );
        self.input.copy_within(start..end, 0);
        self.io.pending = 0..end - start;
        (self.head_len, self.searched) = (0, 0);
        self.io.turn.progress = Progress::Waiting;
    }

    /// Makes the input buffer at least `len` bytes long. How long is the peer's choice, so that lack of memory must not
    /// be the end of the program: `false` then.
    fn grow(&mut self, len: usize) -> bool {
        let missing = len.saturating_sub(self.input.len());
        // What others allocate unasked is left.
        let has_room =
            check_memory::<()>().is_ok() && self.input.try_reserve_exact(missing).is_ok();
        if has_room && missing > 0 {
            self.input.resize(len, 0);
        }
        has_room
    }

    /// Reads more of a head. Zero if the peer has closed its side.
    async fn fill(&mut self) -> Result<usize, Error<S::Error>> {
        let filled = self.io.pending.end;
        let read = self.io.receive(&mut self.input[filled..]).await?;
        self.io.pending.end += read;
        Ok(read)
    }

    fn parse(&mut self) -> Option<Result<Head, Refusal>> {
        // Empty lines before a request are let pass (RFC 9112 §2.2).
        let blank = self.input[..self.io.pending.end]
            .as_chunks::<2>()
            .0
            .iter()
            .take_while(|pair| *pair == b"\r\n")
            .count();
        if blank > 0 {
            self.io.pending.start = 2 * blank;
            self.forget_head();
        }
        if self.io.pending.is_empty() {
            return None;
        }
        head::parse(
            &mut self.input[..self.io.pending.end],
            &mut self.searched,
            self.io.server.limits.head_bytes,
            &mut self.fields,
        )
    }

    fn exchange(&mut self, head: Head) -> Exchange<'_, 's, S, C> {
        self.served += 1;
        self.io.server.count(|counters| counters.requests += 1);
        self.io.body = Body::from(head.framing);
        self.io.expects_continue = head.expects_continue;
        self.io.pending.start = head.len;
        self.io.pending = 0..self.io.pending.len();
        self.head_len = head.len;
        self.io.turn = Turn {
            progress: Progress::Waiting,
            keep_alive: head.keep_alive && self.served < self.io.server.limits.max_requests,
            is_old: head.is_old,
        };
        let (bytes, rest) = self.input.split_at_mut(head.len);
        let bytes: &[u8] = bytes;
        // The parser has checked that both are UTF-8.
        let text = |range: core::ops::Range<usize>| {
            core::str::from_utf8(&bytes[range]).unwrap_or_default()
        };
        let request = Request {
            method: head.method,
            path: text(head.target.path),
            query: head.target.query.map(text),
            head: bytes,
            fields: &self.fields,
            content_length: match head.framing {
                Framing::Sized(length) => Some(length),
                Framing::Chunked => None,
            },
        };
        self.span
            .about(format_args!("{} {}", request.method, request.path));
        Exchange {
            request,
            rest,
            io: &mut self.io,
        }
    }

    /// Answers a request that nobody else will answer, and ends the connection.
    async fn refuse(&mut self, refusal: Refusal) -> Result<(), Error<S::Error>> {
        self.io.server.count(|counters| counters.refused += 1);
        self.unread = true;
        self.io.turn.keep_alive = false;
        let is_head = self.input.starts_with(b"HEAD ");
        crate::exchange::reply(
            &mut self.io,
            is_head,
            refusal.status,
            &[PLAIN_TEXT],
            &[refusal.why.as_bytes(), b"\n"],
        )
        .await?;
        self.io.flush().await
    }
}

impl<S, C: Clock> Drop for Connection<'_, S, C> {
    fn drop(&mut self) {
        let server = self.io.server;
        server.count(|counters| counters.open -= 1);
        server.stop.leave(self.slot);
    }
}
