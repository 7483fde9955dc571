//! Shared rings (`xen/io/ring.h`): requests one way, responses the other, in the slots of one page or several.
//!
//! Every index runs freely and wraps at 2^32; only its low bits choose a slot. What the peer writes is copied out of
//! shared memory once and looked at afterwards. A producer index that claims more than is outstanding is a lie.
//!
//! [`FrontRing`] is the guest's half; [`BackRing`] is the other one, for the hosted backends.

use crate::abi::ring::{REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD, SLOTS};
use crate::addr::{DomId, PAGE_SIZE};
use crate::grant::Access;
use crate::page::{OutOfPages, Page, SharedPage, Window};
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::{Ordering, fence};

/// What travels on one kind of ring. Both kinds of message share the slots, as a C union does.
pub trait Protocol {
    /// What the frontend asks.
    type Request: Copy + core::fmt::Debug;
    /// What the backend answers.
    type Response: Copy + core::fmt::Debug;
    /// The bytes of one slot, `[u8; N]` for the size of the C union.
    type Slot: Copy + AsRef<[u8]> + AsMut<[u8]>;
    /// A slot of zeros.
    const EMPTY: Self::Slot;

    /// Writes a request into a slot.
    fn emit_request(request: &Self::Request, slot: &mut Self::Slot);
    /// Reads a request from a slot; any bytes are one.
    fn parse_request(slot: &Self::Slot) -> Self::Request;
    /// Writes a response into a slot.
    fn emit_response(response: &Self::Response, slot: &mut Self::Slot);
    /// Reads a response from a slot; any bytes are one.
    fn parse_response(slot: &Self::Slot) -> Self::Response;
}

/// How many slots a ring of `P` has on `pages` pages (`__RING_SIZE`): the largest power of two that fits.
///
/// # Panics
/// If there are no pages or more than any ring has: a bug of the caller.
pub const fn slots<P: Protocol>(pages: usize) -> u32 {
    assert!(0 < pages && pages <= MAX_PAGES, "a ring has 1 to 16 pages");
    let fit = (pages * PAGE_SIZE - SLOTS) / size_of::<P::Slot>();
    assert!(fit > 0 && fit < 1 << 16, "a slot must fit the page");
    #[allow(
        clippy::cast_possible_truncation,
        reason = "just checked to be below 2^16"
    )]
    let fit = fit as u32;
    1 << fit.ilog2()
}

/// The most pages that a ring may have (`VDEV_XENBUS_MAX_RING_GRANT_REFS` of Linux).
pub const MAX_PAGES: usize = 16;

/// The pages of a ring, in their order. The head is in the first; a slot may lie across two.
#[derive(Debug)]
struct Area<P: Protocol, M: AsRef<Window>> {
    pages: Vec<M>,
    slots: u32,
    protocol: PhantomData<P>,
}

impl<P: Protocol, M: AsRef<Window>> Area<P, M> {
    fn new(pages: Vec<M>) -> Self {
        Self {
            slots: slots::<P>(pages.len()),
            pages,
            protocol: PhantomData,
        }
    }

    /// The page with the indices.
    fn head(&self) -> &Window {
        self.pages[0].as_ref()
    }

    /// Where the slot of `index` begins: the page, and where in it.
    fn place(&self, index: u32) -> (usize, usize) {
        let at = SLOTS + (index & (self.slots - 1)) as usize * size_of::<P::Slot>();
        (at / PAGE_SIZE, at % PAGE_SIZE)
    }

    fn read(&self, index: u32) -> P::Slot {
        let mut slot = P::EMPTY;
        let (page, at) = self.place(index);
        // So that the compiler knows how long it is, where it can.
        if at + size_of::<P::Slot>() <= PAGE_SIZE {
            self.pages[page].as_ref().read(at, slot.as_mut());
            return slot;
        }
        let bytes = slot.as_mut();
        let here = bytes.len().min(PAGE_SIZE - at);
        let (first, second) = bytes.split_at_mut(here);
        self.pages[page].as_ref().read(at, first);
        if !second.is_empty() {
            self.pages[page + 1].as_ref().read(0, second);
        }
        slot
    }

    fn write(&self, index: u32, slot: &P::Slot) {
        let (page, at) = self.place(index);
        if at + size_of::<P::Slot>() <= PAGE_SIZE {
            return self.pages[page].as_ref().write(at, slot.as_ref());
        }
        let bytes = slot.as_ref();
        let (first, second) = bytes.split_at(bytes.len().min(PAGE_SIZE - at));
        self.pages[page].as_ref().write(at, first);
        if !second.is_empty() {
            self.pages[page + 1].as_ref().write(0, second);
        }
    }
}

