//! The messages of the ring (`xen/io/blkif.h`), byte for byte, as a frontend of `x86_64-abi` writes them.
//!
//! ```text
//!             0          1            2             8        16         24
//!   read …    operation  nr_segments  handle u16    id u64   sector u64  segment × 11
//!   discard   5          flag         handle u16    id u64   sector u64  sectors u64
//!   indirect  6          operation    segments u16  id u64   sector u64  handle u16 │ 28: gref u32 × 8
//!   response  id u64 (at 0)           operation u8 (at 8)    status i16 (at 10)
//!
//!   segment   gref u32 │ first sector u8 │ last sector u8 │ two bytes of padding
//! ```
//!
//! A slot has 112 bytes, so a ring of one page has 32. The pages of an indirect request hold 512 segments each. Sectors
//! are 512 bytes, whatever the disk's own are.

use xenlet_kernel::addr::{GrantRef, PAGE_SIZE};
use xenlet_kernel::ring::Protocol;

/// `BLKIF_OP_READ`.
pub const OP_READ: u8 = 0;
/// `BLKIF_OP_WRITE`.
pub const OP_WRITE: u8 = 1;
/// `BLKIF_OP_WRITE_BARRIER`: a write, or none, with all before it durable before it and it before all after it.
pub const OP_WRITE_BARRIER: u8 = 2;
/// `BLKIF_OP_FLUSH_DISKCACHE`: what was written is there to stay.
pub const OP_FLUSH: u8 = 3;
/// `BLKIF_OP_DISCARD`.
pub const OP_DISCARD: u8 = 5;
/// `BLKIF_OP_INDIRECT`: a read or a write whose segments are in pages of their own.
pub const OP_INDIRECT: u8 = 6;

/// `BLKIF_RSP_OKAY`.
pub const RSP_OKAY: i16 = 0;
/// `BLKIF_RSP_ERROR`.
pub const RSP_ERROR: i16 = -1;
/// `BLKIF_RSP_EOPNOTSUPP`.
pub const RSP_EOPNOTSUPP: i16 = -2;

/// `VDISK_CDROM`, in the backend's `info`.
pub const VDISK_CDROM: u32 = 1;
/// `VDISK_REMOVABLE`.
pub const VDISK_REMOVABLE: u32 = 2;
/// `VDISK_READONLY`.
pub const VDISK_READONLY: u32 = 4;

/// `BLKIF_DISCARD_SECURE`: what is discarded can't be read back from the medium.
pub const DISCARD_SECURE: u8 = 1 << 0;

/// `BLKIF_MAX_SEGMENTS_PER_REQUEST`: segments of a request that is not indirect.
pub const MAX_SEGMENTS: usize = 11;
/// `BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST`: pages of segments of an indirect request.
pub const MAX_INDIRECT_PAGES: usize = 8;
/// Bytes of a segment.
pub const SEGMENT_SIZE: usize = 8;
/// Segments in a page of an indirect request.
pub const SEGMENTS_PER_PAGE: usize = PAGE_SIZE / SEGMENT_SIZE;

/// `struct blkif_request_segment`: a stretch of sectors within a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The page.
    pub gref: GrantRef,
    /// The first sector of the page that counts, 0 to 7.
    pub first: u8,
    /// The last one that does.
    pub last: u8,
}

impl Segment {
    /// What is beyond those that count.
    pub const NONE: Self = Self {
        gref: GrantRef(0),
        first: 0,
        last: 0,
    };

    /// Reads a segment; any bytes are one.
    pub const fn parse(bytes: [u8; SEGMENT_SIZE]) -> Self {
        let [g0, g1, g2, g3, first, last, _, _] = bytes;
        Self {
            gref: GrantRef(u32::from_le_bytes([g0, g1, g2, g3])),
            first,
            last,
        }
    }

    /// The bytes of the segment.
    pub const fn emit(&self) -> [u8; SEGMENT_SIZE] {
        let [g0, g1, g2, g3] = self.gref.0.to_le_bytes();
        [g0, g1, g2, g3, self.first, self.last, 0, 0]
    }
}

/// `struct blkif_request`: anything but a discard or an indirect request, also with an operation that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direct {
    /// `OP_*`.
    pub operation: u8,
    /// How many of `segments` count; what a frontend says may be more than there are.
    pub nr_segments: u8,
    /// The disk.
    pub handle: u16,
    /// Comes back in the response.
    pub id: u64,
    /// Where on the disk the first segment is.
    pub sector: u64,
    /// The memory.
    pub segments: [Segment; MAX_SEGMENTS],
}

/// `struct blkif_request_discard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discard {
    /// `DISCARD_SECURE` or nothing.
    pub flag: u8,
    /// The disk.
    pub handle: u16,
    /// Comes back in the response.
    pub id: u64,
    /// The first sector.
    pub sector: u64,
    /// How many.
    pub sectors: u64,
}

/// `struct blkif_request_indirect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indirect {
    /// `OP_READ` or `OP_WRITE`.
    pub operation: u8,
    /// How many segments there are in the pages.
    pub nr_segments: u16,
    /// The disk.
    pub handle: u16,
    /// Comes back in the response.
    pub id: u64,
    /// Where on the disk the first segment is.
    pub sector: u64,
    /// The pages of segments, as many as it takes.
    pub pages: [GrantRef; MAX_INDIRECT_PAGES],
}

