//! The shipped site, asked over a connection in memory.

use super::Site;
use crate::SITE;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use embedded_io_async::{ErrorType, Read, Write};
use xenlet_fs_static::{Coding, Entry};
use xenlet_http::{Clock, Limits, Server};

/// A client that has sent everything and takes everything.
struct Client<'c> {
    sends: &'c [u8],
    received: Vec<u8>,
}

impl ErrorType for Client<'_> {
    type Error = Infallible;
}

impl Read for Client<'_> {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        self.sends.read(into).await
    }
}

impl Write for Client<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.received.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct NoClock;

impl Clock for NoClock {
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

/// A reply, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn has(&self, line: &str) -> bool {
        self.head.split("\r\n").any(|found| found == line)
    }
}

fn ask(method: &str, path: &str, lines: &str) -> Reply {
    ask_of(&&SITE, method, path, lines)
}

/// Asks a site that waits for nothing.
pub(super) fn ask_of(site: &impl Site, method: &str, path: &str, lines: &str) -> Reply {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    let server = Server::new(NoClock, Limits::default());
    let mut client = Client {
        sends: request.as_bytes(),
        received: Vec::new(),
    };
    let mut connection = server.connection(&mut client);
    let served = pin!(async {
        while let Some(exchange) = connection.next().await? {
            site.answer(exchange).await?;
        }
        Ok::<_, xenlet_http::Error<Infallible>>(())
    })
    .poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(served, Poll::Ready(Ok(())));
    drop(connection);
    let end = client
        .received
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a whole head");
    let body = client.received.split_off(end + 4);
    let head = String::from_utf8(client.received).expect("a head in ASCII");
    Reply { head, body }
}

#[test]
fn every_file_in_every_variant() {
    assert!(SITE.files().len() > 5);
    for file in SITE.files() {
        for variant in file.variants() {
            let accept = format!("Accept-Encoding: {}\r\n", variant.coding().token());
            let whole = ask("GET", file.path(), &accept);
            assert!(
                whole.has("HTTP/1.1 200 OK"),
                "{}: {}",
                file.path(),
                whole.head
            );
            assert_eq!(whole.body, variant.body(), "{}", file.path());
            assert!(whole.has(&format!("Content-Length: {}", variant.body().len())));
            assert!(whole.has(&format!("ETag: {}", variant.etag())));
            let encoding = format!("Content-Encoding: {}", variant.coding().token());
            assert_eq!(whole.has(&encoding), variant.coding() != Coding::Identity);

            let head = ask("HEAD", file.path(), &accept);
            assert_eq!((head.head, head.body.len()), (whole.head, 0));

            let again = ask(
                "GET",
                file.path(),
                &format!("{accept}If-None-Match: {}\r\n", variant.etag()),
            );
            assert!(again.has("HTTP/1.1 304 Not Modified"), "{}", again.head);
            assert!(again.has(&format!("ETag: {}", variant.etag())) && again.body.is_empty());
            assert!(!again.head.contains("Content-Length"), "{}", again.head);

            let part = ask("GET", file.path(), &format!("{accept}Range: bytes=1-3\r\n"));
            assert!(part.has("HTTP/1.1 206 Partial Content"), "{}", part.head);
            assert_eq!(part.body, &variant.body()[1..4]);
            assert!(part.has(&format!(
                "Content-Range: bytes 1-3/{}",
                variant.body().len()
            )));
            assert!(
                part.has("Content-Length: 3") && part.has(&format!("ETag: {}", variant.etag()))
            );
        }
    }
}

#[test]
fn conditions_that_fail_and_ranges_that_do_not_exist() {
    let failed = ask("GET", "/", "If-Match: \"other\"\r\n");
    assert!(
        failed.has("HTTP/1.1 412 Precondition Failed"),
        "{}",
        failed.head
    );
    let beyond = ask("GET", "/favicon.svg", "Range: bytes=100000-\r\n");
    assert!(
        beyond.has("HTTP/1.1 416 Range Not Satisfiable"),
        "{}",
        beyond.head
    );
    let length = include_bytes!("../../site/favicon.svg").len();
    assert!(
        beyond.has(&format!("Content-Range: bytes */{length}")),
        "{}",
        beyond.head
    );
    let other = ask("GET", "/", "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n");
    assert!(other.has("HTTP/1.1 200 OK"), "{}", other.head);
}

#[test]
fn directories_lead_to_their_index() {
    let moved = ask("GET", "/boot", "");
    assert!(
        moved.has("HTTP/1.1 301 Moved Permanently") && moved.has("Location: /boot/"),
        "{}",
        moved.head
    );
    assert_eq!(
        ask("GET", "/boot/", "").body,
        ask("GET", "/boot/index.html", "").body
    );
    assert_eq!(
        ask("GET", "/", "").body,
        include_bytes!("../../site/index.html")
    );
}

#[test]
fn the_sites_own_page_for_what_is_not_there() {
    for path in ["/nope", "/index.html/", "//", "/boot/nope?x"] {
        let missing = ask("GET", path, "");
        assert!(
            missing.has("HTTP/1.1 404 Not Found"),
            "{path}: {}",
            missing.head
        );
        assert_eq!(
            missing.body,
            include_bytes!("../../site/404.html"),
            "{path}"
        );
    }
    assert!(ask("GET", "/404.html", "").has("HTTP/1.1 200 OK"));
}

#[test]
fn who_refuses_all_codings_gets_the_plain_file() {
    let plain = ask("GET", "/style.css", "Accept-Encoding: *;q=0\r\n");
    assert_eq!(plain.body, include_bytes!("../../site/style.css"));
}

/// Every link and source in the pages leads to something that is there.
#[test]
fn no_link_is_dead() {
    let mut links = 0;
    for file in SITE
        .files()
        .iter()
        .filter(|file| file.path().ends_with(".html"))
    {
        let page = core::str::from_utf8(file.identity().body()).expect("pages are UTF-8");
        for attribute in ["href=\"", "src=\"", "srcset=\""] {
            for rest in page.split(attribute).skip(1) {
                let target = rest.split('"').next().expect("the attribute's value");
                assert!(
                    target.starts_with('/'),
                    "{}: {target} is not of this site",
                    file.path()
                );
                let found = matches!(SITE.get(target), Some(Entry::File(_)))
                    || target.starts_with("/status");
                assert!(found, "{}: {target} leads nowhere", file.path());
                links += 1;
            }
        }
    }
    assert!(links > 20);
}
