//! Frames into the guest's pages.

use super::{Port, map};
use crate::hosted::{Counts, Frame, Wire, offload};
use crate::proto::{
    Extra, RX_CSUM_BLANK, RX_DATA_VALIDATED, RX_EXTRA_INFO, RX_MORE_DATA, RxResponse,
};
use crate::{Checksum, GsoKind};

impl Port {
    pub(super) fn give_frames(&mut self, wire: &mut dyn Wire, counts: &mut Counts) {
        for _ in 0..self.config.pace {
            if self.stuck.is_some() && !self.rx_awake {
                return;
            }
            let Some(frame) = self.stuck.take().or_else(|| wire.recv()) else {
                return;
            };
            let frame = match frame.gso {
                Some(gso) if !self.takes_gso(gso.kind) => {
                    // What the guest's stack would have been spared.
                    for segment in offload::finish(frame) {
                        self.give_or_drop(segment, counts);
                    }
                    continue;
                }
                _ if frame.checksum == Checksum::Blank && !self.takes.checksum => {
                    offload::checksummed(frame)
                }
                _ => frame,
            };
            if !self.takes.sg && frame.bytes.len() > self.config.slot_bytes {
                counts.dropped += 1;
                continue;
            }
            match self.put(&frame) {
                true => counts.to_guest += 1,
                false => {
                    self.rx_awake = false;
                    self.stuck = Some(frame);
                }
            }
        }
    }

    fn give_or_drop(&mut self, frame: Frame, counts: &mut Counts) {
        match self.put(&frame) {
            true => counts.to_guest += 1,
            false => counts.dropped += 1,
        }
    }

    fn takes_gso(&self, kind: GsoKind) -> bool {
        match kind {
            GsoKind::TcpV4 => self.takes.gso_tcpv4,
            GsoKind::TcpV6 => self.takes.gso_tcpv6,
        }
    }

    /// Copies a frame into the guest's pages; false, and an event is asked for, when it has posted too few.
    fn put(&mut self, frame: &Frame) -> bool {
        let chunks = frame.bytes.len().div_ceil(self.config.slot_bytes).max(1);
        let needed = chunks + usize::from(frame.gso.is_some());
        match self.rx.arm(u32::try_from(needed).unwrap_or(u32::MAX)) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(e) => panic!("netback would kill the interface: {e}"),
        }
        for i in 0..chunks {
            let Ok(Some(request)) = self.rx.pop() else {
                unreachable!("there were {needed}");
            };
            let start = i * self.config.slot_bytes;
            let end = frame.bytes.len().min(start + self.config.slot_bytes);
            let page = map(request.gref, true);
            page.as_ref()
                .write(self.config.offset, &frame.bytes[start..end]);
            drop(page);
            let mut flags = if i + 1 < chunks { RX_MORE_DATA } else { 0 };
            if i == 0 {
                flags |= match frame.checksum {
                    Checksum::Blank => RX_CSUM_BLANK | RX_DATA_VALIDATED,
                    Checksum::Validated => RX_DATA_VALIDATED,
                    Checksum::Unknown => 0,
                };
            }
            if i == 0 && frame.gso.is_some() {
                flags |= RX_EXTRA_INFO;
            }
            self.rx.push(&RxResponse {
                id: request.id,
                offset: small(self.config.offset),
                flags,
                status: small(end - start).cast_signed(),
            });
            if i == 0
                && let Some(gso) = frame.gso
            {
                // The extra takes the place of the answer to the next request.
                let Ok(Some(_)) = self.rx.pop() else {
                    unreachable!("there were {needed}");
                };
                let extra = Extra::gso(gso.kind.number(), gso.size.get());
                self.rx.push(&RxResponse::of_extra(extra));
            }
        }
        true
    }
}

/// A number within a page.
fn small(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
