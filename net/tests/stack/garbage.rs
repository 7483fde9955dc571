//! Whatever arrives on the wire, the guest goes on.

use crate::frames::{Segment, ip_frame, mac_of_guest};
use crate::support::{check_echo, echo, pattern, stats};
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{EthernetFrame, Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, TcpControl};
use std::net::Ipv4Addr;
use xenlet_kernel::hosted;
use xenlet_kernel::time::{Duration, sleep};
use xenlet_net::hosted::Peer;
use xenlet_net::hosted::fuzz::mend;

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_ping_is_answered() {
    hosted::test(async || {
        let peer = echo().await;
        for len in [0, 56, 1472] {
            let data = pattern(len);
            let ping = Icmpv4Repr::EchoRequest {
                ident: 7,
                seq_no: 9,
                data: &data,
            };
            let (from, to) = (peer.mac(), mac_of_guest());
            let frame = ip_frame(
                from,
                to,
                Peer::ADDRESS,
                Peer::GUEST,
                IpProtocol::Icmp,
                ping.buffer_len(),
                |bytes| {
                    ping.emit(
                        &mut Icmpv4Packet::new_unchecked(bytes),
                        &ChecksumCapabilities::default(),
                    );
                },
            );
            // An exchange first, so that the guest knows where the answer goes.
            check_echo(peer.connect(7).await.unwrap(), pattern(1)).await;
            peer.heard();
            peer.inject(&frame);
            sleep(MOMENT).await;
            let heard = peer.heard();
            let answers = heard.iter().filter(|frame| {
                let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
                let Ok(ip) = Ipv4Packet::new_checked(ethernet.payload()) else {
                    return false;
                };
                let Ok(icmp) = Icmpv4Packet::new_checked(ip.payload()) else {
                    return false;
                };
                let expected = Icmpv4Repr::EchoReply {
                    ident: 7,
                    seq_no: 9,
                    data: &data,
                };
                Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default()) == Ok(expected)
            });
            assert_eq!(answers.count(), 1);
        }
    });
}

#[test]
fn fragments_are_dropped_and_counted() {
    hosted::test(async || {
        let peer = echo().await;
        let mut frame =
            Segment::syn((Peer::ADDRESS, 9), (Peer::GUEST, 7)).frame(peer.mac(), mac_of_guest());
        let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
        ip.set_more_frags(true);
        ip.fill_checksum();
        peer.inject(&frame);
        sleep(MOMENT).await;
        assert_eq!((stats().fragments, stats().connections), (1, 0));
    });
}

#[test]
fn wrong_checksums_are_dropped_and_counted() {
    hosted::test(async || {
        let peer = echo().await;
        let mut frame =
            Segment::syn((Peer::ADDRESS, 9), (Peer::GUEST, 7)).frame(peer.mac(), mac_of_guest());
        frame[50] ^= 1;
        peer.inject(&frame);
        sleep(MOMENT).await;
        assert_eq!((stats().bad_checksums, stats().connections), (1, 0));
    });
}

/// RFC 1122 §4.2.3.10: nobody answers segments to, or from, everybody.
#[test]
fn segments_to_everybody_are_not_answered() {
    hosted::test(async || {
        let peer = echo().await;
        let (from, to) = ((Peer::ADDRESS, 9), (Peer::GUEST, 7));
        // After the announcements.
        sleep(Duration::from_secs(5)).await;
        let before = stats();
        peer.heard();
        let broadcast = Ipv4Addr::new(10, 0, 2, 255);
        for (from, to, mac) in [
            (from, to, [0xff; 6]),
            (from, (broadcast, 7), mac_of_guest()),
            (from, (Ipv4Addr::BROADCAST, 8), mac_of_guest()),
            (from, (Ipv4Addr::new(224, 0, 0, 1), 7), mac_of_guest()),
            ((broadcast, 9), to, mac_of_guest()),
            ((Ipv4Addr::BROADCAST, 9), to, mac_of_guest()),
            ((Ipv4Addr::UNSPECIFIED, 9), to, mac_of_guest()),
            (from, (Ipv4Addr::new(10, 0, 2, 16), 7), mac_of_guest()),
        ] {
            peer.inject(&Segment::syn(from, to).frame(peer.mac(), mac));
        }
        sleep(MOMENT).await;
        assert_eq!(peer.heard(), Vec::<Vec<u8>>::new());
        assert_eq!(stats().connections, 0);
        assert!(stats().ignored > before.ignored);
    });
}

