//! The messages of both rings (`xen/io/netif.h`), byte for byte.
//!
//! ```text
//!   transmit (12 bytes a slot)                        receive (8 bytes a slot)
//!   request  gref u32 │ offset u16 │ flags u16        request  id u16 │ pad u16 │ gref u32
//!            id u16   │ size u16
//!   response id u16   │ status i16                    response id u16 │ offset u16 │ flags u16 │ status i16
//!
//!   extra    type u8  │ flags u8   │ gso: size u16 │ type u8 │ pad u8 │ features u16     (either ring)
//! ```
//!
//! An extra takes a slot of its own and has no id: what it is follows from the slot before it. So a transmit request
//! is one or the other ([`TxRequest`]), and a receive response can be read both ways ([`RxResponse::extra`]).

use xenlet_kernel::addr::GrantRef;
use xenlet_kernel::ring::Protocol;

/// `NETTXF_csum_blank`: the checksum field holds the pseudo-header's sum only.
pub const TX_CSUM_BLANK: u16 = 1 << 0;
/// `NETTXF_data_validated`: the checksum need not be looked at.
pub const TX_DATA_VALIDATED: u16 = 1 << 1;
/// `NETTXF_more_data`: the frame goes on in the next slot that is no extra.
pub const TX_MORE_DATA: u16 = 1 << 2;
/// `NETTXF_extra_info`: the next slot is an extra.
pub const TX_EXTRA_INFO: u16 = 1 << 3;

/// `NETRXF_data_validated`: the checksum was looked at, or need not be.
pub const RX_DATA_VALIDATED: u16 = 1 << 0;
/// `NETRXF_csum_blank`: the checksum field holds the pseudo-header's sum only.
pub const RX_CSUM_BLANK: u16 = 1 << 1;
/// `NETRXF_more_data`: the frame goes on in the next slot that is no extra.
pub const RX_MORE_DATA: u16 = 1 << 2;
/// `NETRXF_extra_info`: the next slot is an extra.
pub const RX_EXTRA_INFO: u16 = 1 << 3;

/// `NETIF_RSP_DROPPED`.
pub const RSP_DROPPED: i16 = -2;
/// `NETIF_RSP_ERROR`.
pub const RSP_ERROR: i16 = -1;
/// `NETIF_RSP_OKAY`.
pub const RSP_OKAY: i16 = 0;
/// `NETIF_RSP_NULL`: answers an extra.
pub const RSP_NULL: i16 = 1;

/// `XEN_NETIF_EXTRA_TYPE_GSO`.
pub const EXTRA_GSO: u8 = 1;
/// `XEN_NETIF_EXTRA_TYPE_MCAST_ADD`.
pub const EXTRA_MCAST_ADD: u8 = 2;
/// `XEN_NETIF_EXTRA_TYPE_HASH`.
pub const EXTRA_HASH: u8 = 4;
/// `XEN_NETIF_EXTRA_FLAG_MORE`: another extra follows.
pub const EXTRA_MORE: u8 = 1 << 0;

/// `XEN_NETIF_GSO_TYPE_TCPV4`.
pub const GSO_TCPV4: u8 = 1;
/// `XEN_NETIF_GSO_TYPE_TCPV6`.
pub const GSO_TCPV6: u8 = 2;

/// `XEN_NETIF_NR_SLOTS_MIN`: slots a frame may take with any backend.
pub const MAX_SLOTS: u32 = 18;

/// `struct netif_tx_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxData {
    /// The page that the bytes are in.
    pub gref: GrantRef,
    /// Where in the page they begin.
    pub offset: u16,
    /// `TX_*`.
    pub flags: u16,
    /// Comes back in the response.
    pub id: u16,
    /// Bytes: of the whole frame in its first slot, of this slot in the others.
    pub size: u16,
}

/// `struct netif_extra_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extra {
    /// `EXTRA_*`.
    pub kind: u8,
    /// `EXTRA_MORE` or nothing.
    pub flags: u8,
    /// What there is to say, as the kind has it.
    pub body: [u8; 6],
}

impl Extra {
    /// A `EXTRA_GSO` that asks for segments of `size` bytes of payload.
    pub const fn gso(kind: u8, size: u16) -> Self {
        let [low, high] = size.to_le_bytes();
        Self {
            kind: EXTRA_GSO,
            flags: 0,
            body: [low, high, kind, 0, 0, 0],
        }
    }

    /// The bytes of payload in a segment, where this is an `EXTRA_GSO`.
    pub const fn gso_size(&self) -> u16 {
        u16::from_le_bytes([self.body[0], self.body[1]])
    }

    /// The protocol to be segmented, `GSO_*`, where this is an `EXTRA_GSO`.
    pub const fn gso_kind(&self) -> u8 {
        self.body[2]
    }

    /// Reads an extra; any bytes are one.
    pub const fn parse(bytes: [u8; 8]) -> Self {
        let [kind, flags, a, b, c, d, e, f] = bytes;
        Self {
            kind,
            flags,
            body: [a, b, c, d, e, f],
        }
    }

    /// The bytes of the extra.
    pub const fn emit(&self) -> [u8; 8] {
        let [a, b, c, d, e, f] = self.body;
        [self.kind, self.flags, a, b, c, d, e, f]
    }
}

/// What can be in a slot of the transmit ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxRequest {
    /// Bytes of a frame.
    Data(TxData),
    /// More about the frame whose first slot was before.
    Extra(Extra),
}

