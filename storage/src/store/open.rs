//! Finds the store on a disk, and makes one.

use super::cache::Cache;
use super::checksum::{Checksums, Pointer};
use super::commit::Queue;
use super::shared::{Shared, io, read_block, write_block, write_superblock};
use super::space::{Bitmap, Extent, Space};
use super::superblock::{self, Copy, ENDS, Superblock, places};
use super::walk::Walk;
use super::{BLOCK, Error, Found, MIN_BLOCKS, Options, Why, identify};
use crate::BlockDevice;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use xenlet_blkfront::IoError;
use xenlet_kernel::entropy;
use xenlet_kernel::page::Page;

/// The newest superblock, and what must be written where before anything else is: two good copies of both. A copy that
/// can't be read now could be read the next time, and be newer than what is built on the others till then.
pub(super) struct Newest {
    pub(super) superblock: Superblock,
    repairs: Vec<(u64, Superblock)>,
}

/// Whole blocks of `disk`.
fn blocks_of<D: BlockDevice>(disk: &D) -> Result<u64, Error> {
    let bytes = disk.geometry().bytes();
    let blocks = bytes / BLOCK as u64;
    if blocks < MIN_BLOCKS {
        return Err(Error::TooSmall { bytes });
    }
    Ok(blocks)
}

async fn read_copy<D: BlockDevice>(disk: &D, place: u64) -> Result<Copy, Error> {
    match read_block(disk, place, "reading a superblock").await {
        Ok(page) => Ok(superblock::read(place, &page)),
        Err(Error::Io {
            error: IoError::Failed,
            ..
        }) => Ok(Copy::Unreadable),
        Err(e) => Err(e),
    }
}

/// Reads both copies of slot `slot`.
pub(super) async fn read_slot<D: BlockDevice>(
    disk: &D,
    slot: u64,
    blocks: u64,
) -> Result<[Copy; 2], Error> {
    let [near, far] = places(slot, blocks);
    Ok([read_copy(disk, near).await?, read_copy(disk, far).await?])
}

/// The size of the store on `disk`, by the first of its superblocks that can be read.
async fn find_size<D: BlockDevice>(disk: &D, blocks: u64) -> Result<u64, Error> {
    let [near_even, far_even] = places(0, blocks);
    let [near_odd, far_odd] = places(1, blocks);
    let mut unreadable = false;
    for place in [near_even, near_odd, far_even, far_odd] {
        match read_copy(disk, place).await? {
            Copy::Valid(found) => return Ok(found.blocks),
            Copy::OtherVersion(version) => return Err(Error::OtherVersion(version)),
            Copy::Unreadable => unreadable = true,
            Copy::Blank | Copy::Damaged => {}
        }
    }
    Err(match identify(disk).await? {
        _ if unreadable => UNREADABLE,
        Found::Store => Error::Superblocks {
            blocks: places(0, blocks),
        },
        found => Error::NotAStore(found),
    })
}

const UNREADABLE: Error = Error::Io {
    what: "reading a superblock",
    error: IoError::Failed,
};

/// The newest superblock of a slot that `copies` are of.
fn newest_of(copies: [Copy; 2]) -> Option<Superblock> {
    let valid = copies.into_iter().filter_map(|copy| match copy {
        Copy::Valid(found) => Some(found),
        _ => None,
    });
    valid.max_by_key(|found| found.generation)
}

