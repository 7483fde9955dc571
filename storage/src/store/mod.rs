//! A transactional key-value store with blobs, on a raw disk.
//!
//! ```no_run
//! # use xenlet_storage::{BlockDevice, store::{Error, Options, Store}};
//! # async fn example<D: BlockDevice + 'static>(disk: D) -> Result<(), Error> {
//! let store = Store::open(disk, Options::default()).await?;
//! let mut writer = store.blob_writer(None)?;
//! writer.write(b"any number of bytes, never held whole").await?;
//! let blob = writer.finish().await?;
//! let mut transaction = store.transaction();
//! transaction.if_absent(b"name")?;
//! transaction.put_blob(b"name", b"a small value beside it", blob)?;
//! transaction.commit().await?; // from here on it is there to stay
//! # Ok(())
//! # }
//! ```
//!
//! A transaction is there whole or not at all, and once [`Transaction::commit`] has answered it survives any power
//! cut. What is on disk is a tree of checksums: a block that is not what was written is an error, never data.

mod blob;
mod bytes;
mod cache;
mod check;
mod checksum;
mod commit;
mod draft;
mod error;
#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
pub mod fuzz;
mod identify;
mod node;
mod open;
mod shared;
mod space;
mod superblock;
mod transaction;
mod tree;
mod walk;

pub use blob::{Blob, BlobReader, BlobWriter};
pub use check::{Problem, Progress, Report};
pub use error::{Error, Why};
pub use identify::{Found, identify, is_blank};
pub use transaction::Transaction;

use self::shared::Shared;
use self::tree::{Target, View, copied};
use crate::BlockDevice;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Bound;

/// Bytes of a block, in which space is given out, whatever the disk's sectors are.
pub const BLOCK: usize = 4096;

/// What a superblock begins with.
const MAGIC: &[u8; 8] = b"xenletKV";

/// The version of what is on disk.
const VERSION: u32 = 1;

/// Blocks that a disk must have.
const MIN_BLOCKS: u64 = 32;

/// Bytes of the longest key. A key has at least one.
pub const MAX_KEY: usize = 255;

/// Bytes of the longest value. What is longer goes into a blob.
pub const MAX_VALUE: usize = 1024;

/// How a store uses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of metadata (the tree, checksums of blobs) to keep in memory. At least a few blocks are kept.
    pub cache_bytes: usize,
    /// Bytes of one request for a blob's content: a multiple of [`BLOCK`], up to 1 MiB.
    pub request_bytes: usize,
    /// How many such requests each reader and each writer of a blob has in flight, at least one. Each holds at most
    /// `request_bytes * (requests + 1)`.
    pub requests: usize,
    /// Never to write. What the store takes is then not read at open either: it opens though a part of it is damaged,
    /// and gives what is not.
    pub read_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 1 << 20,
            request_bytes: 128 << 10,
            requests: 4,
            read_only: false,
        }
    }
}

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: Vec<u8>,
    /// How many bytes its blob has, if it has one.
    pub blob_bytes: Option<u64>,
}

/// What a store holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys.
    pub entries: u64,
    /// Commits since it was formatted.
    pub generation: u64,
    /// Bytes that the disk has for the store.
    pub bytes: u64,
    /// Bytes that are taken: by what is stored, and by what is being written or still being read.
    pub used_bytes: u64,
    /// Bytes of metadata in memory now.
    pub cached_bytes: usize,
}

/// A store on the disk `D`. Clones are the same store.
#[derive(Debug)]
pub struct Store<D>(Rc<Shared<D>>);

