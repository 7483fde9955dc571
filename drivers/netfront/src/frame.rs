//! A received frame, and the pool that its memory goes back to.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::num::NonZeroU16;
use core::ops::{Deref, Range};
use xenlet_kernel::page::{OutOfPages, Page};

/// Bytes of the largest frame: an IP packet of 65,535 bytes behind an Ethernet header with a VLAN tag.
pub(crate) const MAX_FRAME: usize = 65_535 + 18;

/// What the backend says of a frame's TCP or UDP checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing: it must be verified.
    #[default]
    Unknown,
    /// It is right (`NETRXF_data_validated`).
    Validated,
    /// It was never worked out, since the frame comes from the backend's own machine (`NETRXF_csum_blank`): the field
    /// holds the pseudo-header's sum. The bytes are as good as validated.
    Blank,
}

/// Pages that wait to be posted, and the buffer in which frames of several slots are joined.
#[derive(Debug)]
pub(crate) struct Pool {
    pages: RefCell<Vec<Page>>,
    buffer: RefCell<Option<Vec<u8>>>,
}

impl Pool {
    /// An empty pool with room for `pages` pages, so that none of its operations allocates while no more than one
    /// frame of several slots is held.
    pub(crate) fn new(pages: usize) -> Result<Self, OutOfPages> {
        let mut places = Vec::new();
        places.try_reserve_exact(pages).map_err(|_| OutOfPages)?;
        Ok(Self {
            pages: RefCell::new(places),
            buffer: RefCell::new(Some(new_buffer().ok_or(OutOfPages)?)),
        })
    }

    pub(crate) fn put(&self, page: Page) {
        self.pages.borrow_mut().push(page);
    }

    pub(crate) fn take(&self) -> Option<Page> {
        self.pages.borrow_mut().pop()
    }

    /// A buffer for a frame of several slots; `None` when its readers hold it and there is no memory for another.
    pub(crate) fn take_buffer(&self) -> Option<Vec<u8>> {
        self.buffer.borrow_mut().take().or_else(new_buffer)
    }
}

fn new_buffer() -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(MAX_FRAME).ok().map(|()| buffer)
}

#[derive(Debug)]
pub(crate) enum Body {
    InPage(Page, Range<usize>),
    Joined(Vec<u8>),
    Gone,
}

/// A received Ethernet frame, without its checksum (FCS). Dropping it gives its memory back to the interface.
///
/// One that is held keeps a page from the backend, or makes the next frame of several slots allocate.
#[derive(Debug)]
pub struct RxFrame {
    pub(crate) body: Body,
    pub(crate) pool: Rc<Pool>,
    pub(crate) checksum: Checksum,
    pub(crate) gso_size: Option<NonZeroU16>,
}

impl RxFrame {
    /// What is known of the frame's TCP or UDP checksum.
    pub fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// How many bytes of payload each segment had that this frame was put together from; `None` for a frame that
    /// is one segment.
    pub fn gso_size(&self) -> Option<u16> {
        self.gso_size.map(NonZeroU16::get)
    }
}

impl Deref for RxFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.body {
            Body::InPage(page, range) => &page[range.clone()],
            Body::Joined(buffer) => buffer,
            Body::Gone => &[],
        }
    }
}

impl Drop for RxFrame {
    fn drop(&mut self) {
        match core::mem::replace(&mut self.body, Body::Gone) {
            Body::InPage(page, _) => self.pool.put(page),
            Body::Joined(mut buffer) => {
                buffer.clear();
                *self.pool.buffer.borrow_mut() = Some(buffer);
            }
            Body::Gone => {}
        }
    }
}
