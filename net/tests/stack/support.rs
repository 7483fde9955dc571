//! What the tests share.

use embedded_io_async::{Read, Write};
use std::rc::Rc;
use xenlet_kernel::hosted::{self, Config, Ended};
use xenlet_kernel::run::spawn;
use xenlet_net::hosted::{Peer, PeerStream};
use xenlet_net::{Stats, TcpListener, TcpStream};

/// A guest with a peer, and a connection between the two: the guest's end, and the peer's.
pub(crate) async fn connected() -> (Peer, TcpStream, PeerStream) {
    let peer = Peer::attach_default();
    let listener = TcpListener::bind(80).await.unwrap();
    xenlet_net::up().await.unwrap();
    let client = peer.connect(80).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (peer, server, client)
}

/// A guest with a peer and an echo server on port 7.
pub(crate) async fn echo() -> Peer {
    let peer = Peer::attach_default();
    serve_echo().await;
    peer
}

/// Starts a server on port 7 that sends back what it gets, and ends when the peer ends.
pub(crate) async fn serve_echo() {
    let listener = TcpListener::bind(7).await.unwrap();
    spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            spawn(echo_one(stream));
        }
    });
    xenlet_net::up().await.unwrap();
}

async fn echo_one(mut stream: TcpStream) {
    let mut buf = [0; 2048];
    while let Ok(count @ 1..) = stream.read(&mut buf).await {
        if stream.write_all(&buf[..count]).await.is_err() {
            return;
        }
    }
}

/// Sends `bytes` to the echo server by `stream`, and checks what comes back to the stream's end.
pub(crate) async fn check_echo(stream: PeerStream, bytes: Vec<u8>) {
    let stream = Rc::new(stream);
    let sent = bytes.clone();
    let writer = spawn({
        let stream = Rc::clone(&stream);
        async move {
            (&*stream).write_all(&sent).await.unwrap();
            stream.shutdown_write();
        }
    });
    let mut back = Vec::new();
    let mut part = [0; 4096];
    loop {
        match (&*stream).read(&mut part).await.unwrap() {
            0 => break,
            count => back.extend_from_slice(&part[..count]),
        }
    }
    writer.await;
    assert!(
        back == bytes,
        "{} bytes came back for {}, or others",
        back.len(),
        bytes.len()
    );
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 8)).to_le_bytes()[0])
        .collect()
}

/// The counts of the first interface.
pub(crate) fn stats() -> Stats {
    xenlet_net::interfaces()[0].stats
}

/// Runs a domain with this command line.
pub(crate) fn domain<T: Send + 'static>(
    line: &str,
    body: impl AsyncFnOnce() -> T + Send + 'static,
) -> Ended<T> {
    let config = Config {
        command_line: line.into(),
        ..Config::default()
    };
    hosted::run(config, body)
}
