//! Which blocks are free: one bit a block, in memory only. On disk nothing says it; opening a store derives it from what
//! the tree refers to, so it can't be wrong after a power cut.
//!
//! A bitmap takes 32 KiB a GiB of disk, all at once when the store is opened, whatever is stored and however scattered it
//! is. What is taken goes back in four ways:
//!
//! - what was never committed, when its [`Claim`] is dropped;
//! - what a commit replaced, when the commit is on disk and every read that began before it has ended ([`Reading`]);
//! - a blob's blocks, when in addition its last reader is gone ([`Pin`]);
//! - what a writer set aside and did not use, at once.

mod bitmap;

pub(super) use bitmap::Bitmap;

use super::Error;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

/// Adjacent blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) blocks: u64,
}

/// What a commit has replaced.
#[derive(Debug)]
pub(super) enum Retired {
    Node(u64),
    Blob(Vec<Extent>),
}

#[derive(Debug, Default)]
struct Readers {
    count: usize,
    /// The blob's blocks, once it is deleted.
    deleted: Option<Vec<Extent>>,
}

#[derive(Debug)]
struct State {
    taken: Bitmap,
    free: u64,
    /// Blocks that are kept back for commits that only delete.
    reserve: u64,
    /// Blocks that writers of known length will still take.
    promised: u64,
    /// Where the next search begins.
    cursor: u64,
    /// Reads that are going on, by the generation they read.
    reading: BTreeMap<u64, usize>,
    /// What commits replaced while older generations were read, oldest first.
    retired: VecDeque<(u64, Vec<Retired>)>,
    /// Blobs with readers, by their first block.
    pinned: BTreeMap<u64, Readers>,
}

/// The space of a store.
#[derive(Clone, Debug)]
pub(super) struct Space(Rc<RefCell<State>>);

impl Space {
    /// A space in which nothing is free.
    pub(super) fn new() -> Self {
        Self(Rc::new(RefCell::new(State {
            taken: Bitmap::default(),
            free: 0,
            reserve: 0,
            cursor: 0,
            promised: 0,
            reading: BTreeMap::new(),
            retired: VecDeque::new(),
            pinned: BTreeMap::new(),
        })))
    }

    /// All is free but what is `taken`.
    pub(super) fn set_taken(&self, taken: Bitmap) {
        let mut state = self.0.borrow_mut();
        state.free = taken.zeros();
        state.reserve = (taken.len() / 16).min(64);
        state.taken = taken;
    }

    /// Blocks that are free, and of these the ones that anybody may take.
    pub(super) fn free(&self) -> (u64, u64) {
        let state = self.0.borrow();
        (
            state.free,
            state.free.saturating_sub(state.reserve + state.promised),
        )
    }

    /// One block for a node. Those that are kept back are given only to a `delete`.
    pub(super) fn allocate_node(&self, delete: bool) -> Result<u64, Error> {
        let mut state = self.0.borrow_mut();
        let kept = if delete {
            0
        } else {
            state.reserve + state.promised
        };
        if state.free <= kept {
            return Err(Error::Full);
        }
        state.take(1).map(|extent| extent.start).ok_or(Error::Full)
    }

    /// Gives back a block of [`allocate_node`](Self::allocate_node).
    pub(super) fn release_node(&self, block: u64) {
        self.0.borrow_mut().release(Extent {
            start: block,
            blocks: 1,
        });
    }

    /// A claim of nothing yet, with `promised` blocks set aside for it.
    pub(super) fn claim(&self, promised: u64) -> Result<Rc<Claim>, Error> {
        let mut state = self.0.borrow_mut();
        if promised > state.free.saturating_sub(state.reserve + state.promised) {
            return Err(Error::Full);
        }
        state.promised += promised;
        Ok(Rc::new(Claim {
            space: self.clone(),
            extents: RefCell::default(),
            promised: Cell::new(promised),
        }))
    }

    /// A read of what is stored as of `generation` begins.
    pub(super) fn read(&self, generation: u64) -> Reading {
        *self.0.borrow_mut().reading.entry(generation).or_default() += 1;
        Reading {
            space: self.clone(),
            generation,
        }
    }

    /// What commit `generation`, which is on disk, has replaced.
    pub(super) fn retire(&self, generation: u64, retired: Vec<Retired>) {
        let mut state = self.0.borrow_mut();
        state.retired.push_back((generation, retired));
        state.settle();
    }

    /// Keeps the blob that begins with `block` from going away. Only for whoever holds a [`Reading`] in which it is there.
    pub(super) fn pin(&self, block: u64) -> Pin {
        self.0.borrow_mut().pinned.entry(block).or_default().count += 1;
        Pin {
            space: self.clone(),
            block,
        }
    }