/// Finds the newest superblock on `disk`, which is not written.
pub(super) async fn find<D: BlockDevice>(disk: &D) -> Result<Newest, Error> {
    let has = blocks_of(disk)?;
    let blocks = find_size(disk, has).await?;
    if blocks > has {
        let bytes = disk.geometry().bytes();
        let needs = blocks.saturating_mul(BLOCK as u64);
        return Err(Error::Truncated { needs, bytes });
    }
    let slots = [
        read_slot(disk, 0, blocks).await?,
        read_slot(disk, 1, blocks).await?,
    ];
    let newest = slots
        .into_iter()
        .filter_map(newest_of)
        .max_by_key(|found| found.generation);
    let Some(mut newest) = newest else {
        return Err(match slots.as_flattened().contains(&Copy::Unreadable) {
            true => UNREADABLE,
            false => Error::Superblocks {
                blocks: places(0, blocks),
            },
        });
    };
    // A disk that is being formatted has zeros and these two generations; later both copies of both slots are there.
    let unfinished = newest.generation <= 1;
    let mut repairs = Vec::new();
    for (slot, copies) in (0..).zip(slots) {
        let places = places(slot, blocks);
        let lost = Error::Superblocks { blocks: places };
        let right = match newest_of(copies) {
            Some(right) => right,
            None if copies.contains(&Copy::Unreadable) => return Err(UNREADABLE),
            None if unfinished && copies == [Copy::Blank; 2] => Superblock {
                generation: slot,
                ..newest
            },
            None => return Err(lost),
        };
        if (right.id, right.blocks) != (newest.id, newest.blocks) {
            return Err(lost);
        }
        for (place, copy) in places.into_iter().zip(copies) {
            match copy {
                Copy::Valid(found) if found == right => continue,
                // Two that say they are the same and are not.
                Copy::Valid(found) if found.generation == right.generation => return Err(lost),
                // A power cut in the middle of a commit, or of formatting.
                Copy::Valid(_) | Copy::Blank => {}
                Copy::Damaged | Copy::Unreadable | Copy::OtherVersion(_) => {
                    log::warn!(
                        "store: a superblock, in block {place}, is damaged or can't be read; its copy can"
                    );
                }
            }
            repairs.push((place, right));
        }
    }
    if unfinished {
        newest.generation = 1;
    }
    Ok(Newest {
        superblock: newest,
        repairs,
    })
}

/// Opens the store that `newest` is of.
pub(super) async fn open<D: BlockDevice>(
    disk: D,
    newest: Newest,
    mut options: Options,
) -> Result<Rc<Shared<D>>, Error> {
    options.request_bytes = options.request_bytes.clamp(BLOCK, 1 << 20) / BLOCK * BLOCK;
    let read_only = match (disk.geometry().read_only, options.read_only) {
        (_, true) => Some(Why::Options),
        (true, _) => Some(Why::Disk),
        _ => None,
    };
    let superblock = newest.superblock;
    if read_only.is_none() {
        for (place, superblock) in newest.repairs {
            let mut page = Page::new().map_err(|_| Error::OutOfMemory)?;
            superblock.write(&mut page);
            write_block(&disk, place, page, "writing a superblock").await?;
        }
        // A guest that was destroyed can leave a commit in the disk's cache, here to be read and not to stay. What it
        // replaced must not be written over before it does.
        disk.flush().await.map_err(io("flushing the disk"))?;
    }
    let shared = Rc::new(Shared {
        disk,
        options,
        checksums: Checksums::new(superblock.id),
        space: Space::new(),
        committed: Cell::new(superblock),
        read_only: Cell::new(read_only),
        failed_flushes: Cell::new(0),
        cache: RefCell::new(Cache::new(options.cache_bytes)),
        queue: Queue::default(),
    });
    if read_only.is_none() {
        let mut walk = Walk::new(&shared, |_, _, error| Err(error), |_| {})?;
        walk.everything().await?;
        shared.space.set_taken(walk.taken);
    }
    Ok(shared)
}

/// The blocks at both ends, which are the superblocks'.
pub(super) fn ends(blocks: u64) -> [Extent; 2] {
    [0, blocks - ENDS].map(|start| Extent {
        start,
        blocks: ENDS,
    })
}

/// Makes an empty store on `disk`, whatever is there.
pub(super) async fn format<D: BlockDevice>(disk: &D) -> Result<Newest, Error> {
    if disk.geometry().read_only {
        return Err(Error::ReadOnly(Why::Disk));
    }
    let blocks = blocks_of(disk)?;
    // The map of a disk that is too large for the memory would not fit later either.
    drop(Bitmap::new(blocks)?);
    let mut id = [0; 16];
    if entropy::fill(&mut id).is_err() {
        id[..8].copy_from_slice(&entropy::seed().to_le_bytes());
        id[8..].copy_from_slice(&entropy::seed().to_le_bytes());
    }
    // What was there must be gone before anything new is: else a power cut could leave a mixture.
    for place in [0, 1].into_iter().flat_map(|slot| places(slot, blocks)) {
        let page = Page::new().map_err(|_| Error::OutOfMemory)?;
        write_block(disk, place, page, "formatting").await?;
    }
    disk.flush().await.map_err(io("flushing the disk"))?;
    let mut superblock = Superblock {
        id: u128::from_le_bytes(id),
        blocks,
        generation: 0,
        root: Pointer::NONE,
        entries: 0,
        used: 0,
    };
    write_superblock(disk, &superblock).await?;
    superblock.generation = 1;
    write_superblock(disk, &superblock).await?;
    disk.flush().await.map_err(io("flushing the disk"))?;
    Ok(Newest {
        superblock,
        repairs: Vec::new(),
    })
}
