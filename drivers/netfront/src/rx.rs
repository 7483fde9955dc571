//! Receiving: pages that the backend copies frames into.
//!
//! The response in a ring slot answers the request that was in it (`netif.h`: an extra has no id, so it must), and
//! the page of a request is kept by its slot. What a response says is looked at only when its page's grant has
//! ended: from then on nobody else can change the frame. A frame of one slot stays in its page, which goes back to the
//! pool, and to the backend, when whoever reads it drops it. A frame of several slots is joined in one buffer.

use crate::frame::{Body, Checksum, MAX_FRAME, Pool, RxFrame};
use crate::proto::{
    self, EXTRA_GSO, EXTRA_HASH, EXTRA_MCAST_ADD, EXTRA_MORE, Extra, GSO_TCPV4, GSO_TCPV6,
    MAX_SLOTS, RX_CSUM_BLANK, RX_DATA_VALIDATED, RX_EXTRA_INFO, RX_MORE_DATA, RxRequest,
    RxResponse,
};
use crate::{Lie, MIN_FRAME, Stats};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use xenlet_kernel::addr::{DomId, GrantRef, PAGE_SIZE};
use xenlet_kernel::memory;
use xenlet_kernel::page::{OutOfPages, Page, SharedPage};
use xenlet_kernel::ring::{FrontRing, slots};

/// Slots of the ring.
const SLOTS: u32 = slots::<proto::Rx>();
/// Pages posted at first: some frames of 64 KiB, in 256 KiB of memory.
const FIRST: u32 = 64;
/// Pages without which netback holds frames back: the largest frame, and as much again.
const FEWEST: u32 = 2 * MAX_SLOTS;
/// Kinds of extras, so how many a frame may have.
const MAX_EXTRAS: u32 = 4;

/// What is known of a frame whose slots have not all come.
#[derive(Debug, Default)]
struct Partial {
    /// Slots of data so far; 0 is no frame.
    slots: u32,
    extras: u32,
    /// The next slot is an extra.
    extra_next: bool,
    /// A slot of data follows when the extras are through.
    more: bool,
    /// The first slot's page, where its bytes begin and how many they are.
    head: Option<(Page, usize, usize)>,
    /// Where the slots are joined, if there are more than one.
    joined: Option<Vec<u8>>,
    checksum: Checksum,
    gso_size: Option<NonZeroU16>,
    spoilt: Option<Spoilt>,
}

/// Why a frame is dropped although the backend broke no rule.
#[derive(Clone, Copy, Debug)]
enum Spoilt {
    /// The backend says that it could not copy it.
    Status,
    /// More bytes than any frame has.
    TooLong,
    /// An extra that means nothing to us, so that we don't know what the frame is.
    Extra,
    /// No memory to join it in.
    Memory,
}

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
            ring: FrontRing::new(Page::new()?.share(peer)?),
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
        self.ring.page().gref()
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
            let page = page.share(self.peer)?;
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
            if self.partial.extra_next {
                self.pool.put(page);
                self.extra(response.extra())?;
            } else {
                self.data(id_of(slot), response, page)?;
            }
            if self.partial.extra_next || self.partial.more {
                continue;
            }
            let partial = core::mem::take(&mut self.partial);
            if let Some(frame) = self.complete(partial, stats) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn data(&mut self, due: u16, response: RxResponse, page: Page) -> Result<(), Lie> {
        let RxResponse {
            id,
            offset,
            flags,
            status,
        } = response;
        if id != due {
            return Err(Lie::RxId { due, said: id });
        }
        let first = self.partial.slots == 0;
        if flags & RX_EXTRA_INFO != 0 && !first {
            return Err(Lie::RxStrayExtra);
        }
        self.partial.slots += 1;
        if self.partial.slots > MAX_SLOTS {
            return Err(Lie::RxEndless);
        }
        self.partial.more = flags & RX_MORE_DATA != 0;
        self.partial.extra_next = flags & RX_EXTRA_INFO != 0;
        if first {
            self.partial.checksum = match flags & (RX_CSUM_BLANK | RX_DATA_VALIDATED) {
                0 => Checksum::Unknown,
                RX_DATA_VALIDATED => Checksum::Validated,
                _ => Checksum::Blank,
            };
        }
        let Ok(len) = u16::try_from(status) else {
            self.partial.spoilt = Some(Spoilt::Status);
            self.pool.put(page);
            return Ok(());
        };
        let (start, len) = (usize::from(offset), usize::from(len));
        if start + len > PAGE_SIZE {
            return Err(Lie::RxOutside {
                offset,
                len: status.unsigned_abs(),
            });
        }
        if first {
            self.partial.head = Some((page, start, len));
        } else {
            self.join(&page[start..start + len]);
            self.pool.put(page);
        }
        Ok(())
    }

    /// Appends a slot's bytes to those of the slots before it.
    fn join(&mut self, bytes: &[u8]) {
        if self.partial.joined.is_none() {
            self.partial.joined = self.pool.take_buffer();
        }
        let Some(buffer) = self.partial.joined.as_mut() else {
            self.partial.spoilt = Some(Spoilt::Memory);
            return;
        };
        if let Some((page, start, len)) = self.partial.head.take() {
            buffer.extend_from_slice(&page[start..start + len]);
            self.pool.put(page);
        }
        if buffer.len() + bytes.len() <= MAX_FRAME {
            buffer.extend_from_slice(bytes);
        } else {
            self.partial.spoilt = Some(Spoilt::TooLong);
        }
    }

    fn extra(&mut self, extra: Extra) -> Result<(), Lie> {
        self.partial.extras += 1;
        if self.partial.extras > MAX_EXTRAS {
            return Err(Lie::RxExtras);
        }
        self.partial.extra_next = extra.flags & EXTRA_MORE != 0;
        match extra.kind {
            EXTRA_GSO => {
                self.partial.gso_size = NonZeroU16::new(extra.gso_size());
                let known = matches!(extra.gso_kind(), GSO_TCPV4 | GSO_TCPV6);
                if !known || self.partial.gso_size.is_none() {
                    self.partial.spoilt = Some(Spoilt::Extra);
                }
            }
            // They change nothing in what the frame is.
            EXTRA_MCAST_ADD..=EXTRA_HASH => {}
            _ => self.partial.spoilt = Some(Spoilt::Extra),
        }
        Ok(())
    }

    /// The frame whose slots have all come; `None` when it is dropped.
    fn complete(&self, partial: Partial, stats: &mut Stats) -> Option<RxFrame> {
        let body = match (partial.joined, partial.head) {
            (Some(buffer), _) => Body::Joined(buffer),
            (None, Some((page, start, len))) => Body::InPage(page, start..start + len),
            (None, None) => Body::Gone,
        };
        let frame = RxFrame {
            body,
            pool: Rc::clone(&self.pool),
            checksum: partial.checksum,
            gso_size: partial.gso_size,
        };
        let dropped = match partial.spoilt {
            Some(Spoilt::Status) => &mut stats.rx_refused,
            Some(Spoilt::TooLong) => &mut stats.rx_too_long,
            Some(Spoilt::Extra) => &mut stats.rx_unknown_extra,
            Some(Spoilt::Memory) => &mut stats.rx_no_memory,
            None if frame.len() < MIN_FRAME => &mut stats.rx_too_short,
            None => {
                stats.rx_frames += 1;
                stats.rx_bytes += frame.len() as u64;
                return Some(frame);
            }
        };
        *dropped += 1;
        None
    }
}

/// The id of the request in `slot`.
fn id_of(slot: u32) -> u16 {
    u16::try_from(slot).unwrap_or(u16::MAX)
}
