//! Where the address comes from, and where it goes.

use crate::frames::mac_of_guest;
use crate::support::{connected, domain, stats};
use embedded_io_async::{Read, Write};
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol};
use std::net::{Ipv4Addr, SocketAddr};
use xenlet_kernel::hosted;
use xenlet_kernel::time::{Duration, sleep, timeout};
use xenlet_kernel::timeline;
use xenlet_net::hosted::{Lease, Peer};
use xenlet_net::{Cidr, Error, Source, TcpListener, TcpStream};
use xenlet_netfront::hosted as netfront;

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn lease(last: u8, secs: u32) -> Lease {
    let address = Cidr {
        address: Ipv4Addr::new(10, 0, 2, last),
        prefix_len: 24,
    };
    Lease {
        address,
        gateway: Some(Peer::ADDRESS),
        dns: vec![Peer::ADDRESS],
        secs,
    }
}

#[test]
fn by_dhcp() {
    let ended = domain("", async || {
        let _peer = Peer::attach_default();
        assert!(
            xenlet_net::interfaces().is_empty(),
            "nothing comes up by itself"
        );
        xenlet_net::up().await.unwrap();
        let info = &xenlet_net::interfaces()[0];
        assert_eq!(info.address.unwrap().to_string(), "10.0.2.15/24");
        assert_eq!(
            (info.gateway, info.source, info.link),
            (Some(Peer::ADDRESS), Source::Dhcp, true)
        );
        assert_eq!(info.dns, [Peer::ADDRESS]);
        assert_eq!((info.number, info.mtu), (0, 1500));
        assert_eq!(xenlet_net::address(), info.address);
        let marks: Vec<_> = timeline::marks().iter().map(|mark| mark.name).collect();
        assert_eq!(marks, ["kernel", "link", "address"]);
    });
    let line = " INFO net: vif0: 10.0.2.15/24 by DHCP, gateway 10.0.2.2";
    assert!(ended.console.contains(line), "{}", ended.console);
}

#[test]
fn from_the_command_line() {
    let ended = domain(
        "ip=10.0.2.77/16 gw=10.0.2.2 dns=1.1.1.1,8.8.8.8",
        async || {
            let peer = Peer::with_network(0, Peer::ADDRESS, Ipv4Addr::new(10, 0, 2, 77));
            netfront::attach(netfront::Config::default(), peer.wire());
            let listener = TcpListener::bind(80).await.unwrap();
            xenlet_net::up().await.unwrap();
            let info = &xenlet_net::interfaces()[0];
            assert_eq!(info.source, Source::Static);
            assert_eq!(
                info.dns,
                [Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8)]
            );
            peer.connect(80).await.unwrap();
            listener.accept().await.unwrap();
        },
    );
    let line = " INFO net: vif0: 10.0.2.77/16 static, gateway 10.0.2.2";
    assert!(ended.console.contains(line), "{}", ended.console);
    assert!(!ended.console.contains("DHCP"), "{}", ended.console);
    assert!(ended.value.is_some());
}

#[test]
fn a_word_that_makes_no_sense_is_an_error() {
    let ended = domain("ip=10.0.2/24", async || {
        let error = TcpListener::bind(80).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "ip=10.0.2/24: not an IPv4 address; write it as ip=10.0.0.2/24"
        );
    });
    assert!(ended.value.is_some());
    let ended = domain("tcp_rx=lots", async || {
        let error = TcpListener::bind(80).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("tcp_rx=lots: not a number of bytes"),
            "{error}"
        );
    });
    assert!(ended.value.is_some());
}

#[test]
fn a_guest_without_a_vif_idles() {
    let ended = domain("", async || {
        let listener = TcpListener::bind(80).await.unwrap();
        assert!(timeout(HOUR, listener.accept()).await.is_err());
        assert_eq!(xenlet_net::up().await, Err(Error::NoInterface));
        let to = SocketAddr::from(([10, 0, 0, 1], 80));
        assert_eq!(TcpStream::connect(to).await.err(), Some(Error::NoInterface));
        assert!(xenlet_net::interfaces().is_empty());
    });
    assert!(ended.value.is_some());
    assert!(
        ended
            .console
            .contains(" INFO net: no vif: this guest has no network"),
        "{}",
        ended.console
    );
}

