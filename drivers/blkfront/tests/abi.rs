//! Every message and number of `proto` against `xen/io/blkif.h`, by a C compiler.
//!
//! Where a field is in our bytes is seen by what changes when it does.
#![forbid(unsafe_code)]
#![cfg(not(xenlet = "unix"))]

#[path = "../../../kernel/tests/headers/mod.rs"]
mod headers;

use headers::{assert_equal, check};
use xenlet_blkfront::proto::*;
use xenlet_kernel::addr::GrantRef;
use xenlet_kernel::ring::{Protocol, slots};

const INCLUDES: &str = "
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/io/ring.h>
#include <xen/io/blkif.h>
";

const ALL: u64 = u64::MAX;

fn emit(request: Request) -> Vec<u8> {
    let mut slot = Blkif::EMPTY;
    Blkif::emit_request(&request, &mut slot);
    slot.to_vec()
}

/// Adds that `field` of `ty` is where `bytes` differ from `base`, all ones.
fn field(out: &mut String, ty: &str, field: &str, base: &[u8], bytes: &[u8]) {
    let differs: Vec<usize> = (0..bytes.len()).filter(|i| bytes[*i] != base[*i]).collect();
    let (at, len) = (differs[0], differs.len());
    assert!(
        bytes[at..at + len].iter().all(|b| *b == 0xff),
        "{ty}.{field} is in one piece: {bytes:?}"
    );
    assert_equal(out, &format!("offsetof({ty}, {field})"), at as u64);
    assert_equal(out, &format!("sizeof((({ty} *)0)->{field})"), len as u64);
}

fn direct(operation: u8, nr_segments: u8, handle: u16, id: u64, sector: u64) -> Direct {
    Direct {
        operation,
        nr_segments,
        handle,
        id,
        sector,
        segments: [Segment::NONE; MAX_SEGMENTS],
    }
}

#[test]
fn direct_requests() {
    let mut out = String::from(INCLUDES);
    let o = &mut out;
    let ty = "struct blkif_request";
    let of = |d| emit(Request::Direct(d));
    let base = of(direct(0, 0, 0, 0, 0));
    field(o, ty, "operation", &base, &of(direct(0xff, 0, 0, 0, 0)));
    field(o, ty, "nr_segments", &base, &of(direct(0, 0xff, 0, 0, 0)));
    field(o, ty, "handle", &base, &of(direct(0, 0, 0xffff, 0, 0)));
    field(o, ty, "id", &base, &of(direct(0, 0, 0, ALL, 0)));
    field(o, ty, "sector_number", &base, &of(direct(0, 0, 0, 0, ALL)));
    for i in 0..MAX_SEGMENTS {
        let with = |segment| {
            let mut d = direct(0, 0, 0, 0, 0);
            d.segments[i] = segment;
            of(d)
        };
        let none = Segment::NONE;
        let gref = GrantRef(u32::MAX);
        for (name, segment) in [
            ("gref", Segment { gref, ..none }),
            (
                "first_sect",
                Segment {
                    first: 0xff,
                    ..none
                },
            ),
            ("last_sect", Segment { last: 0xff, ..none }),
        ] {
            field(o, ty, &format!("seg[{i}].{name}"), &base, &with(segment));
        }
    }
    assert_equal(o, "sizeof(struct blkif_request)", base.len() as u64);
    assert_equal(
        o,
        "sizeof(struct blkif_request_segment)",
        SEGMENT_SIZE as u64,
    );
    check(&out);
}