/// `struct netif_tx_response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxResponse {
    /// The request's; meaningless where the status is `RSP_NULL`.
    pub id: u16,
    /// `RSP_*`.
    pub status: i16,
}

/// The transmit ring.
#[derive(Debug)]
pub struct Tx;

impl Protocol for Tx {
    type Request = TxRequest;
    type Response = TxResponse;
    type Slot = [u8; 12];
    const EMPTY: [u8; 12] = [0; 12];

    fn emit_request(request: &TxRequest, slot: &mut [u8; 12]) {
        match request {
            TxRequest::Data(data) => {
                slot[..4].copy_from_slice(&data.gref.0.to_le_bytes());
                slot[4..6].copy_from_slice(&data.offset.to_le_bytes());
                slot[6..8].copy_from_slice(&data.flags.to_le_bytes());
                slot[8..10].copy_from_slice(&data.id.to_le_bytes());
                slot[10..].copy_from_slice(&data.size.to_le_bytes());
            }
            TxRequest::Extra(extra) => slot[..8].copy_from_slice(&extra.emit()),
        }
    }

    /// Reads a slot as data: only the slot before says that it is an extra ([`TxData::extra`]).
    fn parse_request(slot: &[u8; 12]) -> TxRequest {
        let [g0, g1, g2, g3, o0, o1, f0, f1, i0, i1, s0, s1] = *slot;
        TxRequest::Data(TxData {
            gref: GrantRef(u32::from_le_bytes([g0, g1, g2, g3])),
            offset: u16::from_le_bytes([o0, o1]),
            flags: u16::from_le_bytes([f0, f1]),
            id: u16::from_le_bytes([i0, i1]),
            size: u16::from_le_bytes([s0, s1]),
        })
    }

    fn emit_response(response: &TxResponse, slot: &mut [u8; 12]) {
        slot[..2].copy_from_slice(&response.id.to_le_bytes());
        slot[2..4].copy_from_slice(&response.status.to_le_bytes());
    }

    fn parse_response(slot: &[u8; 12]) -> TxResponse {
        TxResponse {
            id: u16::from_le_bytes([slot[0], slot[1]]),
            status: i16::from_le_bytes([slot[2], slot[3]]),
        }
    }
}

impl TxData {
    /// The same slot, read as an extra.
    pub const fn extra(&self) -> Extra {
        let [a, b, c, d] = self.gref.0.to_le_bytes();
        let [e, f] = self.offset.to_le_bytes();
        let [g, h] = self.flags.to_le_bytes();
        Extra::parse([a, b, c, d, e, f, g, h])
    }
}

/// `struct netif_rx_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxRequest {
    /// Comes back in the response.
    pub id: u16,
    /// The page to be filled.
    pub gref: GrantRef,
}

/// `struct netif_rx_response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxResponse {
    /// The request's.
    pub id: u16,
    /// Where in the page the bytes begin.
    pub offset: u16,
    /// `RX_*`.
    pub flags: u16,
    /// Bytes in the page, or `RSP_*` when negative.
    pub status: i16,
}

impl RxResponse {
    /// The same slot, read as an extra.
    pub const fn extra(&self) -> Extra {
        let [a, b] = self.id.to_le_bytes();
        let [c, d] = self.offset.to_le_bytes();
        let [e, f] = self.flags.to_le_bytes();
        let [g, h] = self.status.to_le_bytes();
        Extra::parse([a, b, c, d, e, f, g, h])
    }

    /// The response that has `extra`'s bytes.
    pub const fn of_extra(extra: Extra) -> Self {
        let [a, b, c, d, e, f, g, h] = extra.emit();
        Self {
            id: u16::from_le_bytes([a, b]),
            offset: u16::from_le_bytes([c, d]),
            flags: u16::from_le_bytes([e, f]),
            status: i16::from_le_bytes([g, h]),
        }
    }
}

/// The receive ring.
#[derive(Debug)]
pub struct Rx;

impl Protocol for Rx {
    type Request = RxRequest;
    type Response = RxResponse;
    type Slot = [u8; 8];
    const EMPTY: [u8; 8] = [0; 8];

    fn emit_request(request: &RxRequest, slot: &mut [u8; 8]) {
        slot[..2].copy_from_slice(&request.id.to_le_bytes());
        slot[4..].copy_from_slice(&request.gref.0.to_le_bytes());
    }

    fn parse_request(slot: &[u8; 8]) -> RxRequest {
        let [i0, i1, _, _, g0, g1, g2, g3] = *slot;
        RxRequest {
            id: u16::from_le_bytes([i0, i1]),
            gref: GrantRef(u32::from_le_bytes([g0, g1, g2, g3])),
        }
    }

    fn emit_response(response: &RxResponse, slot: &mut [u8; 8]) {
        slot[..2].copy_from_slice(&response.id.to_le_bytes());
        slot[2..4].copy_from_slice(&response.offset.to_le_bytes());
        slot[4..6].copy_from_slice(&response.flags.to_le_bytes());
        slot[6..].copy_from_slice(&response.status.to_le_bytes());
    }

    fn parse_response(slot: &[u8; 8]) -> RxResponse {
        let [i0, i1, o0, o1, f0, f1, s0, s1] = *slot;
        RxResponse {
            id: u16::from_le_bytes([i0, i1]),
            offset: u16::from_le_bytes([o0, o1]),
            flags: u16::from_le_bytes([f0, f1]),
            status: i16::from_le_bytes([s0, s1]),
        }
    }
}

#[cfg(test)]
mod tests;
