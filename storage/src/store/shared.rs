//! What all handles of one store share, and how it reads and writes blocks.

use super::cache::Cache;
use super::checksum::{Checksums, Pointer};
use super::commit::Queue;
use super::node::{Kind, Node};
use super::space::{Reading, Space};
use super::superblock::{Superblock, places};
use super::{BLOCK, Error, Options, Why};
use crate::BlockDevice;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use xenlet_blkfront::SECTOR;
use xenlet_kernel::page::{Page, Pages};

/// Sectors of a block.
pub(super) const SECTORS: u64 = (BLOCK / SECTOR) as u64;

/// One store, as long as anybody has a handle or anything is being done.
#[derive(Debug)]
pub(super) struct Shared<D> {
    pub(super) disk: D,
    pub(super) options: Options,
    pub(super) checksums: Checksums,
    pub(super) space: Space,
    /// What is on disk to stay.
    pub(super) committed: Cell<Superblock>,
    pub(super) read_only: Cell<Option<Why>>,
    /// How many flushes failed. What was written before one that failed may be lost.
    pub(super) failed_flushes: Cell<u64>,
    pub(super) cache: RefCell<Cache>,
    pub(super) queue: Queue,
}

/// Makes a disk's error one of the store's.
pub(super) fn io(what: &'static str) -> impl FnOnce(xenlet_blkfront::IoError) -> Error {
    move |error| match error {
        xenlet_blkfront::IoError::OutOfMemory => Error::OutOfMemory,
        error => Error::Io { what, error },
    }
}

/// Reads one block.
pub(super) async fn read_block<D: BlockDevice>(
    disk: &D,
    block: u64,
    what: &'static str,
) -> Result<Page, Error> {
    let pages = Pages::new(BLOCK).map_err(|_| Error::OutOfMemory)?;
    let (pages, done) = disk.read(block.saturating_mul(SECTORS), pages).await;
    done.map_err(io(what))?;
    pages.into_pages().pop().ok_or(Error::OutOfMemory)
}

/// Writes one block, and gives it back.
pub(super) async fn write_block<D: BlockDevice>(
    disk: &D,
    block: u64,
    page: Page,
    what: &'static str,
) -> Result<Page, Error> {
    let mut pages = Vec::new();
    pages.try_reserve_exact(1).map_err(|_| Error::OutOfMemory)?;
    pages.push(page);
    let pages = Pages::from_pages(pages, BLOCK);
    let (pages, done) = disk.write(block.saturating_mul(SECTORS), pages).await;
    done.map_err(io(what))?;
    pages.into_pages().pop().ok_or(Error::OutOfMemory)
}

/// Writes both copies of `superblock`.
pub(super) async fn write_superblock<D: BlockDevice>(
    disk: &D,
    superblock: &Superblock,
) -> Result<(), Error> {
    let mut page = Page::new().map_err(|_| Error::OutOfMemory)?;
    superblock.write(&mut page);
    for place in places(superblock.slot(), superblock.blocks) {
        page = write_block(disk, place, page, "writing a superblock").await?;
    }
    Ok(())
}

impl<D: BlockDevice> Shared<D> {
    /// The block of metadata that `at` points to, from memory or from the disk.
    pub(super) async fn load(&self, at: Pointer, kind: Kind) -> Result<Rc<Node>, Error> {
        let cached = self.cache.borrow_mut().get(at);
        if let Some(node) = cached {
            return Ok(node);
        }
        let node = Rc::new(self.read_node(at, kind).await?);
        self.cache.borrow_mut().insert(at, Rc::clone(&node));
        Ok(node)
    }

    /// The same, from the disk.
    pub(super) async fn read_node(&self, at: Pointer, kind: Kind) -> Result<Node, Error> {
        let what = kind.name();
        let corrupt = Error::Corrupt {
            what,
            block: at.block,
        };
        let page = read_block(&self.disk, at.block, what).await?;
        if self.checksums.of(at.block, &page[..]) != at.checksum {
            return Err(corrupt);
        }
        Node::parse(page, kind, self.committed.get().blocks).ok_or(corrupt)
    }

    /// Begins a read of what is on disk now.
    pub(super) fn reading(&self) -> (Pointer, Reading) {
        let committed = self.committed.get();
        (committed.root, self.space.read(committed.generation))
    }

    /// Whether it can be written.
    pub(super) fn check_writable(&self) -> Result<(), Error> {
        self.read_only
            .get()
            .map_or(Ok(()), |why| Err(Error::ReadOnly(why)))
    }
}
