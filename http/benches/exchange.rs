//! What one exchange costs: pipelined requests out of memory, replies into nothing.
//!
//! `cargo bench -p xenlet-http` prints nanoseconds a request, the best of several runs; a name behind `--` chooses one.
#![forbid(unsafe_code)]

use core::convert::Infallible;
use core::time::Duration;
use embedded_io_async::{ErrorType, Read, Write};
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use xenlet_http::{ByteRange, Clock, Limits, Precondition, Server};

const REQUESTS: usize = 200_000;
const RUNS: usize = 7;

const PLAIN: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: 10.0.2.15\r\n\r\n";
const BROWSER: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: keep-alive\r\n\
    Cache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
    AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,\
    application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-US,en;q=0.9\r\nIf-None-Match: \"0f343b0931126a20f133d67c\"\r\n\r\n";
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nContent-Type: text/html; charset=utf-8\r\n\
    Accept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\nETag: \"c0ffee\"\r\nVary: Accept-Encoding\r\n";
static BODY: [u8; 4096] = [b'x'; 4096];

/// One request for each read, `REQUESTS` times.
struct Client {
    request: &'static [u8],
    left: usize,
    sink: u8,
}

impl ErrorType for Client {
    type Error = Infallible;
}

impl Read for Client {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        if self.left == 0 {
            return Ok(0);
        }
        self.left -= 1;
        into[..self.request.len()].copy_from_slice(self.request);
        Ok(self.request.len())
    }
}

impl Write for Client {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.sink ^= black_box(bytes)[0];
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct Still;

impl Clock for Still {
    type Timer = ();

    fn wall(&self) -> Option<Duration> {
        Some(Duration::from_secs(784_111_777))
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

fn run(request: &'static [u8]) -> f64 {
    let server = Server::new(
        Still,
        Limits {
            max_requests: u32::MAX,
            ..Limits::default()
        },
    );
    let mut connection = server.connection(Client {
        request,
        left: REQUESTS,
        sink: 0,
    });
    let start = Instant::now();
    let all = async {
        while let Ok(Some(exchange)) = connection.next().await {
            let request = exchange.request();
            let accepts = request.values("Accept-Encoding").count();
            let whole = request.precondition(Some("\"c0ffee\"")) == Precondition::Passed
                && request.range("\"c0ffee\"", BODY.len() as u64) == ByteRange::Whole;
            assert!(whole && accepts < 2 && request.path() == "/index.html");
            exchange
                .reply(&[HEAD], &BODY)
                .await
                .expect("writes into nothing succeed");
        }
    };
    assert_eq!(
        pin!(all).poll(&mut Context::from_waker(Waker::noop())),
        Poll::Ready(())
    );
    assert_eq!(server.counters().requests, REQUESTS as u64);
    start.elapsed().as_secs_f64() * 1e9 / REQUESTS as f64
}

fn main() {
    let chosen = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    for (name, request) in [("plain", PLAIN), ("browser", BROWSER)] {
        if chosen.as_deref().is_some_and(|chosen| chosen != name) {
            continue;
        }
        let best = (0..RUNS)
            .map(|_| run(request))
            .fold(f64::INFINITY, f64::min);
        println!("{name}: {best:.0} ns a request of {} bytes", request.len());
    }
}