/// The announcements among frames: who says that it has which address.
fn announcements(frames: &[Vec<u8>]) -> Vec<Ipv4Addr> {
    let parse = |frame: &Vec<u8>| {
        let ethernet = EthernetFrame::new_checked(&frame[..]).ok()?;
        if ethernet.ethertype() != EthernetProtocol::Arp || !ethernet.dst_addr().is_broadcast() {
            return None;
        }
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        } = ArpRepr::parse(&ArpPacket::new_checked(ethernet.payload()).ok()?).ok()?
        else {
            return None;
        };
        let announces =
            operation == ArpOperation::Request && source_protocol_addr == target_protocol_addr;
        assert_eq!(source_hardware_addr.0, mac_of_guest());
        announces.then_some(source_protocol_addr)
    };
    frames.iter().filter_map(parse).collect()
}

#[test]
fn the_address_is_announced() {
    hosted::test(async || {
        let peer = Peer::attach_default();
        peer.heard();
        xenlet_net::up().await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(announcements(&peer.heard()), [Peer::GUEST], "at once");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(announcements(&peer.heard()), [Peer::GUEST], "and once more");
        sleep(HOUR).await;
        assert!(announcements(&peer.heard()).is_empty());
    });
}

/// Renewed at half its time, again and again: connections notice nothing.
#[test]
fn a_lease_is_renewed() {
    hosted::test(async || {
        let peer = Peer::new();
        peer.set_lease(Some(lease(15, 600)));
        netfront::attach(netfront::Config::default(), peer.wire());
        let listener = TcpListener::bind(80).await.unwrap();
        xenlet_net::up().await.unwrap();
        let mut client = peer.connect(80).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        sleep(24 * HOUR).await;
        client.write_all(b"still here").await.unwrap();
        assert_eq!(server.read(&mut [0; 16]).await, Ok(10));
    });
}

/// The server goes away: at the end of the lease the address is given up, with its connections; a new server gives
/// another.
#[test]
fn a_lease_that_is_lost_and_another() {
    let ended = domain("", async || {
        let peer = Peer::new();
        peer.set_lease(Some(lease(15, 600)));
        netfront::attach(netfront::Config::default(), peer.wire());
        let listener = TcpListener::bind(80).await.unwrap();
        xenlet_net::up().await.unwrap();
        let _client = peer.connect(80).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        peer.set_lease(None);
        assert_eq!(server.read(&mut [0; 4]).await, Err(Error::AddressLost));
        assert_eq!(xenlet_net::address(), None);
        drop(server);
        peer.set_lease(Some(lease(16, 600)));
        peer.heard();
        xenlet_net::up().await.unwrap();
        assert_eq!(xenlet_net::address().unwrap().to_string(), "10.0.2.16/24");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(announcements(&peer.heard()), [Ipv4Addr::new(10, 0, 2, 16)]);
        assert_eq!(stats().connections, 0);
    });
    assert!(ended.value.is_some(), "{}", ended.console);
    let lines = [
        "vif0: the lease of the address has ended",
        "vif0: 10.0.2.16/24 by DHCP, gateway 10.0.2.2",
    ];
    assert!(
        lines.iter().all(|line| ended.console.contains(line)),
        "{}",
        ended.console
    );
}

/// A server that says no to a renewal.
#[test]
fn a_lease_that_is_refused() {
    hosted::test(async || {
        let peer = Peer::new();
        peer.set_lease(Some(lease(15, 600)));
        netfront::attach(netfront::Config::default(), peer.wire());
        xenlet_net::up().await.unwrap();
        peer.set_lease(Some(lease(99, 600)));
        sleep(Duration::from_secs(400)).await;
        assert_eq!(xenlet_net::address().unwrap().to_string(), "10.0.2.99/24");
    });
}

