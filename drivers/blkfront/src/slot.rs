//! One request on the ring: whose it is, and the memory that is with the backend for it.

use crate::block::SECTOR;
use crate::lend::{Lender, rescue};
use crate::ops::{Kind, Ops};
use crate::proto::{
    Direct, Indirect, MAX_INDIRECT_PAGES, MAX_SEGMENTS, OP_READ, OP_WRITE, Request, SEGMENT_SIZE,
    Segment,
};
use crate::queue::{Part, Queue};
use crate::{IoError, Lie};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use xenlet_kernel::addr::{DomId, GrantRef, PAGE_SIZE};
use xenlet_kernel::grant::Access;
use xenlet_kernel::page::{Page, SharedPage};

/// What the backend was asked, which its response must repeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) id: u64,
    pub(crate) operation: u8,
    pub(crate) indirect: bool,
}

/// A request's place, used again and again.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// While it is on the ring.
    pub(crate) asked: Option<Asked>,
    /// The callers' requests that it does: of reads and writes, those of adjacent sectors in their order.
    pub(crate) parts: Vec<Part>,
    /// One page for each unit of the parts of a read or a write.
    held: VecDeque<SharedPage>,
    /// The segments of an indirect request, once there was one: the backend may keep it mapped.
    table: Option<SharedPage>,
}

impl Slot {
    /// Takes what is next in `queue`, with all that is adjacent, up to `most` pages. True if there is anything.
    pub(crate) fn fill(
        &mut self,
        queue: &mut Queue,
        ops: &mut Ops,
        lender: &mut Lender,
        most: usize,
        peer: DomId,
    ) -> bool {
        loop {
            let next = match self.parts.last() {
                None => queue.next(),
                Some(last) => queue.next_joined(last),
            };
            let Some((op, kind, units)) = next.map(|part| (part.op, part.kind, part.units.clone()))
            else {
                break;
            };
            let Some(op) = ops.get(op) else { break };
            if self.parts.try_reserve(1).is_err() {
                break;
            }
            let count = units.len();
            let mut lent = 0;
            for unit in units {
                if !self.has_room(most, peer) {
                    break;
                }
                let Some(page) = lender.lend(op, unit, kind) else {
                    break;
                };
                self.held.push_back(page);
                lent += 1;
            }
            if lent > 0 {
                self.parts.extend(queue.take(lent));
            }
            if lent < count {
                break;
            }
        }
        !self.parts.is_empty()
    }

    /// Whether there is room for one more segment.
    fn has_room(&mut self, most: usize, peer: DomId) -> bool {
        let count = self.held.len();
        let fits = count < MAX_SEGMENTS || count < most && self.make_table(peer);
        fits && self.held.try_reserve(1).is_ok()
    }

    fn make_table(&mut self, peer: DomId) -> bool {
        if self.table.is_none() {
            // A backend that keeps grants maps this one to write to it as well. Nothing is ever read from it.
            let page = Page::new().ok();
            self.table = page.and_then(|page| page.share(peer, Access::ReadWrite).ok());
        }
        self.table.is_some()
    }

    /// Whether the backend has any page of the request mapped.
    pub(crate) fn is_held(&self) -> bool {
        self.held.iter().chain(&self.table).any(SharedPage::is_held)
    }

    /// The segments, in the order of the sectors.
    fn segments(&self) -> impl Iterator<Item = Segment> {
        let units = self.parts.iter();
        let sizes = units.flat_map(|part| part.units.clone().map(|unit| part.sectors_of(unit)));
        self.held.iter().zip(sizes).map(|(page, sectors)| Segment {
            gref: page.gref(),
            first: 0,
            last: u8::try_from(sectors.saturating_sub(1)).unwrap_or(LAST_SECTOR),
        })
    }

