//! Transmitting: frames written straight into pages that the backend may read, granted once.
//!
//! The pages are a circle, used in order. A frame begins on a page of its own and takes the pages after it, so that
//! who fills it sees one stretch of bytes, and no slot crosses a page. A page that would leave the frame in two
//! pieces at the end of the circle is skipped. Responses come in any order; pages are free again in the order
//! they were used, once every page before them is.
//!
//! A request's id is its page's number, so an id that is outstanding is a page that is in flight.

use crate::proto::{
    self, Extra, MAX_SLOTS, RSP_NULL, RSP_OKAY, TX_CSUM_BLANK, TX_DATA_VALIDATED, TX_EXTRA_INFO,
    TX_MORE_DATA, TxData, TxRequest,
};
use crate::{Features, Gso, Lie, MIN_FRAME, Stats, TxMeta};
use alloc::boxed::Box;
use alloc::vec;
use core::cell::Cell;
use xenlet_kernel::addr::{DomId, GrantRef, PAGE_SIZE};
use xenlet_kernel::memory;
use xenlet_kernel::page::{LentPages, OutOfPages, SharedPage};
use xenlet_kernel::ring::FrontRing;

/// Pages of the circle: the first of these that takes no more than an eighth of the free memory, or else the last.
/// Each is more than the largest frame.
const SIZES: [usize; 3] = [256, 64, 32];

/// Bytes of the largest frame, by the width of the `size` field.
const MAX_FRAME: usize = u16::MAX as usize;

#[derive(Debug)]
pub(crate) struct Tx {
    ring: FrontRing<proto::Tx, SharedPage>,
    pages: LentPages,
    /// By page: the backend has not answered for it.
    in_flight: Box<[bool]>,
    /// How many pages were ever used or skipped; the next is this one, modulo the circle.
    head: usize,
    /// How many of those are free again.
    tail: usize,
    /// Extras that have no answer yet.
    extras: u32,
    features: Features,
    room: Cell<Room>,
}

/// What whoever sends knows of the room for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// There was enough when it asked.
    Enough,
    /// It was told that there is not.
    Short,
    /// Responses came since.
    Back,
}

impl Tx {
    pub(crate) fn new(peer: DomId, features: Features) -> Result<Self, OutOfPages> {
        let ring = FrontRing::shared(1, peer)?;
        let free = memory::stats().map_or(usize::MAX, |stats| stats.free);
        let pages = SIZES
            .into_iter()
            .filter(|count| *count == SIZES[2] || count * PAGE_SIZE <= free / 8)
            .find_map(|count| LentPages::new(count, peer).ok())
            .ok_or(OutOfPages)?;
        Ok(Self {
            ring,
            in_flight: vec![false; pages.count()].into_boxed_slice(),
            pages,
            head: 0,
            tail: 0,
            extras: 0,
            features,
            room: Cell::new(Room::Enough),
        })
    }

    pub(crate) fn ring_ref(&self) -> GrantRef {
        self.ring.pages()[0].gref()
    }

    /// Slots in use, and all.
    pub(crate) fn slots(&self) -> (u32, u32) {
        (self.ring.outstanding(), self.ring.slots())
    }

    /// Pages in use, and all.
    pub(crate) fn pages(&self) -> (usize, usize) {
        (self.head - self.tail, self.pages.count())
    }

    /// Whether the backend has any page mapped.
    pub(crate) fn is_held(&self) -> bool {
        self.ring.pages()[0].is_held() || self.pages.is_held()
    }

    /// Bytes of the largest frame that can ever be sent.
    pub(crate) fn max_frame(&self) -> usize {
        if self.features.sg {
            MAX_FRAME
        } else {
            PAGE_SIZE
        }
    }

    /// The page that a frame of `count` pages begins on, and how many are skipped before it.
    fn place(&self, count: usize) -> Option<(usize, usize)> {
        let circle = self.pages.count();
        let at = self.head % circle;
        let skip = if at + count > circle { circle - at } else { 0 };
        let free = circle - (self.head - self.tail);
        (skip + count <= free).then_some(((at + skip) % circle, skip))
    }

