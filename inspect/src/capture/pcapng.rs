//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng): one section with one interface, its frames, and how many there were.

use alloc::format;
use alloc::vec::Vec;
use xenlet_kernel::time::Duration;
use xenlet_net::InterfaceInfo;
use xenlet_net::tap::Way;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

/// By which readers know the order of bytes.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// `LINKTYPE_ETHERNET`.
const ETHERNET: u16 = 1;

// Options of a section, an interface, a frame and the statistics.
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_IPV4ADDR: u16 = 4;
const IF_MACADDR: u16 = 6;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const EPB_DROPCOUNT: u16 = 4;
const ISB_STARTTIME: u16 = 2;
const ISB_ENDTIME: u16 = 3;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;

/// Times are in units of ten to the minus ninth of a second.
const NANOSECONDS: u8 = 9;

/// One frame.
pub(super) struct Packet<'f> {
    pub(super) at: Duration,
    pub(super) way: Way,
    /// What is kept of it, and how long it is.
    pub(super) bytes: &'f [u8],
    pub(super) len: usize,
    /// How many were lost since the one before.
    pub(super) lost: u64,
}

/// How many frames there were from when until when, and how many of them were lost.
pub(super) struct Statistics {
    pub(super) from: Duration,
    pub(super) until: Duration,
    pub(super) seen: u64,
    pub(super) lost: u64,
}

/// Writes what a file begins with.
pub(super) fn begin(out: &mut Vec<u8>, interface: &InterfaceInfo) {
    block(out, SECTION, |out| {
        out.extend(BYTE_ORDER.to_le_bytes());
        for version in [1_u16, 0] {
            out.extend(version.to_le_bytes());
        }
        // Its length, which nobody knows yet.
        out.extend(u64::MAX.to_le_bytes());
        let program = concat!("xenlet ", env!("CARGO_PKG_VERSION"));
        option(out, SHB_USERAPPL, program.as_bytes());
        end_of_options(out);
    });
    block(out, INTERFACE, |out| {
        for word in [ETHERNET, 0] {
            out.extend(word.to_le_bytes());
        }
        // Frames may be of any length.
        out.extend(0_u32.to_le_bytes());
        option(out, IF_NAME, format!("vif{}", interface.number).as_bytes());
        if let Some(cidr) = interface.address {
            let mask = u32::MAX.checked_shl(32 - u32::from(cidr.prefix_len));
            let mask = mask.unwrap_or(0).to_be_bytes();
            option(out, IF_IPV4ADDR, &[cidr.address.octets(), mask].concat());
        }
        option(out, IF_MACADDR, &interface.mac);
        option(out, IF_TSRESOL, &[NANOSECONDS]);
        end_of_options(out);
    });
}

/// Writes a frame, if all of it fits in what `out` has room for without growing, with the statistics behind it. Returns whether it does.
pub(super) fn packet(out: &mut Vec<u8>, packet: &Packet<'_>) -> bool {
    /// The block's own fields, the frame's, and both options; the statistics.
    const OTHERWISE: usize = (12 + 20 + 8 + 12 + 4) + (12 + 12 + 4 * 12 + 4);
    let most = packet.bytes.len().next_multiple_of(4) + OTHERWISE;
    if out.capacity() - out.len() < most {
        return false;
    }
    block(out, PACKET, |out| {
        out.extend(0_u32.to_le_bytes());
        out.extend(time(packet.at));
        for len in [packet.bytes.len(), packet.len] {
            out.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        }
        padded(out, packet.bytes);
        let direction: u32 = match packet.way {
            Way::In => 1,
            Way::Out => 2,
        };
        option(out, EPB_FLAGS, &direction.to_le_bytes());
        if packet.lost > 0 {
            option(out, EPB_DROPCOUNT, &packet.lost.to_le_bytes());
        }
        end_of_options(out);
    });
    true
}

/// Writes how many frames there were so far.
pub(super) fn statistics(out: &mut Vec<u8>, statistics: &Statistics) {
    block(out, STATISTICS, |out| {
        out.extend(0_u32.to_le_bytes());
        out.extend(time(statistics.until));
        option(out, ISB_STARTTIME, &time(statistics.from));
        option(out, ISB_ENDTIME, &time(statistics.until));
        option(out, ISB_IFRECV, &statistics.seen.to_le_bytes());
        option(out, ISB_IFDROP, &statistics.lost.to_le_bytes());
        end_of_options(out);
    });
}

/// Writes a block: its length is before and after its body.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let len = u32::try_from(out.len() + 4 - start).unwrap_or(u32::MAX);
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    out.extend(len.to_le_bytes());
}

/// A time since the Unix epoch: its upper half first, each of them little-endian.
fn time(at: Duration) -> [u8; 8] {
    let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
    nanos.rotate_left(32).to_le_bytes()
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_le_bytes());
    out.extend(u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
    padded(out, value);
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend([0; 4]);
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.extend(core::iter::repeat_n(0, bytes.len().wrapping_neg() % 4));
}
