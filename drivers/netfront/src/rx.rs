//! Receiving: pages that the backend copies frames into.
//!
//! The response in a ring slot answers the request that was in it (`netif.h`: an extra has no id, so it must), and
//! the page of a request is kept by its slot. What a response says is looked at only when its page's grant has
//! ended: from then on nobody else can change the frame. A frame of one slot stays in its page, which goes back to the
//! pool, and to the backend, when whoever reads it drops it. A frame of several slots is joined in one buffer
//! (`partial`).

mod partial;

use crate::frame::{Pool, RxFrame};
use crate::proto::{self, MAX_SLOTS, RxRequest};
use crate::{Lie, Stats};
use alloc::boxed::Box;
use alloc::rc::Rc;
use partial::Partial;
use xenlet_kernel::addr::{DomId, GrantRef, PAGE_SIZE};
use xenlet_kernel::grant::Access;
use xenlet_kernel::memory;
use xenlet_kernel::page::{OutOfPages, Page, SharedPage};
use xenlet_kernel::ring::{FrontRing, slots};

/// Slots of the ring.
const SLOTS: u32 = slots::<proto::Rx>(1);
/// Pages posted at first: some frames of 64 KiB, in 256 KiB of memory.
const FIRST: u32 = 64;
/// Pages without which netback holds frames back: the largest frame, and as much again.
const FEWEST: u32 = 2 * MAX_SLOTS;

#[derive(Debug)]
pub(crate) struct Rx {
    ring: FrontRing<proto::Rx, SharedPage>,
    /// By slot: the page that is with the backend.
    posted: Box<[Option<SharedPage>]>,
    /// How many requests were ever posted, and how many responses taken: ring indices.
    posts: u32,
    taken: u32,
    /// How many pages should be with the backend.
    target: u32,
    pool: Rc<Pool>,
    peer: DomId,
    partial: Partial,
}

impl Rx {
    /// A ring with its first pages posted and published.
    pub(crate) fn new(peer: DomId) -> Result<Self, OutOfPages> {
        let mut rx = Self {
            ring: FrontRing::shared(1, peer)?,
            posted: (0..SLOTS).map(|_| None).collect(),
            posts: 0,
            taken: 0,
            target: 0,
            pool: Rc::new(Pool::new(SLOTS as usize)?),
            peer,
            partial: Partial::default(),
        };
        rx.grow(FIRST);
        rx.refill()?;
        // Nobody listens yet.
        let _ = rx.ring.publish();
        if rx.target < FEWEST {
            return Err(OutOfPages);
        }
        Ok(rx)
    }

    pub(crate) fn ring_ref(&self) -> GrantRef {
        self.ring.pages()[0].gref()
    }

    /// Whether the backend has any page mapped.
    pub(crate) fn is_held(&self) -> bool {
        let mut posted = self.posted.iter().flatten();
        self.ring.pages()[0].is_held() || posted.any(SharedPage::is_held)
    }

    /// Slots in use, and all.
    pub(crate) fn slots(&self) -> (u32, u32) {
        (self.ring.outstanding(), self.ring.slots())
    }

    /// How many pages this ring has to its name.
    pub(crate) fn pages(&self) -> u32 {
        self.target
    }

    /// Adds pages up to `target`, as far as there is memory that nothing else will miss.
    fn grow(&mut self, target: u32) {
        let target = target.min(SLOTS);
        let more = target.saturating_sub(self.target) as usize;
        let free = memory::stats().map_or(usize::MAX, |stats| stats.free);
        if self.target >= FIRST && more * PAGE_SIZE > free / 8 {
            return;
        }
        while self.target < target {
            let Ok(page) = Page::new() else { return };
            self.pool.put(page);
            self.target += 1;
        }
    }

    /// Posts the pool's pages.
    fn refill(&mut self) -> Result<(), OutOfPages> {
        while self.ring.outstanding() < self.target {
            let Some(page) = self.pool.take() else { break };
            let page = page
                .share(self.peer, Access::ReadWrite)
                .map_err(|_page| OutOfPages)?;
            let slot = self.posts & (SLOTS - 1);
            self.ring.push(&RxRequest {
                id: id_of(slot),
                gref: page.gref(),
            });
            self.posted[slot as usize] = Some(page);
            self.posts = self.posts.wrapping_add(1);
        }
        Ok(())
    }

    /// Posts the pages that came back, more of them if the backend has few left, and shows it. True when the
    /// backend wants to be notified.
    pub(crate) fn publish(&mut self) -> Result<bool, Lie> {
        let answered = self.ring.available().map_err(Lie::RxProducer)?;
        let left = self.ring.outstanding() - answered;
        if left < self.target / 4 && self.target < SLOTS {
            self.grow(self.target * 2);
        }
        // No grant entry for a page: it is given up, and one fewer is posted.
        let _ = self.refill();
        Ok(self.ring.publish())
    }

    /// Whether a response waits.
    pub(crate) fn ready(&self) -> Result<bool, Lie> {
        Ok(self.ring.available().map_err(Lie::RxProducer)? > 0)
    }

    /// Asks for an event with the next response. True when one came in between.
    pub(crate) fn arm(&mut self) -> Result<bool, Lie> {
        self.ring.arm(1).map_err(Lie::RxProducer)
    }

    /// The next whole frame.
    pub(crate) fn receive(&mut self, stats: &mut Stats) -> Result<Option<RxFrame>, Lie> {
        while let Some(response) = self.ring.pop().map_err(Lie::RxProducer)? {
            let slot = self.taken & (SLOTS - 1);
            self.taken = self.taken.wrapping_add(1);
            // The ring takes no more responses than there are requests, and every request has its page here.
            let Some(page) = self.posted[slot as usize].take() else {
                break;
            };
            let page = page.reclaim().map_err(|_kept| Lie::RxPageKept)?;
            if self.partial.extra_is_next() {
                self.pool.put(page);
                self.partial.extra(response.extra())?;
            } else {
                let due = id_of(slot);
                self.partial.data(due, response, page, &self.pool)?;
            }
            if !self.partial.is_whole() {
                continue;
            }
            let whole = core::mem::take(&mut self.partial);
            if let Some(frame) = whole.complete(&self.pool, stats) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

/// The id of the request in `slot`.
fn id_of(slot: u32) -> u16 {
    u16::try_from(slot).unwrap_or(u16::MAX)
}
