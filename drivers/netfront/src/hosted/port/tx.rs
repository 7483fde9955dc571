//! Frames out of the guest's pages.

use super::{Port, map};
use crate::hosted::{Counts, Frame, Wire};
use crate::proto::{
    EXTRA_GSO, EXTRA_MORE, Extra, GSO_TCPV4, GSO_TCPV6, MAX_SLOTS, RSP_NULL, RSP_OKAY,
    TX_CSUM_BLANK, TX_DATA_VALIDATED, TX_EXTRA_INFO, TX_MORE_DATA, TxData, TxRequest, TxResponse,
};
use crate::{Checksum, Gso, GsoKind};
use std::num::NonZeroU16;
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::time::{Duration, now};

/// How many frames stay unanswered while answers are held.
const HELD: usize = 4;

impl Port {
    pub(super) fn take_frames(&mut self, wire: &mut dyn Wire, counts: &mut Counts) {
        for _ in 0..self.config.pace {
            if !self.tx_awake {
                return;
            }
            match self.tx_frame() {
                Some(frame) => {
                    counts.from_guest += 1;
                    wire.send(frame);
                }
                None => match self.tx.arm(1) {
                    Ok(more) => self.tx_awake = more,
                    Err(e) => panic!("netback would kill the interface: {e}"),
                },
            }
        }
    }

    fn tx_request(&mut self) -> Option<TxData> {
        match self.tx.pop() {
            Ok(Some(TxRequest::Data(data))) => Some(data),
            Ok(Some(TxRequest::Extra(_))) => unreachable!("slots are read as data"),
            Ok(None) => None,
            Err(e) => panic!("netback would kill the interface: {e}"),
        }
    }

    /// Takes a whole frame out of the transmit ring.
    ///
    /// # Panics
    /// For each thing that netback would kill the interface or drop the frame for.
    fn tx_frame(&mut self) -> Option<Frame> {
        let first = self.tx_request()?;
        assert!(first.size >= 14, "frame of {} bytes", first.size);
        let mut answers = Vec::new();
        let mut gso = None;
        let mut extra_next = first.flags & TX_EXTRA_INFO != 0;
        while extra_next {
            let extra = self.tx_request().map(|data| data.extra());
            let extra = extra.unwrap_or_else(|| panic!("missing extra"));
            extra_next = extra.flags & EXTRA_MORE != 0;
            assert_eq!(extra.kind, EXTRA_GSO, "extra that we don't send");
            gso = Some(self.tx_gso(extra, first));
        }
        let mut slots = vec![first];
        while slots[slots.len() - 1].flags & TX_MORE_DATA != 0 {
            let next = self.tx_request();
            let next = next.unwrap_or_else(|| panic!("need more slots"));
            assert_eq!(next.flags & TX_EXTRA_INFO, 0, "extra in mid-frame");
            slots.push(next);
        }
        assert!(slots.len() <= MAX_SLOTS as usize, "too many slots");
        assert!(self.config.sg || slots.len() == 1, "feature-sg was refused");
        let rest: u16 = slots[1..].iter().map(|slot| slot.size).sum();
        assert!(
            first.size > rest,
            "invalid tx request, slot size > remaining size"
        );
        let mut bytes = Vec::new();
        for (i, slot) in slots.iter().enumerate() {
            let size = if i == 0 {
                first.size - rest
            } else {
                assert!(
                    slot.flags & !TX_MORE_DATA == 0,
                    "flags on a later slot: {:#x}",
                    slot.flags
                );
                slot.size
            };
            let (offset, size) = (usize::from(slot.offset), usize::from(size));
            assert!(size > 0 && offset + size <= PAGE_SIZE, "crossing a page");
            let page = map(slot.gref, false);
            let start = bytes.len();
            bytes.resize(start + size, 0);
            page.as_ref().read(offset, &mut bytes[start..]);
            answers.push(TxResponse {
                id: slot.id,
                status: RSP_OKAY,
            });
            if i == 0 && gso.is_some() {
                // netback leaves in the id what was in the slot.
                answers.push(TxResponse {
                    id: 0xdead,
                    status: RSP_NULL,
                });
            }
        }
        self.held.push_back(answers);
        let blank = first.flags & TX_CSUM_BLANK != 0;
        assert!(!blank || self.config.tx_checksum, "blank checksum refused");
        let checksum = match (blank, first.flags & TX_DATA_VALIDATED != 0) {
            (true, _) => Checksum::Blank,
            (_, true) => Checksum::Validated,
            _ => Checksum::Unknown,
        };
        Some(Frame {
            bytes,
            checksum,
            gso,
        })
    }

    fn tx_gso(&self, extra: Extra, first: TxData) -> Gso {
        assert!(self.config.gso, "feature-gso was not offered");
        assert!(
            first.flags & TX_CSUM_BLANK != 0,
            "large segment with its checksum worked out"
        );
        let kind = match extra.gso_kind() {
            GSO_TCPV4 => GsoKind::TcpV4,
            GSO_TCPV6 => GsoKind::TcpV6,
            other => panic!("bad GSO type {other}"),
        };
        let size = NonZeroU16::new(extra.gso_size());
        let size = size.unwrap_or_else(|| panic!("GSO size must not be zero"));
        Gso { kind, size }
    }

    /// Answers transmitted frames, all or all but the last few.
    pub(super) fn answer(&mut self) {
        let hold = self.config.hold;
        let due = self.release.is_some_and(|release| release <= now());
        let keep = if hold == Duration::ZERO || due {
            0
        } else {
            HELD
        };
        while self.held.len() > keep {
            // The opposite order, for what was held.
            let answers = if keep == 0 && hold > Duration::ZERO {
                self.held.pop_back()
            } else {
                self.held.pop_front()
            };
            for answer in answers.into_iter().flatten() {
                self.tx.push(&answer);
            }
        }
        self.release = match (self.held.is_empty(), self.release) {
            (true, _) => None,
            (false, Some(release)) if !due => Some(release),
            (false, _) => Some(now() + hold),
        };
    }
}
