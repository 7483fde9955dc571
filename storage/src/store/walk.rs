//! Goes through all that a store refers to: at open to learn what is taken, and for a check.

use super::Error;
use super::blob::{Place, Position};
use super::bytes::Key;
use super::checksum::Pointer;
use super::node::{Cell, Kind, Node};
use super::open::ends;
use super::shared::Shared;
use super::space::{Bitmap, Extent};
use super::tree::is_within;
use crate::BlockDevice;
use alloc::vec::Vec;
use xenlet_blkfront::IoError;

/// What is told which key is concerned, if it is known, which block, and how. An error ends the walk.
pub(super) trait Complain: FnMut(Option<&[u8]>, u64, Error) -> Result<(), Error> {}
impl<F: FnMut(Option<&[u8]>, u64, Error) -> Result<(), Error>> Complain for F {}

/// A walk through everything. Each block is visited once: what is referred to twice is wrong, so there is an end.
pub(super) struct Walk<'a, D, C, P> {
    pub(super) shared: &'a Shared<D>,
    root: Pointer,
    pub(super) taken: Bitmap,
    pub(super) entries: u64,
    pub(super) blobs: u64,
    pub(super) blob_bytes: u64,
    /// Blocks that were visited.
    pub(super) used: u64,
    pub(super) complain: C,
    pub(super) progress: P,
    /// Whether the content of blobs is read as well.
    pub(super) content: bool,
}

/// An inner node on the way, and how far it is done.
struct Frame {
    node: Node,
    index: usize,
    low: Option<Key>,
    high: Option<Key>,
}

impl Frame {
    /// The next child: where and what it is, and the bounds of its keys.
    fn next(&mut self) -> Option<(Pointer, Kind, Option<Key>, Option<Key>)> {
        let mut cells = self.node.cells().skip(self.index);
        let cell = cells.next()?;
        let low = if self.index == 0 {
            self.low
        } else {
            Some(Key::new(cell.key))
        };
        let high = cells.next().map(|next| Key::new(next.key)).or(self.high);
        let at = cell.pointer()?;
        self.index += 1;
        Some((at, Kind::Node(self.node.level().checked_sub(1)?), low, high))
    }
}

impl<'a, D: BlockDevice, C: Complain, P: FnMut(u64)> Walk<'a, D, C, P> {
    /// A walk through what is on disk now.
    pub(super) fn new(shared: &'a Shared<D>, complain: C, progress: P) -> Result<Self, Error> {
        let committed = shared.committed.get();
        let mut taken = Bitmap::new(committed.blocks)?;
        for end in ends(committed.blocks) {
            taken.set(end);
        }
        Ok(Self {
            shared,
            root: committed.root,
            taken,
            entries: 0,
            blobs: 0,
            blob_bytes: 0,
            used: 0,
            complain,
            progress,
            content: false,
        })
    }

    /// All of it, and whether there is as much as the superblock says.
    pub(super) async fn everything(&mut self) -> Result<(), Error> {
        let committed = self.shared.committed.get();
        let mut frames: Vec<Frame> = Vec::new();
        if self.root.block != 0
            && let Some(root) = self.visit(self.root, Kind::Root, None, None).await?
        {
            self.enter(&mut frames, root, None, None).await?;
        }
        while let Some(frame) = frames.last_mut() {
            let Some((at, kind, low, high)) = frame.next() else {
                frames.pop();
                continue;
            };
            if let Some(node) = self.visit(at, kind, low, high).await? {
                self.enter(&mut frames, node, low, high).await?;
            }
        }
        if (self.entries, self.used) != (committed.entries, committed.used) {
            let what = "a superblock's count of keys and blocks";
            self.complain(None, committed.slot(), what)?;
        }
        Ok(())
    }

    /// Goes into a node: its children next, or its entries at once.
    async fn enter(
        &mut self,
        frames: &mut Vec<Frame>,
        node: Node,
        low: Option<Key>,
        high: Option<Key>,
    ) -> Result<(), Error> {
        if node.level() == 0 {
            for cell in node.cells() {
                self.entry(cell).await?;
            }
            return Ok(());
        }
        frames.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        frames.push(Frame {
            node,
            index: 0,
            low,
            high,
        });
        Ok(())
    }

    /// Marks what is referred to; `false` if something else referred to it before.
    fn take(&mut self, extent: Extent) -> bool {
        let fresh = self.taken.set(extent);
        if fresh {
            self.used += extent.blocks;
        }
        fresh
    }

    async fn visit(
        &mut self,
        at: Pointer,
        kind: Kind,
        low: Option<Key>,
        high: Option<Key>,
    ) -> Result<Option<Node>, Error> {
        if !self.take(Extent {
            start: at.block,
            blocks: 1,
        }) {
            self.complain(None, at.block, TWICE)?;
            return Ok(None);
        }
        (self.progress)(self.used);
        match self.shared.read_node(at, kind).await {
            Ok(node) if is_within(&node, low.as_ref(), high.as_ref()) => Ok(Some(node)),
            Ok(_) => {
                self.complain(None, at.block, kind.name())?;
                Ok(None)
            }
            Err(e) => {
                self.failed(None, e, at.block)?;
                Ok(None)
            }
        }
    }

    fn complain(
        &mut self,
        key: Option<&[u8]>,
        block: u64,
        what: &'static str,
    ) -> Result<(), Error> {
        (self.complain)(key, block, Error::Corrupt { what, block })
    }

    /// What could not be read is complained about; without a disk or memory there is no going on.
    pub(super) fn failed(&mut self, key: Option<&[u8]>, e: Error, block: u64) -> Result<(), Error> {
        match e {
            Error::Corrupt { block, .. } => (self.complain)(key, block, e),
            Error::Io {
                error: IoError::Failed,
                ..
            } => (self.complain)(key, block, e),
            e => Err(e),
        }
    }

    async fn entry(&mut self, cell: Cell<'_>) -> Result<(), Error> {
        self.entries += 1;
        let Some(content) = cell.item().and_then(|item| item.content) else {
            return Ok(());
        };
        self.blobs += 1;
        self.blob_bytes = self.blob_bytes.saturating_add(content.len);
        let key = Some(cell.key);
        let mut position = Position::new(Place::new(content));
        let mut shared_twice = None;
        loop {
            let list = |start| {
                let extent = Extent { start, blocks: 1 };
                if self.taken.set(extent) {
                    self.used += 1;
                    return Ok(());
                }
                shared_twice = Some(start);
                Err(Error::Corrupt {
                    what: TWICE,
                    block: start,
                })
            };
            let run = match position.next(self.shared, list).await {
                Ok(Some(run)) => run,
                Ok(None) => return Ok(()),
                // Where the others are is not known then.
                Err(e) => {
                    let block = content.first_block().unwrap_or(0);
                    return self.failed(key, e, shared_twice.unwrap_or(block));
                }
            };
            if !self.take(Extent {
                start: run.sums.block,
                blocks: u64::from(run.blocks),
            }) {
                self.complain(key, run.sums.block, TWICE)?;
                continue;
            }
            (self.progress)(self.used);
            if self.content {
                self.verify(cell.key, run).await?;
            }
        }
    }
}

const TWICE: &str = "a block that is in use twice";
