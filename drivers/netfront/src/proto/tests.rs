//! Byte literals, as a C program on x86 would write them.

use super::*;
use xenlet_kernel::ring::slots;

#[test]
fn rings_have_256_slots() {
    assert_eq!((slots::<Tx>(1), slots::<Rx>(1)), (256, 256));
}

#[test]
fn transmit_request() {
    let data = TxData {
        gref: GrantRef(0x0403_0201),
        offset: 0x0605,
        flags: TX_CSUM_BLANK | TX_DATA_VALIDATED | TX_MORE_DATA | TX_EXTRA_INFO,
        id: 0x0a09,
        size: 0x0c0b,
    };
    let bytes = [1, 2, 3, 4, 5, 6, 0x0f, 0, 9, 10, 11, 12];
    let mut slot = Tx::EMPTY;
    Tx::emit_request(&TxRequest::Data(data), &mut slot);
    assert_eq!(slot, bytes);
    assert_eq!(Tx::parse_request(&bytes), TxRequest::Data(data));
}

#[test]
fn transmit_extra() {
    let extra = Extra::gso(GSO_TCPV4, 1448);
    let bytes = [1, 0, 0xa8, 0x05, 1, 0, 0, 0, 0, 0, 0, 0];
    let mut slot = Tx::EMPTY;
    Tx::emit_request(&TxRequest::Extra(extra), &mut slot);
    assert_eq!(slot, bytes);
    let TxRequest::Data(data) = Tx::parse_request(&bytes) else {
        panic!("slots are read as data");
    };
    assert_eq!(data.extra(), extra);
    assert_eq!(
        (extra.gso_size(), extra.gso_kind()),
        (1448, GSO_TCPV4),
        "what was asked for"
    );
}

#[test]
fn transmit_response() {
    let response = TxResponse {
        id: 0x0201,
        status: RSP_DROPPED,
    };
    let bytes = [1, 2, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut slot = Tx::EMPTY;
    Tx::emit_response(&response, &mut slot);
    assert_eq!(slot, bytes);
    assert_eq!(Tx::parse_response(&bytes), response);
}

#[test]
fn receive_request() {
    let request = RxRequest {
        id: 0x0201,
        gref: GrantRef(0x0807_0605),
    };
    let bytes = [1, 2, 0, 0, 5, 6, 7, 8];
    let mut slot = Rx::EMPTY;
    Rx::emit_request(&request, &mut slot);
    assert_eq!(slot, bytes);
    assert_eq!(Rx::parse_request(&bytes), request);
}

#[test]
fn receive_response_and_extra() {
    let response = RxResponse {
        id: 0x0201,
        offset: 0x0403,
        flags: RX_DATA_VALIDATED | RX_CSUM_BLANK | RX_MORE_DATA | RX_EXTRA_INFO,
        status: RSP_ERROR,
    };
    let bytes = [1, 2, 3, 4, 0x0f, 0, 0xff, 0xff];
    let mut slot = Rx::EMPTY;
    Rx::emit_response(&response, &mut slot);
    assert_eq!(slot, bytes);
    assert_eq!(Rx::parse_response(&bytes), response);
    assert_eq!(
        response.extra(),
        Extra {
            kind: 1,
            flags: 2,
            body: [3, 4, 0x0f, 0, 0xff, 0xff]
        }
    );
    let gso = Extra::gso(GSO_TCPV6, 0x1234);
    Rx::emit_response(&RxResponse::of_extra(gso), &mut slot);
    assert_eq!(slot, [1, 0, 0x34, 0x12, 2, 0, 0, 0]);
}

proptest::proptest! {
    /// Any bytes are a message, and come back as they were, but for padding.
    #[test]
    fn nothing_is_lost(tx: [u8; 12], rx: [u8; 8]) {
        let mut slot = Tx::EMPTY;
        Tx::emit_request(&Tx::parse_request(&tx), &mut slot);
        proptest::prop_assert_eq!(slot, tx);
        let mut slot = Rx::EMPTY;
        Rx::emit_response(&Rx::parse_response(&rx), &mut slot);
        proptest::prop_assert_eq!(slot, rx);
        proptest::prop_assert_eq!(Rx::parse_response(&rx).extra().emit(), rx);
        proptest::prop_assert_eq!(RxResponse::of_extra(Extra::parse(rx)), Rx::parse_response(&rx));
    }
}
