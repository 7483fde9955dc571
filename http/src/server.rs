//! What all connections of a server share.

use crate::connection::Connection;
use crate::date::DateLine;
use crate::stop::Stop;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;
use embedded_io_async::{Read, Write};

/// Time, as connections need it.
pub trait Clock {
    /// What a connection keeps between its timeouts, so that each need not begin from nothing.
    type Timer: Default;

    /// The time since the Unix epoch, if it is known. Without it replies have no `Date` (RFC 9110 §6.6.1).
    fn wall(&self) -> Option<Duration>;

    /// Runs `future` for `limit` at most: `None` if it was not done by then. A future that is done at once should
    /// cost no timer. It is pinned already, so that nobody keeps it twice.
    fn timeout<F: Future + Unpin>(
        &self,
        timer: &mut Self::Timer,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Option<F::Output>>;
}

/// What a peer may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest request head in bytes, 65,535 at most. A longer one is answered with 431, or 414 if it is all target.
    pub head_bytes: usize,
    /// How long a head may take from its first byte to its last. A slower one is answered with 408.
    pub head_timeout: Duration,
    /// How long a connection may wait for a request. Then it ends without a word.
    pub idle_timeout: Duration,
    /// How long a peer may go without sending a byte of a body, or without taking one of a reply.
    pub stall_timeout: Duration,
    /// How much of a body that nobody wanted is read, within `head_timeout`, to save the connection for the next request.
    pub drain_bytes: u64,
    /// How many requests one connection may carry.
    pub max_requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 8 * 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(20),
            drain_bytes: 64 * 1024,
            max_requests: 100_000,
        }
    }
}

/// Counts since the server was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections open now.
    pub open: u32,
    /// Connections there have been, the open ones included.
    pub connections: u64,
    /// Requests whose head was accepted.
    pub requests: u64,
    /// Requests that were refused by this crate, for what their bytes were or for when they came.
    pub refused: u64,
    /// Bytes that streams took, heads included.
    pub bytes_sent: u64,
}

/// Limits, clock and counters of a set of connections, which all run in one thread.
pub struct Server<C> {
    pub(crate) clock: C,
    pub(crate) limits: Limits,
    pub(crate) stop: Stop,
    date: DateLine,
    counters: Cell<Counters>,
    /// An output buffer that no connection is using.
    pub(crate) spare: Cell<Vec<u8>>,
    /// Lines that go with every reply.
    #[cfg(feature = "fields")]
    fields: Vec<u8>,
}

impl<C: Clock> Server<C> {
    /// Makes a server without connections.
    pub fn new(clock: C, limits: Limits) -> Self {
        let (stop, date, counters) = (Stop::default(), DateLine::default(), Cell::default());
        Self {
            clock,
            limits,
            stop,
            date,
            counters,
            spare: Cell::default(),
            #[cfg(feature = "fields")]
            fields: Vec::new(),
        }
    }

    /// The same, with these fields in every reply.
    ///
    /// # Errors
    ///
    /// The first field that can't be sent as it is.
    #[cfg(feature = "fields")]
    pub fn with_fields<'f>(
        mut self,
        fields: &[(&'f str, &'f str)],
    ) -> Result<Self, (&'f str, &'f str)> {
        for (name, value) in fields {
            if !crate::fields::is_sendable(name, value) {
                return Err((name, value));
            }
            crate::fields::append(&mut self.fields, name, value);
        }
        Ok(self)
    }

    /// Starts a connection on `stream`. Streams often are references: what is left to do when the connection has
    /// ended, such as closing, is up to their owner.
    ///
    /// Reads of the stream must lose nothing when they are dropped before they are done.
    pub fn connection<S: Read + Write>(&self, stream: S) -> Connection<'_, S, C> {
        Connection::new(self, stream)
    }

    /// The counts so far.
    pub fn counters(&self) -> Counters {
        self.counters.get()
    }

    /// Lets each connection finish the exchange that it is in, and those that wait for a request end at once.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// Waits until there is no connection.
    pub async fn emptied(&self) {
        self.stop.emptied().await;
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Appends the lines that go with every reply: the `Date` if the time is known.
    pub(crate) fn append_lines(&self, out: &mut Vec<u8>) {
        #[cfg(feature = "fields")]
        out.extend_from_slice(&self.fields);
        if let Some(now) = self.clock.wall() {
            self.date.append(now.as_secs(), out);
        }
    }
}
