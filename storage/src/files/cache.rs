//! What was read from the disk lately, in pages, and no more of it than was agreed.
//!
//! A page that nobody has asked for twice goes before one that somebody has: a large file that is read once does not
//! drive out the folders that lead to all of them. Whoever reads holds a page while it needs it, also when the cache has
//! let go of it. A page is read once, however many ask for it meanwhile, and reading several at a time is a
//! matter of how many are said to be wanted next.

use crate::{BlockDevice, IoError, SECTOR};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::ops::Range;
use core::task::{Poll, Waker};
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::page::{OutOfPages, Page, Pages};

/// Pages that one request reads at most.
const AHEAD: u64 = 32;

/// Pages that a cache has at least, so that a request is not too small to be worth it.
const LEAST: usize = 8;

/// A page of the disk, as it was read.
#[derive(Debug)]
pub(super) struct Cached {
    page: Page,
    /// Which KiB of it were found to have the right checksum.
    checked: Cell<u8>,
}

impl Cached {
    /// The bytes, zeros beyond the disk's end.
    pub(super) fn bytes(&self) -> &[u8] {
        &*self.page
    }

    /// Whether `check` says yes to what begins at `at`; it is asked once.
    pub(super) fn check(&self, at: usize, check: impl FnOnce() -> bool) -> bool {
        let bit = 1 << (at / 1024 % 8);
        if self.checked.get() & bit == 0 && check() {
            self.checked.update(|checked| checked | bit);
        }
        self.checked.get() & bit != 0
    }
}

/// A disk, and pages of it.
pub(super) struct Cache<D> {
    device: D,
    /// How many pages there may be, those included that are being read.
    capacity: usize,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    slots: BTreeMap<u64, Slot>,
    /// The pages that are here, the next to go first.
    queue: VecDeque<u64>,
    loading: usize,
    /// How often a request has ended.
    ended: u64,
    /// Who waits for that.
    waiting: Vec<Waker>,
}

enum Slot {
    Loading,
    Here { cached: Rc<Cached>, asked: u8 },
}

impl<D: BlockDevice> Cache<D> {
    /// A cache of `bytes` (32 KiB at least) for `device`.
    ///
    /// # Errors
    /// [`IoError::OutOfMemory`] if there is not even the memory to keep account of so many pages.
    pub(super) fn new(device: D, bytes: usize) -> Result<Self, IoError> {
        let capacity = (bytes / PAGE_SIZE).max(LEAST);
        let mut queue = VecDeque::new();
        queue
            .try_reserve_exact(capacity)
            .map_err(|_| IoError::OutOfMemory)?;
        Ok(Self {
            device,
            capacity,
            state: RefCell::new(State {
                queue,
                ..State::default()
            }),
        })
    }

    /// The disk.
    pub(super) fn device(&self) -> &D {
        &self.device
    }

    /// Bytes of the pages that are here now, and how many there may be.
    pub(super) fn usage(&self) -> (usize, usize) {
        let state = self.state.borrow();
        let pages = state.queue.len() + state.loading;
        (pages * PAGE_SIZE, self.capacity * PAGE_SIZE)
    }

    /// The page `index` of the disk. `next` more pages from there on will be wanted soon.
    pub(super) async fn page(&self, index: u64, next: u64) -> Result<Rc<Cached>, IoError> {
        loop {
            match self.begin(index, next) {
                Begun::Here(cached) => return Ok(cached),
                Begun::Load(load) => return load.run().await,
                Begun::Wait => self.state_changed().await,
            }
        }
    }

