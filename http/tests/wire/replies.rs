//! Replies as bytes on the wire, how they are cut into writes, and how connections end.

use crate::peer::{Impatient, Peer, Then, limits, now, play_once, serve};
use core::time::Duration;
use embedded_io_async::{ErrorType, Read, Write};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use xenlet_http::{Counters, Error, Limits, Server, Status};

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()
}

#[test]
fn a_ready_made_reply() {
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nETag: \"a\"\r\n\r\nHello there\n";
    assert_eq!(play_once(&get("/static"), Then::Close).text(), expected);
}

#[test]
fn a_reply_with_a_date() {
    let server = Server::new(
        Impatient {
            wall: Some(Duration::from_secs(784_111_777)),
        },
        limits(),
    );
    let mut peer = Peer::new(vec![get("/ignore")], Then::Close);
    assert_eq!(serve(&server, &mut peer), None);
    let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\
                    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nignored";
    assert_eq!(String::from_utf8(peer.received.take()).unwrap(), expected);
}

#[test]
fn a_chunked_reply() {
    let text = play_once(&get("/chunked?abcdefgh"), Then::Close).text();
    let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n\
                    11\r\nGet /chunked Some\r\nd\r\n(\"abcdefgh\")\n\r\n0\r\n\r\n";
    assert_eq!(text, expected);
}

#[test]
fn a_reply_in_few_writes() {
    for (path, requests, writes) in [
        // Head and body share a segment, and so do replies to pipelined requests.
        ("/static", 1, 1),
        ("/static", 10, 1),
        // The first segment is full, the rest goes from where it lies.
        ("/large", 1, 2),
    ] {
        let server = Server::new(Impatient::default(), limits());
        let mut peer = Peer::new(vec![get(path).repeat(requests)], Then::Close);
        assert_eq!(serve(&server, &mut peer), None);
        assert_eq!(peer.writes, writes, "{requests} × {path}");
        assert_eq!(server.counters().requests, requests as u64);
    }
}

#[test]
fn pipelining_does_not_make_the_output_buffer_grow() {
    let limits = Limits {
        head_bytes: 8192,
        max_requests: u32::MAX,
        ..limits()
    };
    let server = Server::new(Impatient::default(), limits);
    // A long head first, so that the input buffer takes hundreds of short ones at once.
    let long = format!("GET /static?{} HTTP/1.1\r\nHost:\r\n\r\n", "x".repeat(8000));
    let mut script = vec![long.into_bytes()];
    for round in 0..100 {
        let paths = ["/static", "/ignore", "/bodiless", "/none"];
        let methods = ["GET", "HEAD"];
        let mut requests = Vec::new();
        for n in 0..200 {
            let (path, method) = (paths[(n + round) % 4], methods[n * round % 2]);
            requests.extend(format!("{method} {path} HTTP/1.1\r\nHost:\r\n\r\n").into_bytes());
        }
        script.push(requests);
    }
    let mut peer = Peer::new(script, Then::Close);
    assert_eq!(serve(&server, &mut peer), None);
    assert_eq!(server.counters().requests, 20_001);
    assert!(peer.longest < 2000, "{} bytes at once", peer.longest);
}

#[test]
fn a_status_without_a_body_has_none() {
    let outcome = play_once(&[get("/bodiless"), get("/static")].concat(), Then::Close);
    assert!(
        outcome.text().starts_with(
            "HTTP/1.1 204 No Content\r\nContent-Type: text/plain\r\n\r\nHTTP/1.1 200 "
        ),
        "{}",
        outcome.text()
    );
}

#[test]
fn small_writes_change_nothing() {
    let whole = play_once(&get("/large"), Then::Close).replies;
    let server = Server::new(Impatient::default(), limits());
    let mut peer = Peer::new(vec![get("/large")], Then::Close).taking(7, usize::MAX);
    assert_eq!(serve(&server, &mut peer), None);
    assert_eq!(peer.received.take(), whole);
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    let server = Server::new(Impatient::default(), limits());
    let mut peer = Peer::new(vec![get("/large")], Then::Close).taking(100, 1000);
    assert_eq!(serve(&server, &mut peer), Some(Error::Stalled));
    assert_eq!(server.counters().bytes_sent, 1000);
}

/// A peer that takes so many bytes, nothing when it is asked again, and then all there is.
struct Pausing {
    request: Vec<u8>,
    takes: usize,
    paused: bool,
    received: Vec<u8>,
}

impl ErrorType for Pausing {
    type Error = Infallible;
}

impl Read for Pausing {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        let count = self.request.len().min(into.len());
        into[..count].copy_from_slice(&self.request[..count]);
        self.request.drain(..count);
        Ok(count)
    }
}