    /// Whether `claim` is of this space.
    pub(super) fn is_of(&self, claim: &Claim) -> bool {
        Rc::ptr_eq(&self.0, &claim.space.0)
    }
}

impl State {
    /// Up to `want` adjacent blocks, the most there are if there are not so many.
    fn take(&mut self, want: u64) -> Option<Extent> {
        let found = self.taken.find_zeros(self.cursor, want)?;
        // Set aside before by nobody: `find_zeros` looked.
        self.taken.set(found);
        self.free -= found.blocks;
        self.cursor = found.start + found.blocks;
        Some(found)
    }

    fn release(&mut self, extent: Extent) {
        self.free += self.taken.clear(extent);
    }

    /// Gives back what no read needs any more.
    fn settle(&mut self) {
        let oldest = self.reading.keys().next().copied().unwrap_or(u64::MAX);
        while self
            .retired
            .front()
            .is_some_and(|(generation, _)| *generation <= oldest)
        {
            let Some((_, all)) = self.retired.pop_front() else {
                return;
            };
            for retired in all {
                match retired {
                    Retired::Node(block) => self.release(Extent {
                        start: block,
                        blocks: 1,
                    }),
                    Retired::Blob(extents) => self.release_blob(extents),
                }
            }
        }
    }

    fn release_blob(&mut self, extents: Vec<Extent>) {
        let first = extents.first().map_or(0, |extent| extent.start);
        if let Some(readers) = self.pinned.get_mut(&first) {
            readers.deleted = Some(extents);
            return;
        }
        for extent in extents {
            self.release(extent);
        }
    }
}

/// A read of one generation. Until it is dropped, nothing that was in the tree then is written over.
#[derive(Debug)]
pub(super) struct Reading {
    space: Space,
    generation: u64,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.space.0.borrow_mut();
        if let Some(count) = state.reading.get_mut(&self.generation) {
            *count -= 1;
            if *count == 0 {
                state.reading.remove(&self.generation);
                state.settle();
            }
        }
    }
}

/// A reader's hold on a blob.
#[derive(Debug)]
pub(super) struct Pin {
    space: Space,
    block: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.space.0.borrow_mut();
        if let Some(readers) = state.pinned.get_mut(&self.block) {
            readers.count -= 1;
            if readers.count == 0 {
                let readers = state.pinned.remove(&self.block);
                if let Some(extents) = readers.and_then(|readers| readers.deleted) {
                    state.release_blob(extents);
                }
            }
        }
    }
}

/// Blocks of a blob that is not committed. Shared by all who may still write to them; with the last one they go back,
/// unless they were [kept](Self::keep).
#[derive(Debug)]
pub(super) struct Claim {
    space: Space,
    extents: RefCell<Vec<Extent>>,
    promised: Cell<u64>,
}

impl Claim {
    /// Up to `want` adjacent blocks, two at least: what was promised first.
    pub(super) fn take(&self, want: u64) -> Result<Extent, Error> {
        self.extents
            .borrow_mut()
            .try_reserve(1)
            .map_err(|_| Error::OutOfMemory)?;
        let mut state = self.space.0.borrow_mut();
        let others = state.reserve + state.promised - self.promised.get();
        let want = want.min(state.free.saturating_sub(others));
        let extent = state.take(want).ok_or(Error::Full)?;
        let fulfilled = self.promised.get().min(extent.blocks);
        self.promised.set(self.promised.get() - fulfilled);
        state.promised -= fulfilled;
        self.extents.borrow_mut().push(extent);
        Ok(extent)
    }

    /// Gives back what is beyond the first `blocks` of what was taken last.
    pub(super) fn trim(&self, blocks: u64) {
        if let Some(last) = self.extents.borrow_mut().last_mut() {
            let blocks = blocks.min(last.blocks);
            let rest = Extent {
                start: last.start + blocks,
                blocks: last.blocks - blocks,
            };
            last.blocks = blocks;
            self.space.0.borrow_mut().release(rest);
        }
    }

    /// How many blocks it has.
    pub(super) fn blocks(&self) -> u64 {
        self.extents
            .borrow()
            .iter()
            .map(|extent| extent.blocks)
            .sum()
    }

    /// They belong to the tree now.
    pub(super) fn keep(&self) {
        self.extents.borrow_mut().clear();
    }

    /// Gives back what was promised and not taken.
    pub(super) fn settle(&self) {
        self.space.0.borrow_mut().promised -= self.promised.take();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.settle();
        let mut state = self.space.0.borrow_mut();
        for extent in self.extents.take() {
            state.release(extent);
        }
    }
}
