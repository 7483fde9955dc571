//! A file system as blocks.

use super::cache::{Cache, Cached};
use super::superblock::{self, Superblock};
use super::{BlockDevice, Error};
use alloc::rc::Rc;
use xenlet_kernel::addr::PAGE_SIZE;

/// A file system, and the disk that it is on.
pub(super) struct Volume<D> {
    pub(super) superblock: Superblock,
    pub(super) cache: Cache<D>,
}

impl<D: BlockDevice> Volume<D> {
    /// Reads the superblock, and checks that the disk has all that it speaks of.
    pub(super) async fn open(device: D, cache_bytes: usize) -> Result<Self, Error> {
        const END: u64 = (superblock::AT + superblock::BYTES) as u64;
        let disk = device.geometry().bytes();
        if disk < END {
            return Err(Error::NotAFileSystem);
        }
        let cache = Cache::new(device, cache_bytes)?;
        let first = cache.page(0, 0).await?;
        let bytes = first.bytes().get(superblock::AT..).unwrap_or_default();
        let bytes = bytes.get(..superblock::BYTES).unwrap_or_default();
        let superblock = Superblock::parse(bytes)?;
        let needed = superblock.bytes();
        if needed > disk {
            return Err(Error::Truncated { needed, disk });
        }
        Ok(Self { superblock, cache })
    }

    /// The page that holds a block, and where in the page it begins; `None` outside of the file system. `next`
    /// more blocks will be wanted soon.
    pub(super) async fn block(
        &self,
        block: u64,
        next: u64,
    ) -> Result<Option<(Rc<Cached>, usize)>, Error> {
        const PAGE: u64 = PAGE_SIZE as u64;
        let shape = &self.superblock;
        if block < shape.first_block.into() || block >= shape.blocks {
            return Ok(None);
        }
        // No block crosses the end of a page: they are as large, or half or a quarter of it.
        let at = block.saturating_mul(shape.block_bytes.into());
        let last = at.saturating_add(next.saturating_mul(shape.block_bytes.into()));
        let cached = self.cache.page(at / PAGE, last / PAGE - at / PAGE).await?;
        Ok(usize::try_from(at % PAGE).ok().map(|at| (cached, at)))
    }

    /// The block that begins at `begin` of a page.
    pub(super) fn part<'c>(&self, cached: &'c Cached, begin: usize) -> &'c [u8] {
        let len = usize::try_from(self.superblock.block_bytes).unwrap_or(PAGE_SIZE);
        cached.bytes().get(begin..begin + len).unwrap_or_default()
    }
}