    fn begin(&self, index: u64, next: u64) -> Begun<'_, D> {
        let mut state = self.state.borrow_mut();
        match state.slots.get_mut(&index) {
            Some(Slot::Here { cached, asked }) => {
                *asked = asked.saturating_add(1);
                return Begun::Here(Rc::clone(cached));
            }
            Some(Slot::Loading) => return Begun::Wait,
            None => {}
        }
        let room = self.capacity.saturating_sub(state.loading);
        if room == 0 {
            return Begun::Wait;
        }
        // Not more than a quarter for what may never be wanted.
        let most = (room.min(self.capacity / 4) as u64).clamp(1, AHEAD);
        let wanted = index..index.saturating_add(next.saturating_add(1).min(most));
        let taken = state.slots.range(wanted.clone()).next().map(|(at, _)| *at);
        let pages = index..taken.unwrap_or(wanted.end);
        for page in pages.clone() {
            state.loading += 1;
            state.slots.insert(page, Slot::Loading);
        }
        state.shrink_to(self.capacity);
        Begun::Load(Load { cache: self, pages })
    }

    /// Waits until a request has ended.
    async fn state_changed(&self) {
        let before = self.state.borrow().ended;
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.ended != before {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|w| w.will_wake(cx.waker())) {
                state.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl State {
    /// Lets pages go until there are `most`, those being read included.
    fn shrink_to(&mut self, most: usize) {
        while self.queue.len() + self.loading > most {
            let Some(index) = self.queue.pop_front() else {
                return;
            };
            match self.slots.get_mut(&index) {
                // Asked for again since it came, or since it was last spared.
                Some(Slot::Here { asked, .. }) if *asked > 1 => {
                    *asked = 1;
                    self.queue.push_back(index);
                }
                _ => {
                    self.slots.remove(&index);
                }
            }
        }
    }
}

enum Begun<'c, D> {
    Here(Rc<Cached>),
    Load(Load<'c, D>),
    Wait,
}

/// Pages that are being read. Dropped half-way they count as never asked for.
struct Load<'c, D> {
    cache: &'c Cache<D>,
    pages: Range<u64>,
}

impl<D: BlockDevice> Load<'_, D> {
    /// Reads them; gives the first.
    async fn run(mut self) -> Result<Rc<Cached>, IoError> {
        let buffer = self.buffer()?;
        let sector = self.pages.start.saturating_mul((PAGE_SIZE / SECTOR) as u64);
        let (pages, result) = self.cache.device.read(sector, buffer).await;
        result?;
        let mut first = None;
        let mut state = self.cache.state.borrow_mut();
        for (index, page) in self.pages.clone().zip(pages.into_pages()) {
            let cached = Rc::new(Cached {
                page,
                checked: Cell::new(0),
            });
            // Whoever began this has asked for the first one.
            let asked = u8::from(first.is_none());
            first.get_or_insert_with(|| Rc::clone(&cached));
            state.slots.insert(index, Slot::Here { cached, asked });
            state.queue.push_back(index);
            state.loading = state.loading.saturating_sub(1);
        }
        // Not reached: the device gives back as many pages as it got.
        first.ok_or(IoError::Failed)
    }

    /// Where to read them to. Short of memory, the cache gives up what it has, and reads one page.
    fn buffer(&mut self) -> Result<Pages, IoError> {
        if let Ok(pages) = Pages::new(self.bytes()?) {
            return Ok(pages);
        }
        self.give_up(self.pages.start.saturating_add(1));
        self.cache.state.borrow_mut().shrink_to(0);
        Pages::new(self.bytes()?).map_err(|OutOfPages| IoError::OutOfMemory)
    }

    /// How many bytes they are: less than their size at the disk's end.
    fn bytes(&self) -> Result<usize, IoError> {
        let disk = self.cache.device.geometry().bytes();
        let at = |page: u64| page.saturating_mul(PAGE_SIZE as u64).min(disk);
        let bytes = at(self.pages.end).saturating_sub(at(self.pages.start));
        usize::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes > 0)
            .ok_or(IoError::OutOfRange {
                sector: self.pages.start.saturating_mul((PAGE_SIZE / SECTOR) as u64),
                len: PAGE_SIZE,
            })
    }
}

impl<D> Load<'_, D> {
    /// Leaves the pages from `end` on to others.
    fn give_up(&mut self, end: u64) {
        let mut state = self.cache.state.borrow_mut();
        for page in end..self.pages.end {
            if let Some(Slot::Loading) = state.slots.get(&page) {
                state.slots.remove(&page);
                state.loading = state.loading.saturating_sub(1);
            }
        }
        self.pages.end = end;
    }
}

impl<D> Drop for Load<'_, D> {
    fn drop(&mut self) {
        self.give_up(self.pages.start);
        let mut state = self.cache.state.borrow_mut();
        state.ended = state.ended.wrapping_add(1);
        let waiting = core::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