/// What can be in a slot of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A read, a write, a flush, or an operation that does not exist.
    Direct(Direct),
    /// A discard.
    Discard(Discard),
    /// A read or a write of many segments.
    Indirect(Indirect),
}

impl Request {
    /// Comes back in the response.
    pub const fn id(&self) -> u64 {
        match self {
            Self::Direct(Direct { id, .. })
            | Self::Discard(Discard { id, .. })
            | Self::Indirect(Indirect { id, .. }) => *id,
        }
    }

    /// The operation that the response names: of an indirect request what it does, as Linux's blkback has it.
    pub const fn operation(&self) -> u8 {
        match self {
            Self::Direct(Direct { operation, .. }) | Self::Indirect(Indirect { operation, .. }) => {
                *operation
            }
            Self::Discard(_) => OP_DISCARD,
        }
    }
}

/// `struct blkif_response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request's.
    pub id: u64,
    /// The request's.
    pub operation: u8,
    /// `RSP_*`.
    pub status: i16,
}

/// The ring.
#[derive(Debug)]
pub struct Blkif;

/// Bytes of a slot.
const SLOT: usize = 112;
/// Where the segments of a direct request begin.
const SEGMENTS_AT: usize = 24;
/// Where the pages of an indirect request begin.
const PAGES_AT: usize = 28;

impl Protocol for Blkif {
    type Request = Request;
    type Response = Response;
    type Slot = [u8; SLOT];
    const EMPTY: [u8; SLOT] = [0; SLOT];

    fn emit_request(request: &Request, slot: &mut [u8; SLOT]) {
        slot[8..16].copy_from_slice(&request.id().to_le_bytes());
        match request {
            Request::Direct(direct) => {
                slot[0] = direct.operation;
                slot[1] = direct.nr_segments;
                slot[2..4].copy_from_slice(&direct.handle.to_le_bytes());
                slot[16..24].copy_from_slice(&direct.sector.to_le_bytes());
                let places = slot[SEGMENTS_AT..].chunks_exact_mut(SEGMENT_SIZE);
                for (place, segment) in places.zip(&direct.segments) {
                    place.copy_from_slice(&segment.emit());
                }
            }
            Request::Discard(discard) => {
                slot[0] = OP_DISCARD;
                slot[1] = discard.flag;
                slot[2..4].copy_from_slice(&discard.handle.to_le_bytes());
                slot[16..24].copy_from_slice(&discard.sector.to_le_bytes());
                slot[24..32].copy_from_slice(&discard.sectors.to_le_bytes());
            }
            Request::Indirect(indirect) => {
                slot[0] = OP_INDIRECT;
                slot[1] = indirect.operation;
                slot[2..4].copy_from_slice(&indirect.nr_segments.to_le_bytes());
                slot[16..24].copy_from_slice(&indirect.sector.to_le_bytes());
                slot[24..26].copy_from_slice(&indirect.handle.to_le_bytes());
                for (place, gref) in slot[PAGES_AT..].chunks_exact_mut(4).zip(&indirect.pages) {
                    place.copy_from_slice(&gref.0.to_le_bytes());
                }
            }
        }
    }

    fn parse_request(slot: &[u8; SLOT]) -> Request {
        let (id, sector) = (
            u64::from_le_bytes(at(slot, 8)),
            u64::from_le_bytes(at(slot, 16)),
        );
        let second = u16::from_le_bytes(at(slot, 2));
        match slot[0] {
            OP_DISCARD => Request::Discard(Discard {
                flag: slot[1],
                handle: second,
                id,
                sector,
                sectors: u64::from_le_bytes(at(slot, 24)),
            }),
            OP_INDIRECT => Request::Indirect(Indirect {
                operation: slot[1],
                nr_segments: second,
                handle: u16::from_le_bytes(at(slot, 24)),
                id,
                sector,
                pages: core::array::from_fn(|i| {
                    GrantRef(u32::from_le_bytes(at(slot, PAGES_AT + 4 * i)))
                }),
            }),
            operation => Request::Direct(Direct {
                operation,
                nr_segments: slot[1],
                handle: second,
                id,
                sector,
                segments: core::array::from_fn(|i| {
                    Segment::parse(at(slot, SEGMENTS_AT + SEGMENT_SIZE * i))
                }),
            }),
        }
    }

    fn emit_response(response: &Response, slot: &mut [u8; SLOT]) {
        slot[..8].copy_from_slice(&response.id.to_le_bytes());
        slot[8] = response.operation;
        slot[10..12].copy_from_slice(&response.status.to_le_bytes());
    }

    fn parse_response(slot: &[u8; SLOT]) -> Response {
        Response {
            id: u64::from_le_bytes(at(slot, 0)),
            operation: slot[8],
            status: i16::from_le_bytes(at(slot, 10)),
        }
    }
}

/// The `N` bytes at `offset`, which are within the slot.
fn at<const N: usize>(slot: &[u8; SLOT], offset: usize) -> [u8; N] {
    core::array::from_fn(|i| slot[offset + i])
}

#[cfg(test)]
mod tests;
