//! Files on a disk, to be read: an ext4 file system (or ext2, ext3), as every Linux makes and mounts it.
//!
//! ```text
//!   Files::open, File::chunk ── path.rs   folders and links        ┐
//!                               inode.rs  what a file is           │ blocks of the file system, checksums
//!                               map.rs    where its blocks lie     ┘
//!                               volume.rs the superblock's shape
//!                               cache.rs  pages of the disk, a bounded number of them
//! ```
//!
//! Nothing of the file system is held but the pages of the cache and, in each [`File`], its inode: mounting reads three
//! blocks, and memory in use does not depend on how large the disk is or how many files are open.
//!
//! What the image says is an allegation: numbers are checked where they are used, what has a checksum
//! (`metadata_csum`, which mkfs.ext4 gives by itself) is compared with it, and damage is an [`Error`] for the
//! file concerned. The contents of files have no checksum in ext4.
//!
//! Not read, and refused with a line that says what to do: a journal that was not replayed, blocks beyond 4 KiB,
//! and the features `inline_data`, `meta_bg`, encryption and `casefold`. Owners and permissions say nothing here.

mod bytes;
mod cache;
mod error;
mod inode;
mod map;
mod path;
mod superblock;
mod volume;

pub use error::Error;

use crate::BlockDevice;
use alloc::rc::Rc;
use cache::Cached;
use core::cell::Cell;
use core::ops::Deref;
use core::time::Duration;
use inode::{Inode, Kind};
use map::Run;
use volume::Volume;
use xenlet_kernel::addr::PAGE_SIZE;

/// A mounted file system. A clone is another handle to the same one.
pub struct Files<D>(Rc<Volume<D>>);

impl<D> Clone for Files<D> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// What a path leads to.
#[derive(Debug)]
pub enum Entry<D> {
    /// A file.
    File(File<D>),
    /// A folder.
    Folder,
}

impl<D: BlockDevice> Files<D> {
    /// Mounts what is on `device`, never to write to it, with a cache of `cache_bytes` (32 KiB at least). That is all the
    /// memory that it takes, but for one page for each [`Chunk`] that is held.
    ///
    /// # Errors
    /// If the disk fails, or holds nothing that can be read here.
    pub async fn mount(device: D, cache_bytes: usize) -> Result<Self, Error> {
        let volume = Volume::open(device, cache_bytes).await?;
        let root = volume.inode(inode::ROOT).await?;
        if root.kind != Kind::Folder {
            return Err(root.corrupt("the root is not a folder"));
        }
        Ok(Self(Rc::new(volume)))
    }

    /// Finds what is at `path`: absolute, with `/` between names that are compared byte for byte. Links are
    /// followed, from the root of this file system and never out of it.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for what is neither a file nor a folder; if the disk fails or is damaged.
    pub async fn open(&self, path: &str) -> Result<Entry<D>, Error> {
        let inode = self.0.resolve(path.as_bytes()).await?;
        match inode.kind {
            Kind::Folder => Ok(Entry::Folder),
            Kind::File => Ok(Entry::File(File {
                volume: Rc::clone(&self.0),
                inode,
                run: Cell::new(None),
            })),
            Kind::Link | Kind::Special => Err(Error::NotFound),
        }
    }

    /// Bytes of the cache that are in use, and how many there may be.
    pub fn cache_usage(&self) -> (usize, usize) {
        self.0.cache.usage()
    }

    /// Bytes of the file system.
    pub fn bytes(&self) -> u64 {
        self.0.superblock.bytes()
    }

    /// The disk that it is on.
    pub fn device(&self) -> &D {
        self.0.cache.device()
    }
}

/// A file, open to be read.
pub struct File<D> {
    volume: Rc<Volume<D>>,
    inode: Inode,
    /// Where the blocks lie that were asked for last.
    run: Cell<Option<Run>>,
}

