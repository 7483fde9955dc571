//! Segments and checksums, against packets whose sums are known, and against themselves.

use super::*;
use crate::{Gso, GsoKind};
use proptest::prelude::*;
use std::num::NonZeroU16;

/// An Ethernet frame with a TCP segment, of which everything that is not said is zero, and with a blank checksum.
fn tcp(v4: bool, payload: &[u8]) -> Frame {
    let mut bytes = vec![0; 12];
    let len = u16::try_from(20 + payload.len()).unwrap();
    if v4 {
        bytes.extend([0x08, 0, 0x45, 0]);
        bytes.extend((len + 20).to_be_bytes());
        bytes.extend([0x12, 0xff, 0x40, 0, 64, TCP, 0, 0]);
        bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        let header = !sum(&[&bytes[ETHERNET..]]);
        bytes[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&header.to_be_bytes());
    } else {
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend(len.to_be_bytes());
        bytes.extend([TCP, 64]);
        bytes.extend([0xfe; 32]);
    }
    bytes.extend([0, 80, 0x80, 1, 0xff, 0xff, 0xff, 0, 0, 0, 0, 9]);
    bytes.extend([0x50, 0x19, 4, 0, 0, 0, 0, 0]);
    bytes.extend(payload);
    let (pseudo, _) = blank_sum(&bytes).unwrap();
    let at = layout(&bytes).unwrap().checksum();
    bytes[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
    Frame {
        bytes,
        checksum: Checksum::Blank,
        gso: None,
    }
}

/// Whether the frame's sums are right, as a receiver looks at them: all of it adds up to ones.
fn adds_up(bytes: &[u8]) -> bool {
    let layout = layout(bytes).unwrap();
    let pseudo = layout.pseudo(bytes).to_be_bytes();
    let transport = sum(&[&bytes[layout.transport..layout.end], &pseudo]) == 0xffff;
    transport && (!layout.v4 || sum(&[&bytes[ETHERNET..layout.transport]]) == 0xffff)
}

#[test]
fn the_sum_of_rfc_1071() {
    assert_eq!(
        sum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]),
        0xddf2
    );
    assert_eq!(sum(&[&[0x12]]), 0x1200, "an odd byte is the upper one");
}

#[test]
fn a_udp_checksum_that_is_known() {
    // A DNS query for example.com as a Linux host sent it, with its checksum taken out.
    let packet = [
        0x45, 0x00, 0x00, 0x39, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x26, 0xb2, 10, 0, 0, 1, 10, 0,
        0, 2, 0xd4, 0x31, 0, 53, 0, 0x25, 0, 0, 0x1a, 0x2b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 7, b'e',
        b'x', b'a', b'm', b'p', b'l', b'e', 3, b'c', b'o', b'm', 0, 0, 1, 0, 1,
    ];
    assert_eq!(
        sum(&[&packet[..20]]),
        0xffff,
        "the header's own sum is right"
    );
    let bytes = [&[0; 12][..], &[8, 0], &packet].concat();
    let frame = checksummed(Frame {
        bytes,
        checksum: Checksum::Blank,
        gso: None,
    });
    assert!(adds_up(&frame.bytes));
    assert_eq!(frame.checksum, Checksum::Unknown);
}

#[test]
fn a_sum_of_zero_is_sent_as_ones_in_udp_only() {
    for (protocol, expected) in [(UDP, 0xffff), (TCP, 0)] {
        let mut frame = tcp(true, &[0, 0]);
        frame.bytes[ETHERNET + 9] = protocol;
        let mut at = layout(&frame.bytes).unwrap().checksum();
        frame.bytes[at..at + 2].fill(0);
        // The payload makes the sum come out as wanted.
        let now = checksummed(frame.clone());
        at = layout(&now.bytes).unwrap().checksum();
        let end = frame.bytes.len();
        let missing = [now.bytes[at], now.bytes[at + 1]];
        frame.bytes[end - 2..].copy_from_slice(&missing);
        let done = checksummed(frame);
        assert_eq!(be16(&done.bytes, at), Some(expected));
    }
}

#[test]
fn what_is_not_understood_passes() {
    for bytes in [
        vec![],
        vec![0; 14],
        vec![8; 60],
        [&[0; 12][..], &[8, 6], &[1; 28]].concat(),
    ] {
        let frame = Frame {
            bytes: bytes.clone(),
            checksum: Checksum::Blank,
            gso: Some(Gso {
                kind: GsoKind::TcpV4,
                size: NonZeroU16::MIN,
            }),
        };
        assert_eq!(finish(frame), [Frame::from(bytes)]);
    }
}

proptest! {
    /// Cut segments are right by themselves, and together what was to be cut.
    #[test]
    fn segments(v4: bool, len in 1..30_000usize, size in 500..3000u16, padding in 0..20usize) {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut frame = tcp(v4, &payload);
        frame.bytes.extend(vec![7; padding]);
        let kind = if v4 { GsoKind::TcpV4 } else { GsoKind::TcpV6 };
        frame.gso = Some(Gso { kind, size: NonZeroU16::new(size).unwrap() });
        let pieces = finish(frame);
        prop_assert_eq!(pieces.len(), len.div_ceil(usize::from(size)));
        let mut joined: Vec<u8> = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            prop_assert!(adds_up(&piece.bytes), "piece {i}");
            let transport = layout(&piece.bytes).unwrap().transport;
            let seq = u32::from_be_bytes(piece.bytes[transport + 4..transport + 8].try_into().unwrap());
            prop_assert_eq!(seq, 0xffff_ff00u32.wrapping_add(joined.len() as u32));
            let last = i + 1 == pieces.len();
            prop_assert_eq!(piece.bytes[transport + 13], if last { 0x19 } else { 0x10 });
            if v4 {
                let id = be16(&piece.bytes, ETHERNET + 4).unwrap();
                prop_assert_eq!(id, 0x12ffu16.wrapping_add(i as u16));
            }
            prop_assert_eq!(layout(&piece.bytes).unwrap().end, piece.bytes.len());
            joined.extend(&piece.bytes[transport + 20..]);
        }
        prop_assert_eq!(joined, payload);
    }

    /// Any bytes pass without a panic.
    #[test]
    fn any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..3u8, size in 1..100u16) {
        if bytes.len() > 14 {
            match kind {
                0 => bytes[12..15].copy_from_slice(&[8, 0, 0x45]),
                1 => bytes[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]),
                _ => {}
            }
        }
        let gso = Some(Gso { kind: GsoKind::TcpV4, size: NonZeroU16::new(size).unwrap() });
        let frames = finish(Frame { bytes, checksum: Checksum::Blank, gso });
        prop_assert!(!frames.is_empty());
    }
}
