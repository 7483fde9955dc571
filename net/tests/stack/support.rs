//! What the tests share.

use embedded_io_async::{Read, Write};
use xenlet_kernel::run::spawn;
use xenlet_net::hosted::Peer;
use xenlet_net::{TcpListener, TcpStream};

/// A guest with a peer, and a connection between the two: the guest's end, and the peer's.
pub(crate) async fn connected() -> (Peer, TcpStream, xenlet_net::hosted::PeerStream) {
    let peer = Peer::attach_default();
    let listener = TcpListener::bind(80).await.unwrap();
    xenlet_net::up().await.unwrap();
    let client = peer.connect(80).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (peer, server, client)
}

/// Starts a server on port 7 that sends back what it gets, and ends its half when the peer ends.
pub(crate) async fn echo() -> Peer {
    let peer = Peer::attach_default();
    serve_echo().await;
    peer
}

/// The server of [`echo`].
pub(crate) async fn serve_echo() {
    let listener = TcpListener::bind(7).await.unwrap();
    spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            spawn(async move {
                let mut buf = [0; 2048];
                while let Ok(count @ 1..) = stream.read(&mut buf).await {
                    if stream.write_all(&buf[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    xenlet_net::up().await.unwrap();
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 8)).to_le_bytes()[0])
        .collect()
}
