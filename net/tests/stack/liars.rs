//! Peers that answer as no honest one does.

use crate::support::{connected, domain};
use embedded_io_async::{Read, Write};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, sleep};
use xenlet_net::hosted::Peer;

/// The answer of a DHCP server that says it is 0.0.0.0, to one of the guest's frames, if that asks for one.
fn nobodys_answer(frame: &[u8], server: [u8; 6], address: Ipv4Address) -> Option<Vec<u8>> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 || ip.next_header() != IpProtocol::Udp {
        return None;
    }
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    let asked = DhcpPacket::new_checked(udp.payload()).ok()?;
    let asked = DhcpRepr::parse(&asked)
        .ok()
        .filter(|_| udp.dst_port() == 67)?;
    let message_type = match asked.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        _ => DhcpMessageType::Ack,
    };
    let dhcp = DhcpRepr {
        message_type,
        your_ip: address,
        client_identifier: None,
        requested_ip: None,
        parameter_request_list: None,
        subnet_mask: Some(Ipv4Address::new(255, 255, 255, 0)),
        server_identifier: Some(Ipv4Address::new(10, 0, 2, 2)),
        lease_duration: Some(4),
        max_size: None,
        ..asked
    };
    let udp = UdpRepr {
        src_port: 67,
        dst_port: 68,
    };
    let ip = Ipv4Repr {
        src_addr: Ipv4Address::UNSPECIFIED,
        dst_addr: Ipv4Address::BROADCAST,
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + dhcp.buffer_len(),
        hop_limit: 64,
    };
    let sums = ChecksumCapabilities::default();
    let mut bytes = vec![0; 14 + ip.buffer_len() + ip.payload_len];
    let mut ethernet = EthernetFrame::new_unchecked(&mut bytes);
    ethernet.set_src_addr(EthernetAddress(server));
    ethernet.set_dst_addr(EthernetAddress::BROADCAST);
    ethernet.set_ethertype(EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
    ip.emit(&mut packet, &sums);
    udp.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &ip.src_addr.into(),
        &ip.dst_addr.into(),
        dhcp.buffer_len(),
        |payload| dhcp.emit(&mut DhcpPacket::new_unchecked(payload)).unwrap(),
        &sums,
    );
    Some(bytes)
}

/// smoltcp would ask 0.0.0.0 to renew the lease, and panic.
#[test]
fn a_dhcp_server_that_is_nobody_gives_no_lease() {
    let ended = domain("", async || {
        let peer = Peer::attach_default();
        let address = peer.lease().unwrap().address.address;
        peer.set_lease(None);
        spawn(async { xenlet_net::up().await });
        let mut answers = 0;
        for _ in 0..3000 {
            sleep(Duration::from_millis(20)).await;
            for frame in peer.heard() {
                if let Some(answer) = nobodys_answer(&frame, peer.mac(), address) {
                    peer.inject(&answer);
                    answers += 1;
                }
            }
        }
        assert!(answers >= 2, "the guest asks again: {answers}");
        assert_eq!(xenlet_net::interfaces()[0].address, None);
    });
    assert_eq!(ended.value, Some(()), "{}", ended.console);
}

/// The peer probes with a byte beyond the window, and must hear that the guest is still there (RFC 9293, 3.8.6.1).
#[test]
fn a_probe_of_a_closed_window_is_answered() {
    let ended = domain("tcp_rx=4096", async || {
        let (peer, server, mut client) = connected().await;
        let writer = spawn(async move { client.write_all(&[7; 100_000]).await.map(|()| client) });
        sleep(Duration::from_secs(2)).await;
        peer.heard();
        // Nobody reads for five minutes.
        sleep(Duration::from_secs(300)).await;
        let heard = peer.heard().len();
        assert!(heard >= 8, "{heard} answers to the probes of 300 s");
        let (mut all, mut buf) = (0, [0; 4096]);
        while all < 100_000 {
            all += (&server).read(&mut buf).await.unwrap();
        }
        writer.await.unwrap();
    });
    assert_eq!(ended.value, Some(()), "{}", ended.console);
}
