//! Connections that the guest makes.

use crate::support::{echo, pattern, stats};
use embedded_io_async::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use xenlet_kernel::hosted;
use xenlet_kernel::time::{Duration, now, sleep, timeout};
use xenlet_net::hosted::Peer;
use xenlet_net::{Error, TcpStream};

fn at_peer(port: u16) -> SocketAddr {
    (Peer::ADDRESS, port).into()
}

/// Also waits for the address: nothing else brings the network up.
#[test]
fn to_a_service() {
    hosted::test(async || {
        let peer = Peer::attach_default();
        let mut service = peer.listen(9);
        let mut stream = TcpStream::connect(at_peer(9)).await.unwrap();
        assert_eq!(stream.peer_addr(), at_peer(9));
        assert!(stream.local_addr().port() >= 49152);
        let mut theirs = service.accept().await;
        stream.write_all(&pattern(100_000)).await.unwrap();
        stream.shutdown_write().await.unwrap();
        assert!(theirs.read_to_end().await.unwrap() == pattern(100_000));
        theirs.write_all(b"thanks").await.unwrap();
        assert_eq!(stream.read(&mut [0; 9]).await, Ok(6));
    });
}

#[test]
fn to_nobody() {
    hosted::test(async || {
        let _peer = Peer::attach_default();
        assert_eq!(
            TcpStream::connect(at_peer(9)).await.err(),
            Some(Error::Refused)
        );
        assert_eq!(stats().connections, 0);
    });
}

#[test]
fn to_a_host_that_does_not_answer() {
    hosted::test(async || {
        let peer = echo().await;
        peer.set_cut(true);
        let start = now();
        assert_eq!(
            TcpStream::connect(at_peer(9)).await.err(),
            Some(Error::TimedOut)
        );
        assert_eq!(now().since(start).as_secs(), 20);
        sleep(Duration::from_secs(120)).await;
        assert_eq!(stats().connections, 0);
    });
}

/// An address in the subnet that no host has: nobody answers ARP.
#[test]
fn to_an_address_that_nobody_has() {
    hosted::test(async || {
        let _peer = echo().await;
        let nobody = SocketAddr::from(([10, 0, 2, 99], 80));
        let error = TcpStream::connect(nobody).await.err();
        assert_eq!(error, Some(Error::TimedOut));
        sleep(Duration::from_secs(120)).await;
        assert_eq!(stats().connections, 0);
    });
}

/// A future that is dropped takes its connection with it.
#[test]
fn given_up_by_the_application() {
    hosted::test(async || {
        let peer = echo().await;
        peer.set_cut(true);
        let connecting = TcpStream::connect(at_peer(9));
        assert!(timeout(Duration::from_secs(2), connecting).await.is_err());
        sleep(Duration::from_secs(120)).await;
        assert_eq!(stats().connections, 0);
    });
}

#[test]
fn to_what_cannot_be() {
    hosted::test(async || {
        let _peer = echo().await;
        for (address, port) in [
            (Peer::ADDRESS, 0),
            (Ipv4Addr::UNSPECIFIED, 80),
            (Ipv4Addr::BROADCAST, 80),
            (Ipv4Addr::new(10, 0, 2, 255), 80),
            (Ipv4Addr::new(10, 0, 2, 0), 80),
            (Ipv4Addr::new(224, 0, 0, 1), 80),
        ] {
            let error = TcpStream::connect((address, port).into()).await.err();
            assert_eq!(error, Some(Error::Unaddressable), "{address}:{port}");
        }
        let v6: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(
            TcpStream::connect(v6).await.err(),
            Some(Error::NotIpv4(v6.ip()))
        );
    });
}