impl<D> Clone for Store<D> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<D: BlockDevice + 'static> Store<D> {
    /// Opens the store on `disk`. Everything but the content of blobs is read and checked on the way, unless it is
    /// opened to be read only; a disk that can't be written is.
    ///
    /// # Errors
    /// [`Error::NotAStore`] says what is there instead, and the disk is left as it is. [`Error::Corrupt`] and the like
    /// say what is damaged.
    pub async fn open(disk: D, options: Options) -> Result<Self, Error> {
        let newest = open::find(&disk).await?;
        open::open(disk, newest, options).await.map(Self)
    }

    /// Opens the store on `disk`; makes an empty one first if every byte of the disk is zero.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_or_format_blank(disk: D, options: Options) -> Result<Self, Error> {
        match open::find(&disk).await {
            Err(Error::NotAStore(Found::Blank)) if is_blank(&disk).await? => {
                Self::format(disk, options).await
            }
            Err(Error::NotAStore(Found::Blank)) => Err(Error::NotAStore(Found::Unknown)),
            Err(e) => Err(e),
            Ok(newest) => open::open(disk, newest, options).await.map(Self),
        }
    }

    /// Makes an empty store on `disk`, whatever is there now, and opens it. Ask [`identify`] before.
    ///
    /// # Errors
    /// [`Error::TooSmall`], [`Error::ReadOnly`] or [`Error::Io`].
    pub async fn format(disk: D, options: Options) -> Result<Self, Error> {
        let newest = open::format(&disk).await?;
        open::open(disk, newest, options).await.map(Self)
    }

    /// What is stored under `key`.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::OutOfMemory`].
    pub async fn get(&self, key: &[u8]) -> Result<Option<Entry>, Error> {
        let (root, _reading) = self.0.reading();
        let way = self
            .0
            .descend(View { root, dirty: None }, Target::At(key))
            .await?;
        let Some(leaf) = way.steps.last() else {
            return Ok(None);
        };
        let found = leaf.node.cells().find(|cell| cell.key == key);
        found
            .map(|cell| Ok(tree::entry(cell, leaf.block)?.1))
            .transpose()
    }

    /// The first `limit` entries with keys in `range`, in the order of keys, all of one moment. To go on, ask for those
    /// after the last one: `(Bound::Excluded(&last), end)`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn range(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Entry)>, Error> {
        let (root, _reading) = self.0.reading();
        self.0
            .entries(View { root, dirty: None }, range, limit)
            .await
    }

    /// The entry with the greatest key in `range`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn last(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Option<(Vec<u8>, Entry)>, Error> {
        let (root, _reading) = self.0.reading();
        self.0.last_entry(View { root, dirty: None }, range).await
    }

    /// The value under `key` and a reader of its blob; `None` if there is no such key, or it has no blob. What the
    /// reader reads stays as it is, also when the key is deleted: its space is given back with the last reader.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn blob(&self, key: &[u8]) -> Result<Option<(Vec<u8>, BlobReader<D>)>, Error> {
        let (root, _reading) = self.0.reading();
        let way = self
            .0
            .descend(View { root, dirty: None }, Target::At(key))
            .await?;
        let Some(leaf) = way.steps.last() else {
            return Ok(None);
        };
        let item = leaf
            .node
            .cells()
            .find(|cell| cell.key == key)
            .and_then(|cell| cell.item());
        let Some((value, content)) = item.and_then(|item| Some((item.value, item.content?))) else {
            return Ok(None);
        };
        let pin = content.first_block().map(|block| self.0.space.pin(block));
        Ok(Some((
            copied(value)?,
            BlobReader::new(&self.0, content, pin),
        )))
    }

    /// A new blob, to be written from its begin to its end. With its length known, the space is set aside now.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::ReadOnly`].
    pub fn blob_writer(&self, expected_bytes: Option<u64>) -> Result<BlobWriter<D>, Error> {
        BlobWriter::new(&self.0, expected_bytes)
    }

    /// An empty transaction.
    pub fn transaction(&self) -> Transaction<D> {
        Transaction::new(self.clone())
    }

    /// How many bytes of blobs fit now, roughly: what is free but for what is kept back so that deletes always work.
    pub fn free_bytes(&self) -> u64 {
        self.0.space.free().1 * BLOCK as u64
    }

    /// What it holds and has done.
    pub fn stats(&self) -> Stats {
        let committed = self.0.committed.get();
        let blocks = committed.blocks - 2 * superblock::ENDS;
        let used = match self.0.read_only.get() {
            Some(_) => committed.used,
            None => blocks - self.0.space.free().0,
        };
        Stats {
            entries: committed.entries,
            generation: committed.generation,
            bytes: blocks * BLOCK as u64,
            used_bytes: used * BLOCK as u64,
            cached_bytes: self.0.cache.borrow().bytes(),
        }
    }

    /// Reads everything that is stored and says what is damaged. `progress` is called every now and then.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or [`Error::Io`] when the disk is gone. Damage is not an error but in the report.
    pub async fn check(&self, progress: impl FnMut(Progress)) -> Result<Report, Error> {
        check::check(&self.0, progress).await
    }
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests;
