//! What a host does for a guest that leaves work to it: checksums that are blank, large segments that are to be cut.
//!
//! Only what the guest's stack makes is understood: Ethernet, IPv4 or IPv6 without extension headers, TCP or UDP.
//! Anything else passes as it is.

use super::Frame;
use crate::Checksum;

const ETHERNET: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// TCP's FIN and PSH flags, for the last segment of several.
const LAST_ONLY: u8 = 0x09;

/// Where the headers of a frame are.
struct Layout {
    v4: bool,
    /// Where the TCP or UDP header begins.
    transport: usize,
    /// Where the packet ends: behind it there may be padding.
    end: usize,
    protocol: u8,
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn layout(bytes: &[u8]) -> Option<Layout> {
    let (v4, transport, len, protocol) = match be16(bytes, 12)? {
        0x0800 => (
            true,
            ETHERNET + usize::from(bytes.get(ETHERNET)? & 0xf) * 4,
            usize::from(be16(bytes, ETHERNET + 2)?),
            *bytes.get(ETHERNET + 9)?,
        ),
        0x86dd => (
            false,
            ETHERNET + 40,
            usize::from(be16(bytes, ETHERNET + 4)?) + 40,
            *bytes.get(ETHERNET + 6)?,
        ),
        _ => return None,
    };
    let end = ETHERNET + len;
    let header = if protocol == TCP { 20 } else { 8 };
    (matches!(protocol, TCP | UDP) && transport + header <= end && end <= bytes.len()).then_some(
        Layout {
            v4,
            transport,
            end,
            protocol,
        },
    )
}

/// The ones' complement sum of RFC 1071, folded.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

impl Layout {
    /// Where the TCP or UDP checksum is.
    fn checksum(&self) -> usize {
        self.transport + if self.protocol == TCP { 16 } else { 6 }
    }

    /// The sum of the pseudo-header: what the checksum field holds while it is blank.
    fn pseudo(&self, bytes: &[u8]) -> u16 {
        let addresses = if self.v4 {
            &bytes[ETHERNET + 12..ETHERNET + 20]
        } else {
            &bytes[ETHERNET + 8..ETHERNET + 40]
        };
        let len = u16::try_from(self.end - self.transport).unwrap_or(u16::MAX);
        sum(&[addresses, &[0, self.protocol], &len.to_be_bytes()])
    }
}

/// The sum that a blank checksum field must hold, and does hold: `None` for a frame that has no such field.
pub fn blank_sum(bytes: &[u8]) -> Option<(u16, u16)> {
    let layout = layout(bytes)?;
    Some((layout.pseudo(bytes), be16(bytes, layout.checksum())?))
}

/// Works out the frame's TCP or UDP checksum, if it is blank.
pub fn checksummed(mut frame: Frame) -> Frame {
    if frame.checksum == Checksum::Blank
        && let Some(layout) = layout(&frame.bytes)
    {
        let at = layout.checksum();
        // From the start, not from what the field holds: the same to the host that only adds up.
        frame.bytes[at..at + 2].fill(0);
        let pseudo = layout.pseudo(&frame.bytes).to_be_bytes();
        let mut sum = !sum(&[&frame.bytes[layout.transport..layout.end], &pseudo]);
        if sum == 0 && layout.protocol == UDP {
            sum = 0xffff;
        }
        frame.bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    frame.checksum = Checksum::Unknown;
    frame
}

/// The frames that a network card would send for this one.
pub fn finish(frame: Frame) -> Vec<Frame> {
    let large = frame.gso.zip(layout(&frame.bytes));
    let Some((gso, layout)) = large.filter(|(_, layout)| layout.protocol == TCP) else {
        return vec![checksummed(Frame { gso: None, ..frame })];
    };
    let data = layout.transport + usize::from(frame.bytes[layout.transport + 12] >> 4) * 4;
    if data >= layout.end {
        return vec![checksummed(Frame { gso: None, ..frame })];
    }
    let (head, payload) = frame.bytes[..layout.end].split_at(data);
    let pieces: Vec<&[u8]> = payload.chunks(usize::from(gso.size.get())).collect();
    let mut frames = Vec::new();
    let mut done = 0;
    for (i, piece) in pieces.iter().enumerate() {
        let mut bytes = [head, piece].concat();
        renumber(&mut bytes, &layout, i, done);
        if i + 1 < pieces.len() {
            bytes[layout.transport + 13] &= !LAST_ONLY;
        }
        done += piece.len();
        frames.push(checksummed(Frame {
            bytes,
            checksum: Checksum::Blank,
            gso: None,
        }));
    }
    frames
}

/// Gives segment `index`, whose payload begins `done` bytes into the large one's, its own length, number and sum.
fn renumber(bytes: &mut [u8], layout: &Layout, index: usize, done: usize) {
    let low = |n: usize| u16::try_from(n & 0xffff).unwrap_or(0);
    let len = bytes.len() - ETHERNET;
    if layout.v4 {
        bytes[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&low(len).to_be_bytes());
        let id = be16(bytes, ETHERNET + 4)
            .unwrap_or(0)
            .wrapping_add(low(index));
        bytes[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&id.to_be_bytes());
        bytes[ETHERNET + 10..ETHERNET + 12].fill(0);
        let header = !sum(&[&bytes[ETHERNET..layout.transport]]);
        bytes[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&header.to_be_bytes());
    } else {
        bytes[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&low(len - 40).to_be_bytes());
    }
    let at = layout.transport + 4;
    let seq = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    let done = u32::try_from(done).unwrap_or(u32::MAX);
    let seq = u32::from_be_bytes(seq).wrapping_add(done);
    bytes[at..at + 4].copy_from_slice(&seq.to_be_bytes());
}

#[cfg(test)]
mod tests;