impl<D> core::fmt::Debug for File<D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("File")
            .field("inode", &self.inode.number)
            .field("len", &self.inode.len)
            .finish_non_exhaustive()
    }
}

impl<D> File<D> {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.inode.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.inode.len == 0
    }

    /// When its content was changed: the time since 1970.
    pub fn modified(&self) -> Duration {
        self.inode.modified.since_1970()
    }

    /// What tells this state of this file from every other: another file system, another file, or another content
    /// give another version.
    pub fn version(&self) -> Version {
        Version {
            file_system: self.volume.superblock.identity,
            inode: self.inode.number,
            generation: self.inode.generation,
            len: self.inode.len,
            modified: self.inode.modified.0,
            changed: self.inode.changed.0,
        }
    }
}

/// What tells a state of a file from every other, as long as Linux keeps its times. [`Display`](core::fmt::Display)
/// gives it in hexadecimal digits and hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    file_system: u32,
    inode: u32,
    generation: u32,
    len: u64,
    modified: u64,
    changed: u64,
}

impl core::fmt::Display for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{:x}-{:x}-{:x}-{:x}-{:x}-{:x}",
            self.file_system, self.inode, self.generation, self.len, self.modified, self.changed
        )
    }
}

impl<D: BlockDevice> File<D> {
    /// The bytes from `offset` on: some, up to a page of them, or none at the file's end. `wanted` is how many will be
    /// asked for from there on: so much is read ahead, where it lies together.
    ///
    /// # Errors
    /// If the disk fails or is damaged.
    pub async fn chunk(&self, offset: u64, wanted: u64) -> Result<Chunk, Error> {
        let left = self.inode.len.saturating_sub(offset);
        if left == 0 {
            return Ok(Chunk::zeros(0));
        }
        let size = u64::from(self.volume.superblock.block_bytes);
        let block = offset / size;
        let known = self.run.get().and_then(|run| run.from(block));
        let run = match known {
            Some(run) => run,
            None => self.volume.locate(&self.inode, block).await?,
        };
        self.run.set(Some(run));
        let within = offset % size;
        let together = run.blocks.saturating_mul(size).saturating_sub(within);
        let usable = left.min(together);
        let Some(at) = run.at else {
            return Ok(Chunk::zeros(usable));
        };
        let next = (within.saturating_add(usable.min(wanted.max(1))) - 1) / size;
        let Some((cached, begin)) = self.volume.block(at, next).await? else {
            return Err(self
                .inode
                .corrupt("a block of it lies outside of the file system"));
        };
        let begin = begin + narrow(within);
        let end = begin + narrow(usable).min(PAGE_SIZE.saturating_sub(begin));
        Ok(Chunk {
            cached: Some(cached),
            begin,
            end,
        })
    }

    /// Reads bytes from `offset` on into `into`: as many as it takes, or less at the file's end. Gives how many.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk).
    pub async fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let offset = offset.saturating_add(done as u64);
            let chunk = self.chunk(offset, rest.len() as u64).await?;
            let count = chunk.len().min(rest.len());
            if count == 0 {
                break;
            }
            rest[..count].copy_from_slice(&chunk[..count]);
            done += count;
        }
        Ok(done)
    }
}

/// Bytes of a file, where the cache has them: held, they stay what they are.
#[derive(Debug)]
pub struct Chunk {
    /// `None` for zeros.
    cached: Option<Rc<Cached>>,
    begin: usize,
    end: usize,
}

impl Chunk {
    /// As many zeros as there are to be had, up to `len`.
    fn zeros(len: u64) -> Self {
        Self {
            cached: None,
            begin: 0,
            end: narrow(len).min(PAGE_SIZE),
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        static ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
        let page = self.cached.as_ref().map_or(&ZEROS[..], |page| page.bytes());
        page.get(self.begin..self.end).unwrap_or_default()
    }
}

/// A number of bytes, as many as memory could have.
fn narrow(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
