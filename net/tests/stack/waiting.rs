//! Peers that are slow, silent or gone, by virtual time.

use crate::support::{connected, pattern, stats};
use embedded_io_async::{Read, Write};
use xenlet_kernel::hosted;
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, now, sleep, timeout};
use xenlet_net::hosted::Peer;
use xenlet_net::{Error, TcpListener};

const MINUTE: Duration = Duration::from_secs(60);

/// The peer does not read for minutes: its window is zero, and probes keep the connection alive.
#[test]
fn a_peer_with_no_room() {
    hosted::test(async || {
        let (_peer, mut server, mut client) = connected().await;
        let writer = spawn(async move {
            server.write_all(&pattern(500_000)).await.unwrap();
            drop(server);
        });
        sleep(10 * MINUTE).await;
        assert!(client.read_to_end().await.unwrap() == pattern(500_000));
        writer.await;
    });
}

/// The guest does not read for minutes.
#[test]
fn a_guest_with_no_room() {
    hosted::test(async || {
        let (_peer, mut server, mut client) = connected().await;
        let writer = spawn(async move {
            client.write_all(&pattern(500_000)).await.unwrap();
            client.shutdown_write();
            client
        });
        sleep(10 * MINUTE).await;
        let (mut all, mut buf) = (Vec::new(), [0; 5000]);
        while let count @ 1.. = server.read(&mut buf).await.unwrap() {
            all.extend_from_slice(&buf[..count]);
        }
        assert!(all == pattern(500_000));
        writer.await;
    });
}

/// A peer that vanishes with our bytes unacknowledged is given up after two minutes.
#[test]
fn a_peer_that_is_gone() {
    hosted::test(async || {
        let (peer, mut server, _client) = connected().await;
        peer.set_cut(true);
        let start = now();
        server.write_all(b"anybody?").await.unwrap();
        assert_eq!(server.read(&mut [0; 4]).await, Err(Error::TimedOut));
        let waited = now().since(start);
        assert!(waited >= 2 * MINUTE && waited < 3 * MINUTE, "{waited:?}");
        assert_eq!(server.write(b"x").await, Err(Error::TimedOut));
    });
}

/// A connection on which there is nothing to be sent waits for ever, and costs nothing.
#[test]
fn a_peer_that_says_nothing() {
    hosted::test(async || {
        let (_peer, mut server, mut client) = connected().await;
        sleep(MINUTE).await;
        let before = stats().polls;
        sleep(24 * 60 * MINUTE).await;
        assert_eq!(stats().polls, before);
        client.write_all(b"good morning").await.unwrap();
        assert_eq!(server.read(&mut [0; 32]).await, Ok(12));
    });
}

#[test]
fn a_timeout_of_the_application_s() {
    hosted::test(async || {
        let (_peer, mut server, mut client) = connected().await;
        server.set_timeout(Some(Duration::from_secs(5)));
        client.write_all(b"in time").await.unwrap();
        assert_eq!(server.read(&mut [0; 32]).await, Ok(7));
        let start = now();
        assert_eq!(server.read(&mut [0; 32]).await, Err(Error::TimedOut));
        let waited = now().since(start);
        assert!(
            waited >= Duration::from_secs(4) && waited <= Duration::from_secs(6),
            "{waited:?}"
        );
        assert_eq!(
            client.read(&mut [0; 32]).await,
            Err(Error::Reset),
            "the peer is told"
        );
    });
}

/// Keep-alives hold a connection to a living peer, and find out that one is dead.
#[test]
fn keep_alives() {
    hosted::test(async || {
        let (peer, mut server, _client) = connected().await;
        server.set_keep_alive(Some(Duration::from_secs(10)));
        let mut buf = [0; 4];
        assert!(
            timeout(10 * MINUTE, server.read(&mut buf)).await.is_err(),
            "the peer answers them"
        );
        assert_eq!(
            stats().retransmissions,
            0,
            "and they are no retransmissions"
        );
        peer.set_cut(true);
        let start = now();
        assert_eq!(server.read(&mut buf).await, Err(Error::TimedOut));
        assert!(now().since(start) <= MINUTE);
    });
}

/// What the application has dropped is given up a minute later, whatever the peer does.
#[test]
fn an_orphan_whose_peer_does_not_end() {
    hosted::test(async || {
        let (_peer, server, mut client) = connected().await;
        drop(server);
        assert_eq!(client.read(&mut [0; 4]).await, Ok(0));
        for _ in 0..50 {
            client.write_all(&pattern(1000)).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(stats().connections, 1, "what it sends is thrown away");
        sleep(Duration::from_secs(12)).await;
        assert_eq!(stats().connections, 0);
        assert_eq!(client.read(&mut [0; 4]).await, Ok(0));
        assert_eq!(client.state(), "CLOSED", "it was reset");
    });
}

/// A client that dropped out in the middle of a transfer.
#[test]
fn an_orphan_whose_peer_is_gone() {
    hosted::test(async || {
        let (peer, mut server, _client) = connected().await;
        server.write_all(&pattern(100_000)).await.unwrap();
        peer.set_cut(true);
        drop(server);
        sleep(3 * MINUTE).await;
        assert_eq!(stats().connections, 0);
    });
}

/// Nobody keeps buffers for TIME-WAIT, and a FIN that comes again is acknowledged again.
#[test]
fn time_wait_is_cheap() {
    hosted::test(async || {
        let (peer, server, client) = connected().await;
        server.shutdown_write().await.unwrap();
        sleep(Duration::from_millis(100)).await;
        client.shutdown_write();
        sleep(Duration::from_millis(100)).await;
        assert_eq!(
            stats().connections,
            1,
            "the stream is still the application's"
        );
        assert_eq!(client.state(), "CLOSED", "the peer's FIN was acknowledged");
        drop(server);
        sleep(Duration::from_millis(100)).await;
        assert_eq!(stats().connections, 0);
        drop((peer, client));
    });
}

/// The acknowledgement of the peer's FIN is lost: it sends the FIN again, and is answered from what is left.
#[test]
fn a_fin_that_comes_again_is_acknowledged_again() {
    hosted::test(async || {
        let (peer, server, client) = connected().await;
        drop(server);
        sleep(Duration::from_millis(100)).await;
        peer.lose(1);
        client.shutdown_write();
        sleep(Duration::from_millis(100)).await;
        assert_eq!(stats().connections, 0);
        assert_eq!(client.state(), "LAST-ACK");
        sleep(Duration::from_secs(5)).await;
        assert_eq!(client.state(), "CLOSED");
    });
}

/// The same four numbers at once: a new connection, not a remnant of the old one.
#[test]
fn a_client_that_uses_its_port_again() {
    hosted::test(async || {
        let peer = Peer::attach_default();
        let listener = TcpListener::bind(80).await.unwrap();
        xenlet_net::up().await.unwrap();
        for _ in 0..3 {
            let mut client = peer.connect_from(5555, 80).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            server.write_all(b"hello").await.unwrap();
            drop(server);
            assert_eq!(client.read_to_end().await.unwrap(), b"hello");
            drop(client);
            sleep(Duration::from_millis(10)).await;
        }
    });
}
