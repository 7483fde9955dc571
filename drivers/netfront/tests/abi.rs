//! Every message and number of `proto` against `xen/io/netif.h`, by a C compiler.
//!
//! Where a field is in our bytes is seen by what changes when it does.
#![forbid(unsafe_code)]
#![cfg(not(xenlet = "unix"))]

#[path = "../../../kernel/tests/headers/mod.rs"]
mod headers;

use headers::{assert_equal, check};
use xenlet_kernel::addr::GrantRef;
use xenlet_kernel::ring::{Protocol, slots};
use xenlet_netfront::proto::*;

const INCLUDES: &str = "
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/io/ring.h>
#include <xen/io/netif.h>
";

fn tx_request(request: TxRequest) -> [u8; 12] {
    let mut slot = Tx::EMPTY;
    Tx::emit_request(&request, &mut slot);
    slot
}

fn tx_data(gref: u32, [offset, flags, id, size]: [u16; 4]) -> [u8; 12] {
    tx_request(TxRequest::Data(TxData {
        gref: GrantRef(gref),
        offset,
        flags,
        id,
        size,
    }))
}

fn tx_response(id: u16, status: i16) -> [u8; 12] {
    let mut slot = Tx::EMPTY;
    Tx::emit_response(&TxResponse { id, status }, &mut slot);
    slot
}

fn rx_request(id: u16, gref: u32) -> [u8; 8] {
    let mut slot = Rx::EMPTY;
    let gref = GrantRef(gref);
    Rx::emit_request(&RxRequest { id, gref }, &mut slot);
    slot
}

fn rx_response([id, offset, flags]: [u16; 3], status: i16) -> [u8; 8] {
    let mut slot = Rx::EMPTY;
    let response = RxResponse {
        id,
        offset,
        flags,
        status,
    };
    Rx::emit_response(&response, &mut slot);
    slot
}

/// Adds that `field` of `ty` is where `bytes` are not zero.
fn field(out: &mut String, ty: &str, field: &str, bytes: &[u8]) {
    let at = bytes.iter().position(|b| *b != 0).unwrap_or(usize::MAX);
    let len = bytes.iter().filter(|b| **b != 0).count();
    assert!(
        bytes[at..at + len].iter().all(|b| *b == 0xff),
        "{ty}.{field} is in one piece: {bytes:?}"
    );
    assert_equal(out, &format!("offsetof({ty}, {field})"), at as u64);
    assert_equal(out, &format!("sizeof((({ty} *)0)->{field})"), len as u64);
}

#[test]
fn messages() {
    let mut out = String::from(INCLUDES);
    let o = &mut out;
    let all = u16::MAX;
    let ty = "netif_tx_request_t";
    field(o, ty, "gref", &tx_data(u32::MAX, [0; 4]));
    field(o, ty, "offset", &tx_data(0, [all, 0, 0, 0]));
    field(o, ty, "flags", &tx_data(0, [0, all, 0, 0]));
    field(o, ty, "id", &tx_data(0, [0, 0, all, 0]));
    field(o, ty, "size", &tx_data(0, [0, 0, 0, all]));
    let ty = "netif_tx_response_t";
    field(o, ty, "id", &tx_response(all, 0));
    field(o, ty, "status", &tx_response(0, -1));
    let ty = "netif_rx_request_t";
    field(o, ty, "id", &rx_request(all, 0));
    field(o, ty, "gref", &rx_request(0, u32::MAX));
    let ty = "netif_rx_response_t";
    field(o, ty, "id", &rx_response([all, 0, 0], 0));
    field(o, ty, "offset", &rx_response([0, all, 0], 0));
    field(o, ty, "flags", &rx_response([0, 0, all], 0));
    field(o, ty, "status", &rx_response([0; 3], -1));

    let extra = |kind, flags, body| Extra { kind, flags, body }.emit();
    let ty = "netif_extra_info_t";
    field(o, ty, "type", &extra(0xff, 0, [0; 6]));
    field(o, ty, "flags", &extra(0, 0xff, [0; 6]));
    // Without its type, which is in the first byte.
    let gso = |kind, size| {
        Extra {
            kind: 0,
            ..Extra::gso(kind, size)
        }
        .emit()
    };
    field(o, ty, "u.gso.size", &gso(0, all));
    field(o, ty, "u.gso.type", &gso(0xff, 0));

    assert_equal(
        o,
        "__CONST_RING_SIZE(netif_tx, 4096)",
        slots::<Tx>(1).into(),
    );
    assert_equal(
        o,
        "__CONST_RING_SIZE(netif_rx, 4096)",
        slots::<Rx>(1).into(),
    );
    check(&out);
}

#[test]
fn numbers() {
    let mut out = String::from(INCLUDES);
    for (c, ours) in [
        ("NETTXF_csum_blank", TX_CSUM_BLANK.into()),
        ("NETTXF_data_validated", TX_DATA_VALIDATED.into()),
        ("NETTXF_more_data", TX_MORE_DATA.into()),
        ("NETTXF_extra_info", TX_EXTRA_INFO.into()),
        ("NETRXF_data_validated", RX_DATA_VALIDATED.into()),
        ("NETRXF_csum_blank", RX_CSUM_BLANK.into()),
        ("NETRXF_more_data", RX_MORE_DATA.into()),
        ("NETRXF_extra_info", RX_EXTRA_INFO.into()),
        (
            "(uint16_t)NETIF_RSP_DROPPED",
            RSP_DROPPED.cast_unsigned().into(),
        ),
        (
            "(uint16_t)NETIF_RSP_ERROR",
            RSP_ERROR.cast_unsigned().into(),
        ),
        ("NETIF_RSP_OKAY", RSP_OKAY.cast_unsigned().into()),
        ("NETIF_RSP_NULL", RSP_NULL.cast_unsigned().into()),
        ("XEN_NETIF_EXTRA_TYPE_GSO", EXTRA_GSO.into()),
        ("XEN_NETIF_EXTRA_TYPE_MCAST_ADD", EXTRA_MCAST_ADD.into()),
        ("XEN_NETIF_EXTRA_TYPE_HASH", EXTRA_HASH.into()),
        ("XEN_NETIF_EXTRA_FLAG_MORE", EXTRA_MORE.into()),
        ("XEN_NETIF_GSO_TYPE_TCPV4", GSO_TCPV4.into()),
        ("XEN_NETIF_GSO_TYPE_TCPV6", GSO_TCPV6.into()),
        ("XEN_NETIF_NR_SLOTS_MIN", MAX_SLOTS.into()),
    ] {
        assert_equal(&mut out, c, ours);
    }
    check(&out);
}
