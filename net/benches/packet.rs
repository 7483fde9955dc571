//! What a first look at a frame costs, and its checksum: `cargo bench -p xenlet-net`.
//!
//! The least of many rounds counts: what else the machine does only ever adds.
#![forbid(unsafe_code)]

// The module is the stack's own. It is compiled again here, so that it need not be public.
#[path = "../src/stack/packet.rs"]
#[allow(dead_code, reason = "a part of it is measured")]
mod packet;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Address, Ipv4Packet,
    Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};
use std::hint::black_box;
use std::time::Instant;

const OWN: EthernetAddress = EthernetAddress([0x00, 0x16, 0x3e, 0, 0, 1]);
const FROM: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);
const TO: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
/// Calls between two looks at the clock.
const CALLS: u32 = 1000;
const ROUNDS: usize = 500;

/// A TCP segment to the guest with so many bytes.
fn segment(len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..=255).cycle().take(len).collect();
    let tcp = TcpRepr {
        src_port: 40_000,
        dst_port: 80,
        control: TcpControl::Psh,
        seq_number: TcpSeqNumber(1),
        ack_number: Some(TcpSeqNumber(2)),
        window_len: 64_000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &payload,
    };
    let ip = Ipv4Repr {
        src_addr: FROM,
        dst_addr: TO,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; 14 + ip.buffer_len() + tcp.buffer_len()];
    let mut ethernet = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.set_dst_addr(OWN);
    ethernet.set_src_addr(EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0]));
    ethernet.set_ethertype(EthernetProtocol::Ipv4);
    let checksums = ChecksumCapabilities::default();
    let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
    ip.emit(&mut packet, &checksums);
    tcp.emit(
        &mut TcpPacket::new_unchecked(packet.payload_mut()),
        &FROM.into(),
        &TO.into(),
        &checksums,
    );
    bytes
}

fn report(name: &str, mut call: impl FnMut()) {
    let least = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!(
        "{name}: {:.1} ns",
        least.as_secs_f64() * 1e9 / f64::from(CALLS)
    );
}

fn main() {
    for len in [0, 100, 1460, 16_384] {
        let frame = segment(len);
        report(&format!("first look, {len} bytes"), || {
            let kind = packet::classify(black_box(&frame), OWN);
            assert!(matches!(kind, packet::Kind::Tcp(_)));
        });
        report(&format!("checksum, {len} bytes"), || {
            assert!(packet::checksum_is_right(black_box(&frame)));
        });
    }
    let mut wrong = segment(1460);
    *wrong.last_mut().expect("a byte") ^= 1;
    assert!(!packet::checksum_is_right(&wrong), "it is verified at all");
}