/// The peer's producer index claims more than can be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BogusProducer {
    /// What the peer wrote.
    pub prod: u32,
    /// How far we have come.
    pub cons: u32,
    /// How many there can be.
    pub outstanding: u32,
}

impl core::fmt::Display for BogusProducer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            prod,
            cons,
            outstanding,
        } = self;
        write!(
            f,
            "the ring's producer index is {prod} with {outstanding} outstanding after {cons}"
        )
    }
}

impl core::error::Error for BogusProducer {}

/// The frontend's half of a ring on pages `M`.
#[derive(Debug)]
pub struct FrontRing<P: Protocol, M: AsRef<Window>> {
    area: Area<P, M>,
    /// Requests written, of which those from `req_prod` on are not published.
    req_prod_pvt: u32,
    req_prod: u32,
    rsp_cons: u32,
    /// Responses that are known to be there, by the last look at the backend's index.
    known: u32,
}

impl<P: Protocol> FrontRing<P, SharedPage> {
    /// An empty ring on `pages` new pages that `peer` can read and write.
    ///
    /// # Errors
    /// When there is no memory or the grant table is full.
    ///
    /// # Panics
    /// If `pages` is 0 or more than [`MAX_PAGES`]: a bug of the caller.
    pub fn shared(pages: usize, peer: DomId) -> Result<Self, OutOfPages> {
        let share = |_| {
            let page = Page::new()?.share(peer, Access::ReadWrite);
            page.map_err(|_page| OutOfPages)
        };
        Ok(Self::new((0..pages).map(share).collect::<Result<_, _>>()?))
    }
}

impl<P: Protocol, M: AsRef<Window>> FrontRing<P, M> {
    /// An empty ring on `pages` (`SHARED_RING_INIT`, `FRONT_RING_INIT`).
    ///
    /// # Panics
    /// If there are no pages or more than [`MAX_PAGES`]: a bug of the caller.
    pub fn new(pages: Vec<M>) -> Self {
        let area = Area::new(pages);
        let window = area.head();
        window.write(0, &[0; SLOTS]);
        window.store_release(REQ_EVENT, 1);
        window.store_release(RSP_EVENT, 1);
        Self {
            area,
            req_prod_pvt: 0,
            req_prod: 0,
            rsp_cons: 0,
            known: 0,
        }
    }

    /// The pages, whose grants the backend is told.
    pub fn pages(&self) -> &[M] {
        &self.area.pages
    }

    /// The pages, when the ring is done with.
    pub fn into_pages(self) -> Vec<M> {
        self.area.pages
    }

    /// How many requests can be outstanding at once.
    pub fn slots(&self) -> u32 {
        self.area.slots
    }

    /// How many requests can be pushed now (`RING_FREE_REQUESTS`).
    pub fn free(&self) -> u32 {
        self.area.slots - self.req_prod_pvt.wrapping_sub(self.rsp_cons)
    }

    /// How many requests have no response yet, published or not.
    pub fn outstanding(&self) -> u32 {
        self.req_prod_pvt.wrapping_sub(self.rsp_cons)
    }

    /// Writes a request that [`publish`](Self::publish) will show to the backend.
    ///
    /// # Panics
    /// If the ring is full: the caller asks [`free`](Self::free) first.
    pub fn push(&mut self, request: &P::Request) {
        assert!(self.free() > 0, "ring: push on a full ring");
        let mut slot = P::EMPTY;
        P::emit_request(request, &mut slot);
        self.area.write(self.req_prod_pvt, &slot);
        self.req_prod_pvt = self.req_prod_pvt.wrapping_add(1);
    }

