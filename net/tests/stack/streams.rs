//! One connection: data both ways, and ends of every kind.

use crate::support::{check_echo, connected, echo, pattern, stats};
use embedded_io_async::{Read, Write};
use std::rc::Rc;
use xenlet_kernel::hosted;
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, sleep};
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
fn megabytes_there_and_back() {
    hosted::test(async || {
        let peer = echo().await;
        let client = peer.connect(7).await.unwrap();
        check_echo(client, pattern(3 << 20)).await;
        assert_eq!(stats().retransmissions, 0, "a wire that loses nothing");
    });
}

#[test]
fn one_task_reads_while_another_writes() {
    hosted::test(async || {
        let (_peer, server, client) = connected().await;
        let server = Rc::new(server);
        let reader = spawn({
            let server = Rc::clone(&server);
            async move {
                let mut buf = [0; 8];
                (&*server)
                    .read(&mut buf)
                    .await
                    .map(|count| buf[..count].to_vec())
            }
        });
        (&*server).write_all(b"first").await.unwrap();
        let mut buf = [0; 8];
        assert_eq!((&client).read(&mut buf).await, Ok(5));
        (&client).write_all(b"second").await.unwrap();
        assert_eq!(reader.await.unwrap(), b"second");
    });
}

#[test]
fn the_peer_ends_its_half() {
    hosted::test(async || {
        let (_peer, mut server, mut client) = connected().await;
        client.write_all(b"all").await.unwrap();
        client.shutdown_write();
        let mut buf = [0; 16];
        assert_eq!(server.read(&mut buf).await, Ok(3));
        assert_eq!(server.read(&mut buf).await, Ok(0), "the end");
        assert_eq!(server.read(&mut buf).await, Ok(0), "and still the end");
        server.write_all(&pattern(100_000)).await.unwrap();
        drop(server);
        assert!(client.read_to_end().await.unwrap() == pattern(100_000));
    });
}

#[test]
fn the_guest_ends_its_half() {
    hosted::test(async || {
        let (_peer, mut server, mut client) = connected().await;
        server.write_all(b"all").await.unwrap();
        server.shutdown_write().await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap(), b"all");
        assert_eq!(server.write(b"more").await, Err(Error::Closed));
        let sender = spawn(async move {
            client.write_all(&pattern(200_000)).await.unwrap();
            client.shutdown_write();
            client
        });
        let (mut all, mut buf) = (Vec::new(), [0; 4096]);
        while let count @ 1.. = server.read(&mut buf).await.unwrap() {
            all.extend_from_slice(&buf[..count]);
        }
        assert!(
            all == pattern(200_000),
            "reading goes on after the writing half has ended"
        );
        sender.await;
    });
}

#[test]
fn the_peer_resets() {
    hosted::test(async || {
        let (_peer, mut server, client) = connected().await;
        client.abort();
        let mut buf = [0; 16];
        assert_eq!(server.read(&mut buf).await, Err(Error::Reset));
        assert_eq!(server.write(b"x").await, Err(Error::Reset));
        assert_eq!(server.shutdown_write().await, Err(Error::Reset));
    });
}

#[test]
fn the_guest_resets() {
    hosted::test(async || {
        let (_peer, mut server, mut client) = connected().await;
        server.abort();
        let mut buf = [0; 16];
        assert_eq!(client.read(&mut buf).await, Err(Error::Reset));
        assert_eq!(server.read(&mut buf).await, Err(Error::Reset));
        drop(server);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(stats().connections, 0);
    });
}

/// Dropping a stream is a graceful end, even if the peer sent what nobody has read.
#[test]
fn a_dropped_stream_sends_what_was_written() {
    hosted::test(async || {
        let (_peer, mut server, mut client) = connected().await;
        client.write_all(&pattern(50_000)).await.unwrap();
        sleep(Duration::from_millis(10)).await;
        let reply = pattern(100_000);
        server.write_all(&reply).await.unwrap();
        drop(server);
        client.write_all(&pattern(50_000)).await.unwrap();
        assert!(client.read_to_end().await.unwrap() == reply);
    });
}

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
        assert_eq!(TcpListener::bind(80).await.unwrap().local_port(), 80);
        assert_eq!(TcpListener::bind(0).await.err(), Some(Error::Unaddressable));
    });
}

/// Who has connected but was not accepted is told.
#[test]
fn a_dropped_listener_breaks_off_its_backlog() {
    hosted::test(async || {
        let peer = Peer::attach_default();
        let listener = TcpListener::bind(80).await.unwrap();
        xenlet_net::up().await.unwrap();
        let mut client = peer.connect(80).await.unwrap();
        drop(listener);
        assert_eq!(client.read(&mut [0; 4]).await, Err(Error::Reset));
        assert_eq!(peer.connect(80).await.err(), Some(Error::Refused));
        assert_eq!(stats().connections, 0);
    });
}

/// A write goes out by itself; several in one turn go out as one segment.
#[test]
fn what_is_written_in_one_turn_is_sent_together() {
    hosted::test(async || {
        let (peer, mut server, mut client) = connected().await;
        peer.heard();
        for word in [b"one ", b"two ", b"six "] {
            server.write_all(word).await.unwrap();
        }
        let mut buf = [0; 16];
        assert_eq!(client.read(&mut buf).await, Ok(12));
        assert_eq!(peer.heard().len(), 1, "one frame");
    });
}

/// An answer carries the acknowledgement of its question: two frames for an exchange, not four.
#[test]
fn acknowledgements_ride_on_answers() {
    hosted::test(async || {
        let peer = echo().await;
        let mut client = peer.connect(7).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        peer.heard();
        client.write_all(b"question").await.unwrap();
        client.read_exact(&mut [0; 8]).await.unwrap();
        assert_eq!(peer.heard().len(), 1);
    });
}