/// smoltcp believes, until it has sent its first segment after the SYN, that the window it said in the SYN was scaled: a
/// peer that fills "all" of it, from behind, would overrun the receive buffer.
#[test]
fn a_peer_that_sends_more_than_there_is_room_for() {
    hosted::test(async || {
        let peer = echo().await;
        // From behind the peer, which would reset what it has not begun.
        let (from, to) = (([100, 64, 0, 1].into(), 9), (Peer::GUEST, 7));
        let send = |segment: &Segment| peer.inject(&segment.frame(peer.mac(), mac_of_guest()));
        peer.heard();
        send(&Segment {
            scale: Some(7),
            ..Segment::syn(from, to)
        });
        sleep(MOMENT).await;
        let syn_ack = peer
            .heard()
            .iter()
            .find_map(|frame| Segment::parse(frame))
            .unwrap();
        assert!(
            syn_ack.scale.is_some_and(|scale| scale > 0),
            "or else this tests nothing"
        );
        let first = Segment {
            control: TcpControl::None,
            seq: 1001,
            ack: Some(syn_ack.seq + 1),
            ..Segment::syn(from, to)
        };
        // What reaches over the buffer's end (of 128 KiB), then all that is before it.
        const LAST: usize = 130_000;
        for place in std::iter::once(LAST).chain((0..LAST).step_by(1300)) {
            let len = if place == LAST { 1400 } else { 1300 };
            send(&Segment {
                seq: 1001 + i32::try_from(place).unwrap(),
                payload: pattern(len),
                ..first.clone()
            });
        }
        sleep(Duration::from_secs(1)).await;
        assert!(stats().ignored > 0);
        check_echo(peer.connect(7).await.unwrap(), pattern(10_000)).await;
    });
}

/// Sends frames to a guest that is in the middle of something; then it must still serve.
fn survives(frames: Vec<Vec<u8>>) {
    hosted::test(async move || {
        let peer = echo().await;
        let _udp = xenlet_net::UdpSocket::bind(53).await.unwrap();
        let mut busy = peer.connect(7).await.unwrap();
        embedded_io_async::Write::write_all(&mut busy, &pattern(3000))
            .await
            .unwrap();
        for frame in &frames {
            peer.inject(frame);
            sleep(MOMENT).await;
        }
        sleep(Duration::from_secs(90)).await;
        check_echo(peer.connect(7).await.unwrap(), pattern(3000)).await;
    });
}

/// A segment that has to do with something, or nearly.
fn segment() -> impl Strategy<Value = Segment> {
    let control = prop_oneof![
        Just(TcpControl::None),
        Just(TcpControl::Psh),
        Just(TcpControl::Syn),
        Just(TcpControl::Fin),
        Just(TcpControl::Rst)
    ];
    let numbers = (
        990..1010_i32,
        prop::option::of(any::<i32>()),
        any::<u16>(),
        prop::option::of(0_u8..20),
    );
    // The first port is that of the connection which is there, the second starts one.
    let ports = (
        prop_oneof![Just(40_001_u16), Just(9)],
        prop_oneof![Just(7_u16), Just(8)],
    );
    let payload = prop::collection::vec(any::<u8>(), 0..1400);
    (control, numbers, ports, payload).prop_map(
        |(control, (seq, ack, window, scale), (from, to), payload)| Segment {
            from: (Peer::ADDRESS, from),
            to: (Peer::GUEST, to),
            control,
            seq,
            ack,
            window,
            scale: scale.filter(|_| control == TcpControl::Syn),
            payload,
        },
    )
}

/// The guest's address on the hosted netback, and the peer's.
const MACS: ([u8; 6], [u8; 6]) = ([0x52, 0x54, 0, 0x12, 0x34, 0], [0x00, 0x16, 0x3e, 0, 0, 1]);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
        survives(frames);
    }

    /// With the right addresses on them.
    #[test]
    fn any_packet(packets in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 1..20)) {
        let frame = |(arp, packet): (bool, Vec<u8>)| {
            let ethertype = if arp { [8, 6] } else { [8, 0] };
            [&MACS.1[..], &MACS.0, &ethertype, &packet].concat()
        };
        survives(packets.into_iter().map(frame).collect());
    }

    #[test]
    fn any_segments(segments in prop::collection::vec(segment(), 1..20)) {
        survives(segments.iter().map(|segment| segment.frame(MACS.0, MACS.1)).collect());
    }

    /// Well-formed frames with a few bytes changed, checksums made right again.
    #[test]
    fn any_mutation(segment in segment(), changes in prop::collection::vec((14_usize..60, any::<u8>()), 1..4), kind in 0_u8..4) {
        let mut frame = segment.frame(MACS.0, MACS.1);
        // TCP, UDP, ICMP, or whatever is there.
        if let Some(protocol) = [6, 17, 1].get(usize::from(kind)) {
            frame[23] = *protocol;
        }
        for (place, byte) in changes {
            if let Some(at) = frame.get_mut(place) {
                *at = byte;
            }
        }
        mend(&mut frame);
        survives(vec![frame]);
    }
}