    /// The request of a read or a write that [`fill`](Self::fill) made.
    pub(crate) fn transfer(&self, id: u64, handle: u16) -> Option<Request> {
        let first = self.parts.first()?;
        let operation = match first.kind {
            Kind::Write => OP_WRITE,
            _ => OP_READ,
        };
        let sector = first.sector;
        let count = self.held.len();
        match (&self.table, u8::try_from(count)) {
            (_, Ok(nr_segments)) if count <= MAX_SEGMENTS => {
                let mut segments = [Segment::NONE; MAX_SEGMENTS];
                for (place, segment) in segments.iter_mut().zip(self.segments()) {
                    *place = segment;
                }
                Some(Request::Direct(Direct {
                    operation,
                    nr_segments,
                    handle,
                    id,
                    sector,
                    segments,
                }))
            }
            (Some(table), _) => {
                for (i, segment) in self.segments().enumerate() {
                    table.as_ref().write(i * SEGMENT_SIZE, &segment.emit());
                }
                let mut pages = [GrantRef(0); MAX_INDIRECT_PAGES];
                pages[0] = table.gref();
                Some(Request::Indirect(Indirect {
                    operation,
                    nr_segments: u16::try_from(count).ok()?,
                    handle,
                    id,
                    sector,
                    pages,
                }))
            }
            (None, _) => None,
        }
    }

    /// Takes the memory back from a backend that says it is done, and gives `then` each caller's part with what came of
    /// it: `result`, or that the disk is gone when its backend kept a page.
    ///
    /// # Errors
    /// [`Lie::PageKept`].
    pub(crate) fn take_back(
        &mut self,
        ops: &mut Ops,
        lender: &mut Lender,
        result: Result<(), IoError>,
        mut then: impl FnMut(&mut Ops, Part, Result<(), IoError>),
    ) -> Result<(), Lie> {
        let mut honest = Ok(());
        for part in self.parts.drain(..) {
            let mut taken = Ok(());
            let done = result.is_ok().then_some(part.kind);
            if let (Kind::Read | Kind::Write, Some(op)) = (part.kind, ops.get(part.op)) {
                for unit in part.units.clone() {
                    if let Some(page) = self.held.pop_front() {
                        taken = taken.and(lender.take_back(page, op, unit, done));
                    }
                }
            }
            honest = honest.and(taken);
            then(ops, part, taken.map_or(Err(IoError::Gone), |()| result));
        }
        if self.parts.capacity() > MAX_SEGMENTS {
            self.parts = Vec::new();
        }
        if self.held.capacity() > 2 * MAX_SEGMENTS {
            self.held = VecDeque::new();
        }
        honest
    }

    /// Puts the parts of a request that a backend never answered back into the queue, each with its pages.
    pub(crate) fn put_back(&mut self, ops: &mut Ops, queue: &mut Queue) {
        self.asked = None;
        for part in self.parts.drain(..) {
            let mut whole = true;
            if let (Kind::Read | Kind::Write, Some(op)) = (part.kind, ops.get(part.op)) {
                for unit in part.units.clone() {
                    if let Some(page) = self.held.pop_front() {
                        whole &= rescue(page, op, unit);
                    }
                }
            }
            let (op, count) = (part.op, part.units.len());
            if !whole || queue.again(part).is_err() {
                ops.finish(op, count, Err(IoError::OutOfMemory));
            }
        }
    }

    /// Takes the memory back that can be had from a backend that is not done, for the callers to have it; the rest is
    /// kept here.
    pub(crate) fn recall(&mut self, ops: &mut Ops, lender: &Lender) {
        for part in self.parts.drain(..) {
            if !matches!(part.kind, Kind::Read | Kind::Write) {
                continue;
            }
            for unit in part.units.clone() {
                let Some(page) = self.held.pop_front() else {
                    break;
                };
                // There is room: it was there a moment ago.
                self.held
                    .extend(lender.recall(page, ops.get(part.op), unit));
            }
        }
        self.asked = None;
    }
}

/// The last sector of a page.
const LAST_SECTOR: u8 = {
    assert!(PAGE_SIZE / SECTOR == 8, "a page has eight sectors");
    7
};

#[cfg(all(test, not(xenlet = "unix")))]
mod tests;