impl Write for Pausing {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        if self.takes == 0 && !self.paused {
            self.paused = true;
            std::future::pending().await
        }
        let count = if self.paused { bytes.len() } else { self.takes };
        let count = count.min(bytes.len());
        self.takes -= count.min(self.takes);
        self.received.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// An application that gives a reply up while it is being sent: nothing of it is sent twice, and nothing behind it.
#[test]
fn a_reply_that_is_given_up_is_not_begun_again() {
    for (path, requests) in [("/large", 1), ("/ignore", 20), ("/static", 20)] {
        let whole = play_once(&get(path).repeat(requests), Then::Close).replies;
        for takes in [0, 1, 50, 1000, 1459, 1461] {
            let server = Server::new(Impatient::default(), limits());
            let mut peer = Pausing {
                request: get(path).repeat(requests),
                takes,
                paused: false,
                received: Vec::new(),
            };
            let mut connection = server.connection(&mut peer);
            now(async {
                while let Ok(Some(exchange)) = connection.next().await {
                    let _ = crate::peer::answer(exchange).await;
                }
            });
            drop(connection);
            assert!(
                whole.starts_with(&peer.received),
                "{path}, {takes}: {}",
                String::from_utf8_lossy(&peer.received)
            );
        }
    }
}

#[test]
fn an_exchange_without_a_reply_is_answered() {
    let outcome = play_once(&[get("/silent"), get("/static")].concat(), Then::Close);
    assert_eq!(outcome.codes(), [500]);
    assert!(outcome.text().contains("Connection: close"));
}

#[test]
fn a_reply_shorter_than_it_said_ends_the_connection() {
    let outcome = play_once(&[get("/short"), get("/static")].concat(), Then::Close);
    assert_eq!(outcome.codes(), [200]);
    assert!(outcome.text().ends_with("\r\n\r\n12345"));
}

#[test]
fn fields_cannot_be_injected() {
    let server = Server::new(Impatient::default(), limits());
    let mut peer = Peer::new(vec![get("/")], Then::Close);
    let mut connection = server.connection(&mut peer);
    let exchange = now(connection.next()).unwrap().unwrap();
    let fields = [("X", "fine"), ("Location", "/\r\nSet-Cookie: a=b")];
    assert_eq!(
        now(exchange.respond(Status::OK, &fields, b"")),
        Err(Error::Field)
    );
    assert!(now(connection.next()).unwrap().is_none());
    drop(connection);
    let text = String::from_utf8(peer.received.take()).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 500 ") && !text.contains("Cookie") && !text.contains("fine"),
        "{text}"
    );
}

#[test]
fn a_connection_that_is_over_stays_over() {
    let server = Server::new(Impatient::default(), limits());
    let mut peer = Peer::new(
        vec![b"nonsense\r\n\r\n".to_vec(), get("/static")],
        Then::Close,
    );
    let mut connection = server.connection(&mut peer);
    for _ in 0..3 {
        assert!(now(connection.next()).unwrap().is_none());
    }
    drop(connection);
    assert_eq!(
        peer.received
            .take()
            .windows(9)
            .filter(|nine| nine == b"HTTP/1.1 ")
            .count(),
        1
    );
}

#[test]
fn counters_count() {
    let server = Server::new(Impatient::default(), limits());
    for script in [get("/static"), b"nonsense\r\n\r\n".to_vec()] {
        assert_eq!(
            serve(&server, &mut Peer::new(vec![script], Then::Close)),
            None
        );
    }
    let Counters {
        open,
        connections,
        requests,
        refused,
        bytes_sent,
    } = server.counters();
    assert_eq!((open, connections, requests, refused), (0, 2, 1, 1));
    assert!(bytes_sent > 100);
}

struct Flag(AtomicUsize);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A clock that lets everybody wait.
struct Patient;

impl xenlet_http::Clock for Patient {
    type Timer = ();

    fn wall(&self) -> Option<Duration> {
        None
    }