#[test]
fn other_requests() {
    let mut out = String::from(INCLUDES);
    let o = &mut out;
    let ty = "struct blkif_request_discard";
    let of = |flag, handle, id, sector, sectors| {
        emit(Request::Discard(Discard {
            flag,
            handle,
            id,
            sector,
            sectors,
        }))
    };
    let base = of(0, 0, 0, 0, 0);
    field(o, ty, "flag", &base, &of(0xff, 0, 0, 0, 0));
    field(o, ty, "handle", &base, &of(0, 0xffff, 0, 0, 0));
    field(o, ty, "id", &base, &of(0, 0, ALL, 0, 0));
    field(o, ty, "sector_number", &base, &of(0, 0, 0, ALL, 0));
    field(o, ty, "nr_sectors", &base, &of(0, 0, 0, 0, ALL));

    let ty = "struct blkif_request_indirect";
    let of = |operation, nr_segments, handle, id, sector, pages| {
        emit(Request::Indirect(Indirect {
            operation,
            nr_segments,
            handle,
            id,
            sector,
            pages,
        }))
    };
    let none = [GrantRef(0); MAX_INDIRECT_PAGES];
    let base = of(0, 0, 0, 0, 0, none);
    field(o, ty, "indirect_op", &base, &of(0xff, 0, 0, 0, 0, none));
    field(o, ty, "nr_segments", &base, &of(0, 0xffff, 0, 0, 0, none));
    field(o, ty, "handle", &base, &of(0, 0, 0xffff, 0, 0, none));
    field(o, ty, "id", &base, &of(0, 0, 0, ALL, 0, none));
    field(o, ty, "sector_number", &base, &of(0, 0, 0, 0, ALL, none));
    for i in 0..MAX_INDIRECT_PAGES {
        let mut pages = none;
        pages[i] = GrantRef(u32::MAX);
        let name = format!("indirect_grefs[{i}]");
        field(o, ty, &name, &base, &of(0, 0, 0, 0, 0, pages));
    }
    for ty in [
        "struct blkif_request_discard",
        "struct blkif_request_indirect",
    ] {
        assert_equal(o, &format!("offsetof({ty}, operation)"), 0);
    }
    check(&out);
}

#[test]
fn responses_and_rings() {
    let mut out = String::from(INCLUDES);
    // The macro names the ring's messages as types.
    out.push_str("DEFINE_RING_TYPES(ring, struct blkif_request, struct blkif_response);\n");
    let o = &mut out;
    let of = |id, operation, status| {
        let mut slot = Blkif::EMPTY;
        let response = Response {
            id,
            operation,
            status,
        };
        Blkif::emit_response(&response, &mut slot);
        slot.to_vec()
    };
    let ty = "struct blkif_response";
    let base = of(0, 0, 0);
    field(o, ty, "id", &base, &of(ALL, 0, 0));
    field(o, ty, "operation", &base, &of(0, 0xff, 0));
    field(o, ty, "status", &base, &of(0, 0, -1));
    for pages in [1, 2, 4, 8, 16] {
        assert_equal(
            o,
            &format!("__CONST_RING_SIZE(ring, 4096 * {pages})"),
            slots::<Blkif>(pages).into(),
        );
    }
    check(&out);
}

#[test]
fn numbers() {
    let mut out = String::from(INCLUDES);
    for (c, ours) in [
        ("BLKIF_OP_READ", OP_READ.into()),
        ("BLKIF_OP_WRITE", OP_WRITE.into()),
        ("BLKIF_OP_WRITE_BARRIER", OP_WRITE_BARRIER.into()),
        ("BLKIF_OP_FLUSH_DISKCACHE", OP_FLUSH.into()),
        ("BLKIF_OP_DISCARD", OP_DISCARD.into()),
        ("BLKIF_OP_INDIRECT", OP_INDIRECT.into()),
        ("BLKIF_DISCARD_SECURE", DISCARD_SECURE.into()),
        ("BLKIF_RSP_OKAY", RSP_OKAY.cast_unsigned().into()),
        (
            "(uint16_t)BLKIF_RSP_ERROR",
            RSP_ERROR.cast_unsigned().into(),
        ),
        (
            "(uint16_t)BLKIF_RSP_EOPNOTSUPP",
            RSP_EOPNOTSUPP.cast_unsigned().into(),
        ),
        ("VDISK_CDROM", VDISK_CDROM.into()),
        ("VDISK_REMOVABLE", VDISK_REMOVABLE.into()),
        ("VDISK_READONLY", VDISK_READONLY.into()),
        ("BLKIF_MAX_SEGMENTS_PER_REQUEST", MAX_SEGMENTS as u64),
        (
            "BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST",
            MAX_INDIRECT_PAGES as u64,
        ),
        (
            "4096 / sizeof(struct blkif_request_segment)",
            SEGMENTS_PER_PAGE as u64,
        ),
    ] {
        assert_equal(&mut out, c, ours);
    }
    check(&out);
}
