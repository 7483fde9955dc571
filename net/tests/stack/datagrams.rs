//! UDP.

use crate::support::{domain, pattern};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use xenlet_kernel::hosted;
use xenlet_kernel::time::{Duration, sleep, timeout};
use xenlet_net::hosted::Peer;
use xenlet_net::{Error, UdpSocket};

const GUEST: SocketAddrV4 = SocketAddrV4::new(Peer::GUEST, 53);

#[test]
fn there_and_back() {
    hosted::test(async || {
        let peer = Peer::attach_default();
        let socket = UdpSocket::bind(53).await.unwrap();
        xenlet_net::up().await.unwrap();
        let theirs = peer.udp(999);
        for len in [0, 1, 100, 1472] {
            theirs.send_to(&pattern(len), GUEST).unwrap();
            let mut buf = [0; 1500];
            let (count, from) = socket.recv_from(&mut buf).await.unwrap();
            assert_eq!((count, from), (len, SocketAddr::from((Peer::ADDRESS, 999))));
            socket.send_to(&buf[..count], from).await.unwrap();
            assert_eq!(theirs.recv_from().await, (pattern(len), GUEST.into()));
        }
    });
}

#[test]
fn what_does_not_fit_is_cut() {
    hosted::test(async || {
        let peer = Peer::attach_default();
        let socket = UdpSocket::bind(53).await.unwrap();
        xenlet_net::up().await.unwrap();
        let theirs = peer.udp(999);
        theirs.send_to(&pattern(100), GUEST).unwrap();
        let mut buf = [0; 10];
        assert_eq!(socket.recv_from(&mut buf).await.unwrap().0, 10);
        assert_eq!(buf, pattern(10)[..]);
    });
}

#[test]
fn what_cannot_be_sent() {
    hosted::test(async || {
        let _peer = Peer::attach_default();
        let socket = UdpSocket::bind(0).await.unwrap();
        let to = SocketAddr::from((Peer::ADDRESS, 9));
        assert_eq!(socket.send_to(b"x", to).await, Err(Error::NoAddress));
        xenlet_net::up().await.unwrap();
        assert_eq!(
            socket.send_to(&[0; 1473], to).await,
            Err(Error::TooLong(1473, 1472))
        );
        assert_eq!(
            socket.send_to(b"x", (Peer::ADDRESS, 0).into()).await,
            Err(Error::Unaddressable)
        );
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9));
        assert_eq!(
            socket.send_to(b"x", nowhere).await,
            Err(Error::Unaddressable)
        );
        let v6: SocketAddr = "[::1]:9".parse().unwrap();
        assert_eq!(socket.send_to(b"x", v6).await, Err(Error::NotIpv4(v6.ip())));
    });
}

/// More than there is room for: the sender waits, and what nobody reads is lost without harm.
#[test]
fn more_than_there_is_room_for() {
    hosted::test(async || {
        let peer = Peer::attach_default();
        let socket = UdpSocket::bind(53).await.unwrap();
        xenlet_net::up().await.unwrap();
        let theirs = peer.udp(999);
        for _ in 0..200 {
            socket
                .send_to(&[7; 1000], (Peer::ADDRESS, 999).into())
                .await
                .unwrap();
            theirs.recv_from().await;
        }
        for _ in 0..60 {
            theirs.send_to(&[8; 1000], GUEST).unwrap();
        }
        sleep(Duration::from_secs(1)).await;
        let mut count = 0;
        while timeout(Duration::from_secs(1), socket.recv_from(&mut [0; 10]))
            .await
            .is_ok()
        {
            count += 1;
        }
        assert!((10..=32).contains(&count), "{count} datagrams waited");
    });
}

#[test]
fn ports() {
    let ended = domain("", async || {
        let first = UdpSocket::bind(53).await.unwrap();
        assert_eq!(UdpSocket::bind(53).await.err(), Some(Error::PortInUse(53)));
        drop(first);
        assert_eq!(UdpSocket::bind(53).await.unwrap().local_port(), 53);
        let (one, two) = (
            UdpSocket::bind(0).await.unwrap(),
            UdpSocket::bind(0).await.unwrap(),
        );
        assert_ne!(one.local_port(), two.local_port());
        // Without a vif, nothing comes.
        assert!(
            timeout(Duration::from_secs(9), one.recv_from(&mut [0; 4]))
                .await
                .is_err()
        );
    });
    assert!(ended.value.is_some());
}
