//! Byte literals, as a C program on x86-64 would write them.

use super::*;
use proptest::prelude::*;
use xenlet_kernel::ring::slots;

fn emit(request: Request) -> [u8; SLOT] {
    let mut slot = Blkif::EMPTY;
    Blkif::emit_request(&request, &mut slot);
    slot
}

/// A slot that begins with `bytes` and ends in zeros.
fn slot(bytes: &[u8]) -> [u8; SLOT] {
    core::array::from_fn(|i| bytes.get(i).copied().unwrap_or(0))
}

#[test]
fn slots_by_pages() {
    assert_eq!(
        [1, 2, 4, 8, 16].map(slots::<Blkif>),
        [32, 64, 128, 256, 512]
    );
}

#[test]
fn direct_request() {
    let mut segments = [Segment::NONE; MAX_SEGMENTS];
    segments[0] = Segment {
        gref: GrantRef(0x1413_1211),
        first: 3,
        last: 7,
    };
    segments[10].gref = GrantRef(0xff);
    let request = Request::Direct(Direct {
        operation: OP_WRITE,
        nr_segments: 11,
        handle: 0xca10,
        id: 0x0807_0605_0403_0201,
        sector: 0x1817_1615_1413_1211,
        segments,
    });
    let mut bytes = slot(&[
        1, 11, 0x10, 0xca, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
        0x17, 0x18, 0x11, 0x12, 0x13, 0x14, 3, 7, 0, 0,
    ]);
    bytes[104] = 0xff;
    assert_eq!(emit(request), bytes);
    assert_eq!(Blkif::parse_request(&bytes), request);
    assert_eq!(
        (request.id(), request.operation()),
        (0x0807_0605_0403_0201, 1)
    );
}

#[test]
fn discard_request() {
    let request = Request::Discard(Discard {
        flag: DISCARD_SECURE,
        handle: 0xca00,
        id: 1,
        sector: 2,
        sectors: 0x0807_0605_0403_0201,
    });
    let bytes = slot(&[
        5, 1, 0, 0xca, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5,
        6, 7, 8,
    ]);
    assert_eq!(emit(request), bytes);
    assert_eq!(Blkif::parse_request(&bytes), request);
    assert_eq!((request.id(), request.operation()), (1, 5));
}

#[test]
fn indirect_request() {
    let mut pages = [GrantRef(0); MAX_INDIRECT_PAGES];
    pages[0] = GrantRef(0x0403_0201);
    pages[7] = GrantRef(0x0807_0605);
    let request = Request::Indirect(Indirect {
        operation: OP_WRITE,
        nr_segments: 0x0102,
        handle: 0xca00,
        id: 3,
        sector: 4,
        pages,
    });
    let mut bytes = slot(&[
        6, 1, 2, 1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0xca, 0, 0, 1,
        2, 3, 4,
    ]);
    bytes[56..60].copy_from_slice(&[5, 6, 7, 8]);
    assert_eq!(emit(request), bytes);
    assert_eq!(Blkif::parse_request(&bytes), request);
    assert_eq!((request.id(), request.operation()), (3, OP_WRITE));
}

#[test]
fn response() {
    let response = Response {
        id: 0x0807_0605_0403_0201,
        operation: OP_FLUSH,
        status: RSP_EOPNOTSUPP,
    };
    let bytes = slot(&[1, 2, 3, 4, 5, 6, 7, 8, 3, 0, 0xfe, 0xff]);
    let mut out = Blkif::EMPTY;
    Blkif::emit_response(&response, &mut out);
    assert_eq!(out, bytes);
    assert_eq!(Blkif::parse_response(&bytes), response);
}

proptest! {
    /// Any bytes are a message, and what it says comes back as it was.
    #[test]
    fn nothing_is_lost(bytes in prop::collection::vec(any::<u8>(), SLOT), operation in 0_u8..8) {
        let mut bytes = slot(&bytes);
        bytes[0] = operation;
        let request = Blkif::parse_request(&bytes);
        let out = emit(request);
        prop_assert_eq!(Blkif::parse_request(&out), request);
        let counts = |i: usize| match operation {
            OP_DISCARD => i < 4 || (8..32).contains(&i),
            OP_INDIRECT => i < 4 || (8..26).contains(&i) || (28..60).contains(&i),
            _ => i < 4 || (8..24).contains(&i) || i >= 24 && i % 8 < 6,
        };
        for i in (0..SLOT).filter(|i| counts(*i)) {
            prop_assert_eq!(out[i], bytes[i], "byte {}", i);
        }
        let response = Blkif::parse_response(&bytes);
        let mut out = Blkif::EMPTY;
        Blkif::emit_response(&response, &mut out);
        prop_assert_eq!(Blkif::parse_response(&out), response);
    }
}
