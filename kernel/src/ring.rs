//! Shared rings (`xen/io/ring.h`): requests one way, responses the other, in the slots of one page.
//!
//! Every index runs freely and wraps at 2^32; only its low bits choose a slot. What the peer writes is copied out of
//! shared memory once and looked at afterwards. A producer index that claims more than is outstanding is a lie.
//!
//! [`FrontRing`] is the guest's half; [`BackRing`] is the other one, for the hosted backends.

use crate::abi::ring::{REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD, SLOTS};
use crate::addr::PAGE_SIZE;
use crate::page::Window;
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

/// How many slots a page of `P` has (`__RING_SIZE`): the largest power of two that fits.
pub const fn slots<P: Protocol>() -> u32 {
    let fit = (PAGE_SIZE - SLOTS) / size_of::<P::Slot>();
    assert!(fit > 0 && fit < 4096, "a slot must fit the page");
    #[allow(
        clippy::cast_possible_truncation,
        reason = "just checked to be below 4096"
    )]
    let fit = fit as u32;
    1 << fit.ilog2()
}

/// Where the slot of `index` is in the page.
fn slot_at<P: Protocol>(index: u32) -> usize {
    SLOTS + (index & (slots::<P>() - 1)) as usize * size_of::<P::Slot>()
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

/// The frontend's half of a ring on the page `M`.
#[derive(Debug)]
pub struct FrontRing<P: Protocol, M: AsRef<Window>> {
    page: M,
    /// Requests written, of which those from `req_prod` on are not published.
    req_prod_pvt: u32,
    req_prod: u32,
    rsp_cons: u32,
    protocol: PhantomData<P>,
}

impl<P: Protocol, M: AsRef<Window>> FrontRing<P, M> {
    /// An empty ring on `page` (`SHARED_RING_INIT`, `FRONT_RING_INIT`).
    pub fn new(page: M) -> Self {
        let window = page.as_ref();
        window.write(0, &[0; SLOTS]);
        window.store_release(REQ_EVENT, 1);
        window.store_release(RSP_EVENT, 1);
        Self {
            page,
            req_prod_pvt: 0,
            req_prod: 0,
            rsp_cons: 0,
            protocol: PhantomData,
        }
    }

    /// The page, to be granted or reclaimed.
    pub fn page(&self) -> &M {
        &self.page
    }

    /// The page, when the ring is done with.
    pub fn into_page(self) -> M {
        self.page
    }

    /// How many requests can be pushed now (`RING_FREE_REQUESTS`).
    pub fn free(&self) -> u32 {
        slots::<P>() - self.req_prod_pvt.wrapping_sub(self.rsp_cons)
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
        self.page
            .as_ref()
            .write(slot_at::<P>(self.req_prod_pvt), slot.as_ref());
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
        let window = self.page.as_ref();
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
        let prod = self.page.as_ref().load_acquire(RSP_PROD);
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
        if self.available()? == 0 {
            return Ok(None);
        }
        let mut slot = P::EMPTY;
        self.page
            .as_ref()
            .read(slot_at::<P>(self.rsp_cons), slot.as_mut());
        self.rsp_cons = self.rsp_cons.wrapping_add(1);
        Ok(Some(P::parse_response(&slot)))
    }

    /// Asks for an event when `after` more responses are there (at least 1), then looks again: true when a response
    /// came in between, and the caller must not sleep (`RING_FINAL_CHECK_FOR_RESPONSES`).
    ///
    /// # Errors
    /// When the backend claims more than are outstanding.
    pub fn arm(&mut self, after: u32) -> Result<bool, BogusProducer> {
        self.page
            .as_ref()
            .store_release(RSP_EVENT, self.rsp_cons.wrapping_add(after.max(1)));
        // Full barrier: the backend sees our wish before we look for what it wrote without seeing it.
        fence(Ordering::SeqCst);
        Ok(self.available()? > 0)
    }
}

/// The backend's half of a ring on the page `M`.
#[derive(Debug)]
pub struct BackRing<P: Protocol, M: AsRef<Window>> {
    page: M,
    req_cons: u32,
    rsp_prod_pvt: u32,
    rsp_prod: u32,
    protocol: PhantomData<P>,
}

impl<P: Protocol, M: AsRef<Window>> BackRing<P, M> {
    /// The backend's half of the ring on `page`, from the start (`BACK_RING_INIT`).
    pub fn new(page: M) -> Self {
        Self {
            page,
            req_cons: 0,
            rsp_prod_pvt: 0,
            rsp_prod: 0,
            protocol: PhantomData,
        }
    }

    /// The page, to write it by hand: what a hostile backend does.
    pub fn page(&self) -> &M {
        &self.page
    }

    /// How many requests wait.
    ///
    /// # Errors
    /// When the frontend claims more than the ring holds.
    pub fn available(&self) -> Result<u32, BogusProducer> {
        let prod = self.page.as_ref().load_acquire(REQ_PROD);
        // A hostile backend pushes more than it popped: then there is no room.
        let room = slots::<P>().saturating_sub(self.req_cons.wrapping_sub(self.rsp_prod_pvt));
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
        let mut slot = P::EMPTY;
        self.page
            .as_ref()
            .read(slot_at::<P>(self.req_cons), slot.as_mut());
        self.req_cons = self.req_cons.wrapping_add(1);
        Ok(Some(P::parse_request(&slot)))
    }

    /// Writes a response that [`publish`](Self::publish) will show to the frontend.
    pub fn push(&mut self, response: &P::Response) {
        let mut slot = P::EMPTY;
        P::emit_response(response, &mut slot);
        self.page
            .as_ref()
            .write(slot_at::<P>(self.rsp_prod_pvt), slot.as_ref());
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
        let window = self.page.as_ref();
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
        self.page
            .as_ref()
            .store_release(REQ_EVENT, self.req_cons.wrapping_add(count));
        fence(Ordering::SeqCst);
        Ok(self.available()? >= count)
    }
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests;