    /// Shows the backend what was pushed. True when it asked for an event (`RING_PUSH_REQUESTS_AND_CHECK_NOTIFY`).
    #[must_use = "the backend sleeps until it is notified"]
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.req_prod, self.req_prod_pvt);
        if old == new {
            return false;
        }
        self.req_prod = new;
        let window = self.area.head();
        // Release: the requests are there before the index says so.
        window.store_release(REQ_PROD, new);
        // Full barrier: the index is visible before we look whether the backend went to sleep without seeing it.
        fence(Ordering::SeqCst);
        let event = window.load_acquire(REQ_EVENT);
        new.wrapping_sub(event) < new.wrapping_sub(old)
    }

    /// How many responses wait to be popped.
    ///
    /// # Errors
    /// When the backend claims more than are outstanding.
    pub fn available(&self) -> Result<u32, BogusProducer> {
        // Acquire: the responses are read after the index that says they are there.
        let prod = self.area.head().load_acquire(RSP_PROD);
        let outstanding = self.req_prod.wrapping_sub(self.rsp_cons);
        let count = prod.wrapping_sub(self.rsp_cons);
        if count > outstanding {
            return Err(BogusProducer {
                prod,
                cons: self.rsp_cons,
                outstanding,
            });
        }
        Ok(count)
    }

    /// Takes the next response.
    ///
    /// # Errors
    /// When the backend claims more than are outstanding.
    pub fn pop(&mut self) -> Result<Option<P::Response>, BogusProducer> {
        if self.known == 0 {
            self.known = self.available()?;
        }
        if self.known == 0 {
            return Ok(None);
        }
        let slot = self.area.read(self.rsp_cons);
        self.rsp_cons = self.rsp_cons.wrapping_add(1);
        self.known -= 1;
        Ok(Some(P::parse_response(&slot)))
    }

    /// Asks for an event when `after` more responses are there (at least 1), then looks again: true when a response
    /// came in between, and the caller must not sleep (`RING_FINAL_CHECK_FOR_RESPONSES`).
    ///
    /// # Errors
    /// When the backend claims more than are outstanding.
    pub fn arm(&mut self, after: u32) -> Result<bool, BogusProducer> {
        self.area
            .head()
            .store_release(RSP_EVENT, self.rsp_cons.wrapping_add(after.max(1)));
        // Full barrier: the backend sees our wish before we look for what it wrote without seeing it.
        fence(Ordering::SeqCst);
        Ok(self.available()? > 0)
    }
}

/// The backend's half of a ring on pages `M`.
#[derive(Debug)]
pub struct BackRing<P: Protocol, M: AsRef<Window>> {
    area: Area<P, M>,
    req_cons: u32,
    rsp_prod_pvt: u32,
    rsp_prod: u32,
}

impl<P: Protocol, M: AsRef<Window>> BackRing<P, M> {
    /// The backend's half of the ring on `pages`, from the start (`BACK_RING_INIT`).
    ///
    /// # Panics
    /// If there are no pages or more than [`MAX_PAGES`].
    pub fn new(pages: Vec<M>) -> Self {
        Self {
            area: Area::new(pages),
            req_cons: 0,
            rsp_prod_pvt: 0,
            rsp_prod: 0,
        }
    }

    /// The pages, to write them by hand: what a hostile backend does.
    pub fn pages(&self) -> &[M] {
        &self.area.pages
    }

    /// How many requests wait.
    ///
    /// # Errors
    /// When the frontend claims more than the ring holds.
    pub fn available(&self) -> Result<u32, BogusProducer> {
        let prod = self.area.head().load_acquire(REQ_PROD);
        // A hostile backend pushes more than it popped: then there is no room.
        let room = self
            .area
            .slots
            .saturating_sub(self.req_cons.wrapping_sub(self.rsp_prod_pvt));
        let count = prod.wrapping_sub(self.req_cons);
        if count > room {
            return Err(BogusProducer {
                prod,
                cons: self.req_cons,
                outstanding: room,
            });
        }
        Ok(count)
    }

    /// Takes the next request.
    ///
    /// # Errors
    /// When the frontend claims more than the ring holds.
    pub fn pop(&mut self) -> Result<Option<P::Request>, BogusProducer> {
        if self.available()? == 0 {
            return Ok(None);
        }
        let slot = self.area.read(self.req_cons);
        self.req_cons = self.req_cons.wrapping_add(1);
        Ok(Some(P::parse_request(&slot)))
    }

    /// Writes a response that [`publish`](Self::publish) will show to the frontend.
    pub fn push(&mut self, response: &P::Response) {
        let mut slot = P::EMPTY;
        P::emit_response(response, &mut slot);
        self.area.write(self.rsp_prod_pvt, &slot);
        self.rsp_prod_pvt = self.rsp_prod_pvt.wrapping_add(1);
    }

    /// Shows the frontend what was pushed. True when it asked for an event.
    #[must_use = "the frontend sleeps until it is notified"]
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.rsp_prod, self.rsp_prod_pvt);
        if old == new {
            return false;
        }
        self.rsp_prod = new;
        let window = self.area.head();
        window.store_release(RSP_PROD, new);
        fence(Ordering::SeqCst);
        let event = window.load_acquire(RSP_EVENT);
        new.wrapping_sub(event) < new.wrapping_sub(old)
    }

    /// Asks for an event when `count` requests are there (at least 1), then looks again: true when they are already
    /// (`RING_FINAL_CHECK_FOR_REQUESTS`).
    ///
    /// # Errors
    /// When the frontend claims more than the ring holds.
    pub fn arm(&mut self, count: u32) -> Result<bool, BogusProducer> {
        let count = count.max(1);
        self.area
            .head()
            .store_release(REQ_EVENT, self.req_cons.wrapping_add(count));
        fence(Ordering::SeqCst);
        Ok(self.available()? >= count)
    }
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests;