/// Nobody answers: somebody is told, and the asking goes on at a decent pace.
#[test]
fn no_dhcp_server() {
    let ended = domain("", async || {
        let peer = Peer::attach_default();
        let offer = peer.lease();
        peer.set_lease(None);
        peer.heard();
        let listener = TcpListener::bind(80).await.unwrap();
        assert!(timeout(HOUR, listener.accept()).await.is_err());
        let asked = peer.heard().len();
        assert!((200..300).contains(&asked), "{asked} requests in an hour");
        peer.set_lease(offer);
        timeout(Duration::from_secs(20), xenlet_net::up())
            .await
            .unwrap()
            .unwrap();
    });
    assert!(ended.value.is_some(), "{}", ended.console);
    assert!(
        ended
            .console
            .contains("WARN net: vif0: no DHCP server answers; still asking"),
        "{}",
        ended.console
    );
}

/// What a server offers that no host can be or use is not used, and nothing panics.
#[test]
fn offers_that_make_no_sense() {
    for (address, prefix_len, gateway, used) in [
        ([10, 0, 2, 15], 24, [255, 255, 255, 255], true),
        ([10, 0, 2, 15], 24, [224, 0, 0, 1], true),
        ([10, 0, 2, 15], 24, [0, 0, 0, 0], true),
        ([10, 0, 2, 255], 24, [10, 0, 2, 2], false),
        ([127, 0, 0, 1], 8, [10, 0, 2, 2], false),
        ([10, 0, 2, 15], 32, [10, 0, 2, 2], true),
    ] {
        for secs in [0, 1, u32::MAX] {
            let dns = vec![Ipv4Addr::BROADCAST, Ipv4Addr::UNSPECIFIED];
            let address = Cidr {
                address: address.into(),
                prefix_len,
            };
            let lease = Lease {
                address,
                gateway: Some(gateway.into()),
                dns,
                secs,
            };
            hosted::test(async move || {
                let peer = Peer::new();
                peer.set_lease(Some(lease));
                netfront::attach(netfront::Config::default(), peer.wire());
                let up = timeout(Duration::from_secs(10), xenlet_net::up()).await;
                assert_eq!(up.is_ok(), used, "{address}");
                sleep(Duration::from_secs(60)).await;
            });
        }
    }
}

/// Two vifs: each has an address, listeners take from both, and each peer is reached by its own.
#[test]
fn two_interfaces() {
    let ended = domain("ip1=192.168.7.9/24", async || {
        let first = Peer::attach_default();
        let (own, guest) = (Ipv4Addr::new(192, 168, 7, 1), Ipv4Addr::new(192, 168, 7, 9));
        let second = Peer::attach_second(own, guest);
        let listener = TcpListener::bind(80).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let addresses: Vec<_> = xenlet_net::interfaces()
            .iter()
            .map(|i| i.address.unwrap().to_string())
            .collect();
        assert_eq!(addresses, ["10.0.2.15/24", "192.168.7.9/24"]);
        for (peer, from) in [(&first, Peer::ADDRESS), (&second, own)] {
            let _client = peer.connect(80).await.unwrap();
            assert_eq!(listener.accept().await.unwrap().1.ip(), from);
        }
        for (peer, to) in [(&first, Peer::ADDRESS), (&second, own)] {
            let mut service = peer.listen(9);
            let mut stream = TcpStream::connect((to, 9).into()).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            let mut buf = [0; 4];
            assert_eq!(service.accept().await.read(&mut buf).await, Ok(1));
        }
    });
    assert!(ended.value.is_some(), "{}", ended.console);
    assert!(
        ended
            .console
            .contains("vif1: 192.168.7.9/24 static, no gateway"),
        "{}",
        ended.console
    );
}

#[test]
fn the_guest_is_reached_again_after_its_neighbours_forgot_it() {
    hosted::test(async || {
        let (_peer, mut server, mut client) = connected().await;
        for _ in 0..10 {
            // Longer than either side keeps the other's hardware address.
            sleep(Duration::from_secs(90)).await;
            server.write_all(b"tick").await.unwrap();
            client.read_exact(&mut [0; 4]).await.unwrap();
            client.write_all(b"tock").await.unwrap();
            server.read_exact(&mut [0; 4]).await.unwrap();
        }
    });
}
