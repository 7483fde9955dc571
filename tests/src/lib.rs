//! A whole unikernel in a test: the application with all that is below it, on the hosted backend, and a client on the
//! other machine at the end of the wire.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

pub mod exposition;
pub mod pcapng;

use embedded_io_async::{Read, Write};
use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;
use xenlet_kernel::hosted::{self, Config, Ended, store};
use xenlet_kernel::run::{Termination, spawn};
use xenlet_kernel::time::Duration;
use xenlet_net::hosted::Peer;

/// What the operator's token is for an application that has such.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The line with it.
pub const OPERATOR: &str = "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n";

/// [`run_with`] this command line and the operator's token.
///
/// # Panics
/// As [`run_with`].
pub fn run<A: Termination + 'static, T: Send + 'static>(
    line: &str,
    application: impl AsyncFnOnce() -> A + Send + 'static,
    client: impl AsyncFnOnce(Peer) -> T + Send + 'static,
) -> (T, Ended<()>) {
    let module = format!("token operator: {TOKEN}\n");
    run_with(config(line, Some(module)), application, client)
}

/// A domain of October 2026 with this command line and boot module.
pub fn config(line: &str, module: Option<String>) -> Config {
    Config {
        command_line: line.into(),
        wall: Some(Duration::from_secs(1_792_000_000)),
        boot_module: module.map(String::into_bytes),
        ..Config::default()
    }
}

/// Runs `application` in such a domain, and `client` beside it on a peer that gives addresses by DHCP. When the
/// client is done, the toolstack asks for `poweroff`.
///
/// Gives what the client returned and how the domain ended.
///
/// # Panics
/// If either panics, or the application ends before the client.
pub fn run_with<A, T>(
    config: Config,
    application: impl AsyncFnOnce() -> A + Send + 'static,
    client: impl AsyncFnOnce(Peer) -> T + Send + 'static,
) -> (T, Ended<()>)
where
    A: Termination + 'static,
    T: Send + 'static,
{
    let ended = hosted::run(config, async move || {
        let peer = Peer::attach_default();
        let result = Rc::new(RefCell::new(None));
        let place = Rc::clone(&result);
        spawn(async move {
            let value = client(peer).await;
            *place.borrow_mut() = Some(value);
            shut_down("poweroff");
        });
        let failure = application().await.failure();
        (result.take(), failure)
    });
    let (value, failure) = ended.value.expect("the application ended in time");
    assert_eq!(
        failure, None,
        "the application failed; its console:\n{}",
        ended.console
    );
    let value = value.unwrap_or_else(|| {
        panic!(
            "the application ended first; its console:\n{}",
            ended.console
        )
    });
    (
        value,
        Ended {
            reason: ended.reason,
            value: Some(()),
            console: ended.console,
        },
    )
}

/// Writes what `xl shutdown` and `xl reboot` write.
pub fn shut_down(how: &str) {
    store::write(&format!("{}/control/shutdown", store::HOME), how);
}

/// An answer, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status line's number.
    pub status: u16,
    /// The head, with its lines.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Reads one answer. `has_body` is false for answers to HEAD, whose lengths count what is not sent.
///
/// # Panics
/// If the stream ends within it, or it is not HTTP.
pub async fn answer<S: Read<Error: Debug>>(stream: &mut S, has_body: bool) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let count = stream.read(&mut byte).await.unwrap();
        assert_eq!(
            count,
            1,
            "the stream ends after {:?}",
            String::from_utf8_lossy(&head)
        );
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer {
        status,
        head,
        body: Vec::new(),
    };
    let length = answer
        .field("Content-Length")
        .map_or(0, |length| length.parse().unwrap());
    if has_body && status != 304 {
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body).await.unwrap();
    }
    answer
}

/// Asks for `path` on a connection of its own, with more header lines (each with its CRLF).
///
/// # Panics
/// As [`answer`], or if the connection is refused.
pub async fn get(peer: &Peer, path: &str, more: &str) -> Answer {
    get_at(peer, 80, path, more).await
}

/// The same on another port.
///
/// # Panics
/// As [`get`].
pub async fn get_at(peer: &Peer, port: u16, path: &str, more: &str) -> Answer {
    let mut stream = peer.connect(port).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = answer(&mut stream, true).await;
    let mut rest = [0];
    assert_eq!(
        stream.read(&mut rest).await,
        Ok(0),
        "the guest closes as it was asked to"
    );
    answer
}
