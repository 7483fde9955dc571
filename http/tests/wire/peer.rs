//! A stream that plays a script, a clock whose time is up whenever somebody waits, and a small application.

use core::time::Duration;
use embedded_io_async::{ErrorType, Read, Write};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use xenlet_http::{Clock, Error, Exchange, Limits, Server, Status};

/// What the peer does when its script is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Closes its side.
    Close,
    /// Nothing, forever.
    Wait,
}

/// The server's end of a connection to a scripted peer.
pub(crate) struct Peer {
    chunks: std::vec::IntoIter<Vec<u8>>,
    chunk: Vec<u8>,
    then: Then,
    /// How many bytes one write takes, and how many all of them.
    takes: (usize, usize),
    pub(crate) received: RefCell<Vec<u8>>,
    pub(crate) writes: usize,
    /// How many bytes the longest write offered.
    pub(crate) longest: usize,
}

impl Peer {
    pub(crate) fn new(chunks: Vec<Vec<u8>>, then: Then) -> Self {
        let chunks = chunks.into_iter();
        Peer {
            chunks,
            chunk: Vec::new(),
            then,
            takes: (usize::MAX, usize::MAX),
            received: RefCell::default(),
            writes: 0,
            longest: 0,
        }
    }

    pub(crate) fn taking(mut self, at_once: usize, altogether: usize) -> Self {
        self.takes = (at_once, altogether);
        self
    }
}

impl ErrorType for Peer {
    type Error = Infallible;
}

impl Read for Peer {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        assert!(
            !into.is_empty(),
            "reading into nothing looks like the peer's end"
        );
        while self.chunk.is_empty() {
            match (self.chunks.next(), self.then) {
                (Some(chunk), _) => self.chunk = chunk,
                (None, Then::Close) => return Ok(0),
                (None, Then::Wait) => pending().await,
            }
        }
        let read = into.len().min(self.chunk.len());
        into[..read].copy_from_slice(&self.chunk[..read]);
        self.chunk.drain(..read);
        Ok(read)
    }
}

impl Write for Peer {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let room = self.takes.1 - self.received.borrow().len();
        if room == 0 {
            pending().await
        }
        let written = bytes.len().min(self.takes.0).min(room);
        self.received
            .borrow_mut()
            .extend_from_slice(&bytes[..written]);
        self.writes += 1;
        self.longest = self.longest.max(bytes.len());
        Ok(written)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Nothing ever happens later in these tests, so whoever waits has waited for too long.
#[derive(Default)]
pub(crate) struct Impatient {
    pub(crate) wall: Option<Duration>,
}

impl Clock for Impatient {
    type Timer = ();

    fn wall(&self) -> Option<Duration> {
        self.wall
    }

    async fn timeout<F: Future + Unpin>(
        &self,
        _timer: &mut (),
        _limit: Duration,
        future: F,
    ) -> Option<F::Output> {
        let mut future = pin!(future);
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

/// Runs a future that never waits.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the connection waits without a time limit"),
    }
}

pub(crate) const STATIC: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nETag: \"a\"\r\n";

/// `/echo` and `/chunked` tell what was asked, `/ignore` leaves the body alone, `/static` has a ready-made reply,
/// `/large` is larger than a segment, `/silent` forgets to answer, `/short` breaks its promise, `/bodiless` has a body that
/// its status does not allow.
pub(crate) async fn answer<S: Read + Write, C: Clock>(
    mut exchange: Exchange<'_, '_, S, C>,
) -> Result<(), Error<S::Error>> {
    let request = exchange.request();
    let text = [("Content-Type", "text/plain")];
    match request.path() {
        path @ ("/echo" | "/chunked") => {
            let mut reply =
                format!("{:?} {path} {:?}\n", request.method(), request.query()).into_bytes();
            let mut buffer = [0; 100];
            loop {
                match exchange.read(&mut buffer).await {
                    Ok(0) => break,
                    Ok(read) => reply.extend_from_slice(&buffer[..read]),
                    Err(Error::BadBody(why)) => {
                        return exchange.refuse(Status::BAD_REQUEST, why).await;
                    }
                    Err(error) => return Err(error),
                }
            }
            if path == "/echo" {
                return exchange.respond(Status::OK, &text, &reply).await;
            }
            let mut sender = exchange.start(Status::OK, &text, None).await?;
            for piece in reply.chunks(17) {
                sender.write(piece).await?;
            }
            sender.finish().await
        }
        "/ignore" => exchange.respond(Status::OK, &text, b"ignored").await,
        "/static" => exchange.reply(&[STATIC], b"Hello there\n").await,
        "/large" => exchange.respond(Status::OK, &text, &[b'x'; 5000]).await,
        "/silent" => Ok(()),
        "/bodiless" => {
            let mut sender = exchange.start(Status::NO_CONTENT, &text, None).await?;
            sender.write(b"something").await?;
            sender.finish().await
        }
        "/short" => {
            let mut sender = exchange.start(Status::OK, &text, Some(10)).await?;
            sender.write(b"12345").await?;
            assert!(matches!(
                sender.write(b"678901").await,
                Err(Error::WrongLength)
            ));
            assert!(matches!(sender.finish().await, Err(Error::WrongLength)));
            Ok(())
        }
        _ => exchange.refuse(Status::NOT_FOUND, "nothing here").await,
    }
}

/// What came of a script.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) replies: Vec<u8>,
    pub(crate) error: Option<Error<Infallible>>,
}

impl Outcome {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.replies).into_owned()
    }

    /// The codes of the replies, informational ones included.
    pub(crate) fn codes(&self) -> Vec<u16> {
        let text = self.text();
        text.split("HTTP/1.1 ")
            .skip(1)
            .filter_map(|reply| reply.get(..3)?.parse().ok())
            .collect()
    }
}

/// Serves a peer to the connection's end.
pub(crate) fn serve(server: &Server<Impatient>, peer: &mut Peer) -> Option<Error<Infallible>> {
    let mut connection = server.connection(peer);
    let result = now(async {
        while let Some(exchange) = connection.next().await? {
            answer(exchange).await?;
        }
        Ok(())
    });
    now(connection.linger());
    result.err()
}

pub(crate) fn limits() -> Limits {
    Limits {
        head_bytes: 2048,
        drain_bytes: 1000,
        max_requests: 20,
        ..Limits::default()
    }
}

/// Plays chunks to a fresh server.
pub(crate) fn play(chunks: Vec<Vec<u8>>, then: Then) -> Outcome {
    let mut peer = Peer::new(chunks, then);
    let server = Server::new(Impatient::default(), limits());
    let error = serve(&server, &mut peer);
    assert_eq!(server.counters().open, 0);
    assert_eq!(
        server.counters().bytes_sent,
        peer.received.borrow().len() as u64
    );
    Outcome {
        replies: peer.received.take(),
        error,
    }
}

/// Plays bytes that arrive at once.
pub(crate) fn play_once(bytes: &[u8], then: Then) -> Outcome {
    play(vec![bytes.to_vec()], then)
}
