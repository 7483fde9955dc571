//! The data path of the backend's half: frames out of the guest's pages and into them.
//!
//! It sleeps as netback does: each ring is looked at after an event for it, until it is empty and armed. So a frontend
//! that forgets to notify hangs here as it would on Xen.

use super::netback::{flag, key};
use super::{Config, Counts, Frame, Wire, offload};
use crate::proto::{
    self, EXTRA_GSO, EXTRA_MORE, Extra, GSO_TCPV4, GSO_TCPV6, MAX_SLOTS, RSP_NULL, RSP_OKAY,
    RX_CSUM_BLANK, RX_DATA_VALIDATED, RX_EXTRA_INFO, RX_MORE_DATA, RxResponse, TX_CSUM_BLANK,
    TX_DATA_VALIDATED, TX_EXTRA_INFO, TX_MORE_DATA, TxData, TxRequest, TxResponse,
};
use crate::{Checksum, Gso, GsoKind};
use std::collections::VecDeque;
use std::num::NonZeroU16;
use xenlet_kernel::addr::{self, GrantRef, PAGE_SIZE};
use xenlet_kernel::hosted::{BackendPort, MappedPage, map_grant};
use xenlet_kernel::ring::BackRing;
use xenlet_kernel::time::{Duration, Instant, now};

/// How many frames stay unanswered while answers are held.
const HELD: usize = 4;

/// What the guest said it takes.
struct Takes {
    sg: bool,
    gso_tcpv4: bool,
    gso_tcpv6: bool,
    checksum: bool,
}

pub(super) struct Port {
    config: Config,
    takes: Takes,
    tx: BackRing<proto::Tx, MappedPage>,
    rx: BackRing<proto::Rx, MappedPage>,
    /// The transmit ring's event channel, or the only one.
    tx_end: BackendPort,
    rx_end: Option<BackendPort>,
    tx_awake: bool,
    /// A frame that the receive ring had too few slots for.
    stuck: Option<Frame>,
    rx_awake: bool,
    /// Answers to frames, not yet given.
    held: VecDeque<Vec<TxResponse>>,
    release: Option<Instant>,
}

/// Maps what the guest granted, as netback must be able to.
fn map(gref: GrantRef, write: bool) -> MappedPage {
    match map_grant(gref, write) {
        Ok(page) => page,
        Err(e) => panic!("netback could not map a page of the guest's: {e:?}"),
    }
}

fn bind(port: u32) -> BackendPort {
    match BackendPort::bind(addr::Port(port)) {
        Some(end) => end,
        None => panic!("netback could not bind the guest's event channel {port}"),
    }
}

impl Port {
    /// Reads the frontend's keys and maps its rings.
    pub(super) fn open(config: &Config) -> Self {
        assert!(
            flag(config, "request-rx-copy"),
            "netback refuses a frontend that does not say request-rx-copy"
        );
        assert!(
            flag(config, "feature-rx-notify"),
            "netback refuses a frontend that does not say feature-rx-notify"
        );
        let (tx_end, rx_end) = if config.split_channels {
            (
                bind(key(config, "event-channel-tx")),
                Some(bind(key(config, "event-channel-rx"))),
            )
        } else {
            (bind(key(config, "event-channel")), None)
        };
        Self {
            takes: Takes {
                sg: flag(config, "feature-sg"),
                gso_tcpv4: flag(config, "feature-gso-tcpv4"),
                gso_tcpv6: flag(config, "feature-gso-tcpv6"),
                checksum: !flag(config, "feature-no-csum-offload"),
            },
            tx: BackRing::new(map(GrantRef(key(config, "tx-ring-ref")), true)),
            rx: BackRing::new(map(GrantRef(key(config, "rx-ring-ref")), true)),
            tx_end,
            rx_end,
            tx_awake: true,
            stuck: None,
            rx_awake: true,
            held: VecDeque::new(),
            release: None,
            config: config.clone(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.release
    }

    pub(super) fn poll(&mut self, wire: &mut dyn Wire, counts: &mut Counts) -> bool {
        if self.tx_end.take_pending() {
            counts.events += 1;
            self.tx_awake = true;
            self.rx_awake |= self.rx_end.is_none();
        }
        if self.rx_end.as_ref().is_some_and(BackendPort::take_pending) {
            counts.events += 1;
            self.rx_awake = true;
        }
        let before = (counts.from_guest, counts.to_guest, self.held.len());
        self.take_frames(wire, counts);
        self.answer();
        self.give_frames(wire, counts);
        let (for_tx, for_rx) = (self.tx.publish(), self.rx.publish());
        match &self.rx_end {
            Some(rx_end) => {
                counts.notified += u64::from(for_tx) + u64::from(for_rx);
                if for_tx {
                    self.tx_end.notify();
                }
                if for_rx {
                    rx_end.notify();
                }
            }
            None if for_tx || for_rx => {
                counts.notified += 1;
                self.tx_end.notify();
            }
            None => {}
        }
        self.tx_awake || before != (counts.from_guest, counts.to_guest, self.held.len())
    }

    fn take_frames(&mut self, wire: &mut dyn Wire, counts: &mut Counts) {
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
    fn answer(&mut self) {
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

    fn give_frames(&mut self, wire: &mut dyn Wire, counts: &mut Counts) {
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