    async fn timeout<F: Future + Unpin>(
        &self,
        _timer: &mut (),
        _limit: Duration,
        future: F,
    ) -> Option<F::Output> {
        Some(future.await)
    }
}

#[test]
fn stopping_wakes_the_idle_and_spares_the_busy() {
    let server = Server::new(Patient, Limits::default());
    let flag = Arc::new(Flag(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);

    let mut idle = server.connection(Peer::new(vec![], Then::Wait));
    let mut busy_peer = Peer::new(vec![get("/static").repeat(2)], Then::Wait);
    let mut busy = server.connection(&mut busy_peer);
    let exchange = now(busy.next()).unwrap().unwrap();
    let mut emptied = pin!(server.emptied());
    assert!(emptied.as_mut().poll(&mut context).is_pending());
    {
        let mut waiting = pin!(idle.next());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        server.stop();
        assert_eq!(flag.0.load(Ordering::Relaxed), 1);
        assert!(matches!(
            waiting.as_mut().poll(&mut context),
            Poll::Ready(Ok(None))
        ));
    }
    drop(idle);
    assert!(emptied.as_mut().poll(&mut context).is_pending());
    // The exchange that had begun ends in order, and the pipelined one behind it is not begun.
    now(crate::peer::answer(exchange)).unwrap();
    assert!(now(busy.next()).unwrap().is_none());
    drop(busy);
    assert_eq!(flag.0.load(Ordering::Relaxed), 2);
    assert!(emptied.as_mut().poll(&mut context).is_ready());
    let text = String::from_utf8(busy_peer.received.take()).unwrap();
    assert!(
        text.contains("Connection: close") && text.ends_with("Hello there\n"),
        "{text}"
    );
}

/// A body that nobody wants, of which some is there.
const UNWANTED: &[u8] =
    b"POST /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n12";

#[test]
fn a_body_that_is_not_read_is_not_asked_for() {
    let outcome = crate::peer::play(
        vec![UNWANTED.to_vec(), b"345".to_vec(), get("/static")],
        Then::Close,
    );
    assert_eq!((outcome.codes(), outcome.error), (vec![200, 200], None));
}

#[test]
fn a_body_that_nobody_wants_is_not_waited_for_long() {
    let outcome = play_once(UNWANTED, Then::Wait);
    assert_eq!((outcome.codes(), outcome.error), (vec![200], None));
}

#[test]
fn stopping_ends_the_wait_for_a_body_that_nobody_wants() {
    let server = Server::new(Patient, Limits::default());
    let mut peer = Peer::new(vec![UNWANTED.to_vec()], Then::Wait);
    let mut connection = server.connection(&mut peer);
    let exchange = now(connection.next()).unwrap().unwrap();
    now(crate::peer::answer(exchange)).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut next = pin!(connection.next());
    assert!(next.as_mut().poll(&mut context).is_pending());
    server.stop();
    assert!(matches!(
        next.as_mut().poll(&mut context),
        Poll::Ready(Ok(None))
    ));
}

#[test]
fn stopping_waits_until_the_last_reply_has_arrived() {
    let mut context = Context::from_waker(Waker::noop());
    for (stopping, waits) in [(false, false), (true, true)] {
        let server = Server::new(Patient, Limits::default());
        let mut peer = Peer::new(vec![get("/static")], Then::Wait);
        let mut connection = server.connection(&mut peer);
        let exchange = now(connection.next()).unwrap().unwrap();
        now(crate::peer::answer(exchange)).unwrap();
        if stopping {
            server.stop();
        }
        let mut over = pin!(connection.linger());
        assert_eq!(over.as_mut().poll(&mut context).is_pending(), waits);
    }
}

#[test]
fn nothing_is_allocated_for_a_request() {
    // A connection keeps its buffers: their addresses stay, whatever goes through them.
    let server = Server::new(
        Impatient::default(),
        Limits {
            max_requests: u32::MAX,
            ..limits()
        },
    );
    let mut peer = Peer::new((0..50).map(|_| get("/static")).collect(), Then::Close);
    let mut connection = server.connection(&mut peer);
    let mut seen = None;
    while let Some(exchange) = now(connection.next()).unwrap() {
        let path = exchange.request().path().as_ptr();
        assert_eq!(*seen.get_or_insert(path), path);
        now(crate::peer::answer(exchange)).unwrap();
    }
    assert_eq!(server.counters().requests, 50);
}
