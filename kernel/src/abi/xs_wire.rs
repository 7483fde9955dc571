//! The xenstore wire (`xen/io/xs_wire.h`): messages of a 16-byte head and a payload, on a ring in either direction.

/// Bytes of each direction's ring (`XENSTORE_RING_SIZE`).
pub const RING_SIZE: usize = 1024;
/// The longest payload (`XENSTORE_PAYLOAD_MAX`).
pub const PAYLOAD_MAX: usize = 4096;
/// The longest path that is not relative to a domain's own (`XENSTORE_ABS_PATH_MAX`).
pub const ABS_PATH_MAX: usize = 3072;

/// `struct xenstore_domain_interface`. Indices run freely and are masked by the ring's size.
#[repr(C)]
pub struct DomainInterface {
    /// Requests, written by the guest.
    pub req: [u8; RING_SIZE],
    /// Responses and watch events, written by xenstored.
    pub rsp: [u8; RING_SIZE],
    /// Written by xenstored.
    pub req_cons: u32,
    /// Written by the guest.
    pub req_prod: u32,
    /// Written by the guest.
    pub rsp_cons: u32,
    /// Written by xenstored.
    pub rsp_prod: u32,
    /// `XENSTORE_SERVER_FEATURE_*`: what xenstored offers beyond the protocol.
    pub server_features: u32,
    /// `XENSTORE_CONNECTED`, or `XENSTORE_RECONNECT` after the guest asked for that.
    pub connection: u32,
    /// Why xenstored gave the connection up.
    pub error: u32,
}

super::layout!(DomainInterface, 2076, { req: 0, rsp: 1024, req_cons: 2048, req_prod: 2052, rsp_cons: 2056, rsp_prod: 2060, server_features: 2064, connection: 2068, error: 2072 });

/// The messages that this project uses, of `enum xsd_sockmsg_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "spelt as the header spells them")]
pub enum Type {
    Directory = 1,
    Read = 2,
    Watch = 4,
    Unwatch = 5,
    TransactionStart = 6,
    TransactionEnd = 7,
    Write = 11,
    Mkdir = 12,
    Rm = 13,
    WatchEvent = 15,
    Error = 16,
}

impl Type {
    /// The type of that number, if it is one of these.
    pub const fn from_u32(n: u32) -> Option<Self> {
        Some(match n {
            1 => Self::Directory,
            2 => Self::Read,
            4 => Self::Watch,
            5 => Self::Unwatch,
            6 => Self::TransactionStart,
            7 => Self::TransactionEnd,
            11 => Self::Write,
            12 => Self::Mkdir,
            13 => Self::Rm,
            15 => Self::WatchEvent,
            16 => Self::Error,
            _ => return None,
        })
    }
}

/// `struct xsd_sockmsg`: the head of each message.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// A [`Type`].
    pub ty: u32,
    /// Chosen by the asker, repeated in the answer; 0 in watch events.
    pub req_id: u32,
    /// The transaction, 0 for none.
    pub tx_id: u32,
    /// Bytes of payload that follow.
    pub len: u32,
}

super::layout!(Head, 16, { ty: 0, req_id: 4, tx_id: 8, len: 12 });

impl Head {
    /// Bytes of a head.
    pub const SIZE: usize = 16;

    /// The head in its 16 bytes.
    pub fn parse(bytes: &[u8; Self::SIZE]) -> Self {
        let word =
            |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        Self {
            ty: word(0),
            req_id: word(4),
            tx_id: word(8),
            len: word(12),
        }
    }

    /// The head as its 16 bytes.
    pub fn emit(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        for (place, word) in
            bytes
                .chunks_exact_mut(4)
                .zip([self.ty, self.req_id, self.tx_id, self.len])
        {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}
