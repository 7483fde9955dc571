//! One request and its reply.

use crate::error::Error;
use crate::fields;
use crate::io::Io;
use crate::request::{Method, Request};
use crate::sender::Sender;
use crate::server::Clock;
use crate::status::Status;
use alloc::vec::Vec;
use core::fmt::Write as _;
use embedded_io_async::{Read, Write};

/// The field that goes with text for people.
pub const PLAIN_TEXT: (&str, &str) = ("Content-Type", "text/plain; charset=utf-8");

/// How far the reply has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing was sent.
    #[default]
    Waiting,
    /// The head was sent, and not all of the body.
    Sending,
    /// All was sent.
    Replied,
}

/// What a reply has to know of the connection and of the request, apart from what it asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) progress: Progress,
    /// Whether the connection goes on after this exchange.
    pub(crate) keep_alive: bool,
    /// Whether the request is HTTP/1.0.
    pub(crate) is_old: bool,
}

/// One request, its body, and the way to reply to it.
///
/// Replying takes the exchange. Until then the body can be read. What is left of it is dealt with by the connection.
pub struct Exchange<'c, 's, S, C: Clock> {
    pub(crate) request: Request<'c>,
    /// The input buffer behind the head.
    pub(crate) rest: &'c mut [u8],
    pub(crate) io: &'c mut Io<'s, S, C>,
}

impl<'c, 's, S: Read + Write, C: Clock> Exchange<'c, 's, S, C> {
    /// The request's head.
    pub fn request(&self) -> Request<'c> {
        self.request
    }

    /// Who the client has proved to be, by a certificate.
    #[cfg(feature = "access")]
    pub fn peer(&self) -> Option<&xenlet_net::Peer> {
        self.io.peer.as_deref()
    }

    /// Reads some of the request's body into `into`; zero at its end. A client that waits to be told so is told to
    /// go on (RFC 9110 §10.1.1) when there is need.
    ///
    /// # Errors
    ///
    /// The stream's; [`Error::Stalled`], [`Error::Truncated`]; [`Error::BadBody`], which may still be answered. After
    /// any of them the connection ends with this exchange.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, Error<S::Error>> {
        let result = self.io.read_body(self.rest, into).await;
        self.io.turn.keep_alive &= result.is_ok();
        result
    }

    /// Replies with a head that was made before: a status line and field lines, each with its line end, in as many
    /// parts as is handy. `Content-Length` must be among them (unless the status has no body); `Date`, `Connection`
    /// and the empty line must not: those are added. The body is left out where the request is `HEAD`.
    ///
    /// # Errors
    ///
    /// The stream's, and [`Error::Stalled`] if the peer takes nothing.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, in every level of calls, for every connection"
    )]
    pub fn reply(
        self,
        head: &[&[u8]],
        body: &[u8],
    ) -> impl Future<Output = Result<(), Error<S::Error>>> {
        let (is_head, io) = (self.request.method == Method::Head, self.io);
        async move {
            ready_head(io, head).await?;
            if !is_head {
                io.write(body).await?;
            }
            io.turn.progress = Progress::Replied;
            Ok(())
        }
    }

    /// Starts a reply with a head that was made before, as for [`reply`](Self::reply), and a body of `length` bytes that
    /// comes in pieces: what `Content-Length` among the lines says.
    ///
    /// # Errors
    ///
    /// As [`reply`](Self::reply).
    pub async fn stream(
        self,
        head: &[&[u8]],
        length: u64,
    ) -> Result<Sender<'c, 's, S, C>, Error<S::Error>> {
        ready_head(self.io, head).await?;
        Ok(Sender {
            rest: self.rest,
            io: self.io,
            left: Some(length),
            chunked: false,
            is_head: self.request.method == Method::Head,
        })
    }

    /// Replies with a small head made now. `Content-Length` and what [`reply`](Self::reply) adds must not be among
    /// `fields`.
    ///
    /// # Errors
    ///
    /// [`Error::Field`] if a field can't be sent as it is; else as [`reply`](Self::reply).
    pub async fn respond(
        self,
        status: Status,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(), Error<S::Error>> {
        let is_head = self.request.method == Method::Head;
        reply(self.io, is_head, status, fields, &[body]).await
    }

    /// Replies with an error and a line of text for people; the line end is added.
    ///
    /// # Errors
    ///
    /// As [`reply`](Self::reply).
    pub async fn refuse(self, status: Status, why: &str) -> Result<(), Error<S::Error>> {
        let is_head = self.request.method == Method::Head;
        let body = [why.as_bytes(), b"\n"];
        reply(self.io, is_head, status, &[PLAIN_TEXT], &body).await
    }

    /// Starts a reply whose body comes in pieces: `length` bytes, or, if that is not known, chunked (to HTTP/1.0: up
    /// to the connection's end). With a status that has no body, pieces are only counted, as for `HEAD`.
    ///
    /// # Errors
    ///
    /// As [`respond`](Self::respond).
    pub async fn start(
        self,
        status: Status,
        fields: &[(&str, &str)],
        length: Option<u64>,
    ) -> Result<Sender<'c, 's, S, C>, Error<S::Error>> {
        self.io.make_room().await?;
        append_head(self.io.out(), status, fields)?;
        self.io.turn.progress = Progress::Sending;
        let bodiless = status.is_bodiless();
        let chunked = length.is_none() && !self.io.turn.is_old && !bodiless;
        let _ = match length {
            _ if bodiless => Ok(()),
            Some(length) => write!(Text(self.io.out()), "Content-Length: {length}\r\n"),
            None if chunked => Text(self.io.out()).write_str("Transfer-Encoding: chunked\r\n"),
            None => {
                self.io.turn.keep_alive = false;
                Ok(())
            }
        };
        end_head(self.io);
        let is_head = self.request.method == Method::Head || bodiless;
        Ok(Sender {
            rest: self.rest,
            io: self.io,
            left: length,
            chunked,
            is_head,
        })
    }
}