    fn find(&self, len: usize) -> Option<(usize, usize)> {
        if !(MIN_FRAME..=self.max_frame()).contains(&len) {
            return None;
        }
        let count = len.div_ceil(PAGE_SIZE);
        // One more for an extra, whether this frame has one or not.
        let slots = u32::try_from(count + 1).ok()?;
        debug_assert!(slots <= MAX_SLOTS, "netback takes 18 slots a frame");
        let place = self.place(count).filter(|_| slots <= self.ring.free());
        if place.is_none() {
            self.room.set(Room::Short);
        }
        place
    }

    pub(crate) fn can_transmit(&self, len: usize) -> bool {
        self.find(len).is_some()
    }

    pub(crate) fn transmit<R>(
        &mut self,
        len: usize,
        meta: TxMeta,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> Option<R> {
        debug_assert!(meta.gso.is_none_or(|gso| self.features.gso(gso.kind)));
        let (first, skip) = self.find(len)?;
        let start = first * PAGE_SIZE;
        let result = fill(self.pages.bytes_mut(start..start + len));

        let mut flags = 0;
        if meta.csum_blank || meta.gso.is_some() {
            // The backend cuts segments only off a frame whose checksums are left to it.
            flags |= TX_CSUM_BLANK | TX_DATA_VALIDATED;
        }
        if meta.gso.is_some() {
            flags |= TX_EXTRA_INFO;
        }
        let count = len.div_ceil(PAGE_SIZE);
        for i in 0..count {
            let more = if i + 1 < count { TX_MORE_DATA } else { 0 };
            // The first slot says how long the whole frame is.
            let size = if i == 0 {
                len
            } else {
                PAGE_SIZE.min(len - i * PAGE_SIZE)
            };
            self.ring.push(&TxRequest::Data(TxData {
                gref: self.pages.gref(first + i),
                offset: 0,
                flags: flags | more,
                id: narrow(first + i),
                size: narrow(size),
            }));
            self.in_flight[first + i] = true;
            flags = 0;
            if i == 0
                && let Some(Gso { kind, size }) = meta.gso
            {
                self.ring
                    .push(&TxRequest::Extra(Extra::gso(kind.number(), size.get())));
                self.extras += 1;
            }
        }
        self.head += skip + count;
        Some(result)
    }

    /// Takes the responses that are there and frees the pages they are for.
    pub(crate) fn reap(&mut self, stats: &mut Stats) -> Result<(), Lie> {
        while let Some(response) = self.ring.pop().map_err(Lie::TxProducer)? {
            if self.room.get() == Room::Short {
                self.room.set(Room::Back);
            }
            if response.status == RSP_NULL {
                // It answers an extra, and its id is whatever was in the slot.
                self.extras = self.extras.checked_sub(1).ok_or(Lie::TxNull)?;
                continue;
            }
            if response.status > RSP_OKAY {
                return Err(Lie::TxStatus(response.status));
            }
            match self.in_flight.get_mut(usize::from(response.id)) {
                Some(in_flight) if *in_flight => *in_flight = false,
                _ => return Err(Lie::TxId(response.id)),
            }
            if response.status < RSP_OKAY {
                stats.tx_refused += 1;
            }
        }
        let circle = self.pages.count();
        while self.tail < self.head && !self.in_flight[self.tail % circle] {
            self.tail += 1;
        }
        Ok(())
    }

    /// Shows the backend what was sent. True when it wants to be notified.
    pub(crate) fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    /// True when responses came since somebody was told that there is no room. Until they do, and only then, an
    /// event comes when half of what is outstanding is answered.
    pub(crate) fn poll_room(&mut self, stats: &mut Stats) -> Result<bool, Lie> {
        if self.room.get() == Room::Short {
            let half = self.ring.outstanding() / 2 + 1;
            if self.ring.arm(half).map_err(Lie::TxProducer)? {
                self.reap(stats)?;
            }
        }
        let back = self.room.get() == Room::Back;
        if back {
            self.room.set(Room::Enough);
        }
        Ok(back)
    }
}

/// A number that is known to be below 65,536: a page of the circle, a frame's bytes.
fn narrow(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