/// Sends a whole reply, with the body in parts.
pub(crate) async fn reply<S: Read + Write, C: Clock>(
    io: &mut Io<'_, S, C>,
    is_head: bool,
    status: Status,
    fields: &[(&str, &str)],
    body: &[&[u8]],
) -> Result<(), Error<S::Error>> {
    io.make_room().await?;
    append_head(io.out(), status, fields)?;
    io.turn.progress = Progress::Sending;
    let length: usize = body.iter().map(|part| part.len()).sum();
    if !status.is_bodiless() {
        // Writing to a Vec can't fail.
        let _ = write!(Text(io.out()), "Content-Length: {}\r\n", length);
    }
    end_head(io);
    if !is_head && !status.is_bodiless() {
        for part in body {
            io.write(part).await?;
        }
    }
    io.turn.progress = Progress::Replied;
    Ok(())
}

/// Appends the status line and fields, or nothing if one of them can't be sent.
fn append_head<E>(
    out: &mut Vec<u8>,
    status: Status,
    fields: &[(&str, &str)],
) -> Result<(), Error<E>> {
    if !fields
        .iter()
        .all(|(name, value)| fields::is_sendable(name, value))
    {
        return Err(Error::Field);
    }
    out.extend_from_slice(status.line().as_bytes());
    for (name, value) in fields {
        fields::append(out, name, value);
    }
    Ok(())
}

/// Writes a head that was made before, in parts, and ends it.
async fn ready_head<S: Read + Write, C: Clock>(
    io: &mut Io<'_, S, C>,
    head: &[&[u8]],
) -> Result<(), Error<S::Error>> {
    io.turn.progress = Progress::Sending;
    io.make_room_for(head.iter().map(|part| part.len()).sum())
        .await?;
    for part in head {
        io.out().extend_from_slice(part);
    }
    end_head(io);
    Ok(())
}

/// Settles whether the connection goes on, and ends the head.
fn end_head<S: Read + Write, C: Clock>(io: &mut Io<'_, S, C>) {
    io.turn.keep_alive &= !io.server.stop.is_stopping() && io.is_worth_draining();
    io.server.append_lines(io.out());
    let connection = match (io.turn.keep_alive, io.turn.is_old) {
        (false, _) => "Connection: close\r\n\r\n",
        (true, true) => "Connection: keep-alive\r\n\r\n",
        (true, false) => "\r\n",
    };
    io.out().extend_from_slice(connection.as_bytes());
}

/// Formats into bytes.
struct Text<'v>(&'v mut Vec<u8>);

impl core::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
