//! Writes a blob as it comes.

use super::Blob;
use super::layout::{INLINE, RUN_CONTENT, RUNS_A_BLOCK, Run, blocks_of, chained, inline, needs};
use crate::BlockDevice;
use crate::store::checksum::Pointer;
use crate::store::node::Node;
use crate::store::shared::{SECTORS, Shared, io};
use crate::store::space::{Claim, Extent};
use crate::store::{BLOCK, Error};
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use xenlet_kernel::page::{Page, Pages};
use xenlet_kernel::run::{JoinHandle, spawn_named};

/// Blocks of content of the first run of a blob whose length is not known. The ones after it double.
const FIRST_RUN: u64 = 32;

/// Writes a blob. Dropped before [`finish`](Self::finish), its space is given back.
#[derive(Debug)]
pub struct BlobWriter<D> {
    shared: Rc<Shared<D>>,
    claim: Rc<Claim>,
    expected: Option<u64>,
    len: u64,
    failed_flushes: u64,
    runs: Vec<Run>,
    /// The run that is being written.
    open: Option<Open>,
    /// What goes to the disk next.
    chunk: Option<Chunk>,
    flight: VecDeque<JoinHandle<Result<Pages, Error>>>,
    /// A buffer that has come back.
    idle: Option<Pages>,
    /// Why it can't go on.
    failed: Option<Error>,
}

#[derive(Debug)]
struct Open {
    extent: Extent,
    sums: Vec<u64>,
}

#[derive(Debug)]
struct Chunk {
    pages: Pages,
    filled: usize,
}

impl<D: BlockDevice + 'static> BlobWriter<D> {
    pub(in crate::store) fn new(
        shared: &Rc<Shared<D>>,
        expected: Option<u64>,
    ) -> Result<Self, Error> {
        shared.check_writable()?;
        Ok(Self {
            claim: shared.space.claim(expected.map_or(0, needs))?,
            shared: Rc::clone(shared),
            expected,
            len: 0,
            failed_flushes: shared.failed_flushes.get(),
            runs: Vec::new(),
            open: None,
            chunk: None,
            flight: VecDeque::new(),
            idle: None,
            failed: None,
        })
    }

    /// Adds `bytes` to the end. Waits only when as many requests are in flight as may be.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLong`], [`Error::OutOfMemory`], [`Error::Io`], [`Error::ReadOnly`]. The blob can't be
    /// finished then.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let spare = self.spare().await?;
            let (now, rest) = bytes.split_at(bytes.len().min(spare.len()));
            spare[..now.len()].copy_from_slice(now);
            self.advance(now.len());
            bytes = rest;
        }
        Ok(())
    }

    /// Some of the buffer that is sent to the disk next, never empty: to be filled from its begin, and then
    /// [`advance`](Self::advance)d. Saves the copy that [`write`](Self::write) makes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn spare(&mut self) -> Result<&mut [u8], Error> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if let Err(e) = self.make_room().await {
            self.failed = Some(e);
            return Err(e);
        }
        let left = self
            .expected
            .map_or(u64::MAX, |expected| expected - self.len);
        let chunk = self.chunk.as_mut().ok_or(Error::OutOfMemory)?;
        let (index, at) = (chunk.filled / BLOCK, chunk.filled % BLOCK);
        let page = chunk
            .pages
            .chunks_mut()
            .nth(index)
            .ok_or(Error::OutOfMemory)?;
        let room = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(page.len() - at);
        Ok(&mut page[at..at + room])
    }

    /// Says that the first `len` bytes of [`spare`](Self::spare) are filled.
    ///
    /// # Panics
    /// If that is more than there were: a bug of the caller.
    pub fn advance(&mut self, len: usize) {
        let chunk = self.chunk.as_mut();
        let room = chunk
            .as_ref()
            .map_or(0, |chunk| chunk.pages.len() - chunk.filled);
        assert!(
            len <= room,
            "blob writer: advanced by {len} bytes of {room}"
        );
        if let Some(chunk) = chunk {
            chunk.filled += len;
            self.len += len as u64;
        }
    }

    /// How many bytes it has so far.
    #[allow(clippy::len_without_is_empty, reason = "a blob may well be empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Writes what is left and waits until all of it is written. It is there to stay with the transaction it goes into.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(mut self) -> Result<Blob, Error> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.send_chunk().await?;
        self.close_run().await?;
        let content = if self.runs.len() <= INLINE {
            inline(self.len, &self.runs)?
        } else {
            chained(self.len, self.send_chain().await?)?
        };
        while !self.flight.is_empty() {
            self.land().await?;
        }
        self.claim.settle();
        Ok(Blob {
            claim: self.claim,
            len: self.len,
            content,
            failed_flushes: self.failed_flushes,
        })
    }

    /// Sees to it that there is a chunk that isn't full.
    async fn make_room(&mut self) -> Result<(), Error> {
        if let Some(expected) = self.expected.filter(|&expected| expected == self.len) {
            return Err(Error::TooLong { expected });
        }
        if self
            .chunk
            .as_ref()
            .is_some_and(|chunk| chunk.filled == chunk.pages.len())
        {
            self.send_chunk().await?;
        }
        if self.chunk.is_some() {
            return Ok(());
        }
        if self.open.as_ref().is_some_and(|open| open.left() == 0) {
            self.close_run().await?;
        }
        let left = match &self.open {
            Some(open) => open.left(),
            None => self.open_run()?,
        };
        let blocks = left.min((self.shared.options.request_bytes / BLOCK) as u64);
        let len = usize::try_from(blocks).unwrap_or(1) * BLOCK;
        let pages = match self.idle.take() {
            Some(mut pages) => {
                pages.resize(len).map_err(|_| Error::OutOfMemory)?;
                pages
            }
            None => Pages::new(len).map_err(|_| Error::OutOfMemory)?,
        };
        self.chunk = Some(Chunk { pages, filled: 0 });
        Ok(())
    }

    /// Takes blocks for the next run, and says for how many blocks of content.
    fn open_run(&mut self) -> Result<u64, Error> {
        self.shared.check_writable()?;
        let content = match self.expected {
            Some(expected) => blocks_of(expected - self.len),
            None => FIRST_RUN << self.runs.len().min(4),
        };
        self.runs.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        let extent = self.claim.take(content.clamp(1, RUN_CONTENT) + 1)?;
        if extent.blocks < 2 {
            // No room for content beside the checksums.
            self.claim.trim(0);
            return Err(Error::Full);
        }
        let mut sums = Vec::new();
        let content = extent.blocks - 1;
        let count = usize::try_from(content).unwrap_or(usize::MAX);
        sums.try_reserve_exact(count)
            .map_err(|_| Error::OutOfMemory)?;
        self.open = Some(Open { extent, sums });
        Ok(content)
    }

    /// Sends what is in the chunk.
    async fn send_chunk(&mut self) -> Result<(), Error> {
        let (Some(Chunk { mut pages, filled }), Some(open)) =
            (self.chunk.take(), self.open.as_mut())
        else {
            return Ok(());
        };
        if filled == 0 {
            // A buffer was asked for, and then there was nothing to put into it.
            return Ok(());
        }
        pages
            .resize(filled.next_multiple_of(BLOCK))
            .map_err(|_| Error::OutOfMemory)?;
        if let Some(last) = pages
            .chunks_mut()
            .next_back()
            .filter(|_| filled % BLOCK > 0)
        {
            last[filled % BLOCK..].fill(0);
        }
        let first = open.next_block();
        for (block, page) in (first..).zip(pages.chunks()) {
            open.sums.push(self.shared.checksums.of(block, page));
        }
        self.send(first, pages).await
    }

    /// Sends the checksums of the run, whose content is sent.
    async fn close_run(&mut self) -> Result<(), Error> {
        let Some(Open { extent, sums }) = self.open.take() else {
            return Ok(());
        };
        if sums.is_empty() {
            self.claim.trim(0);
            return Ok(());
        }
        let blocks = sums.len() as u64 + 1;
        self.claim.trim(blocks);
        let page = Node::build_list(b"sums", None, sums.iter().map(|sum| sum.to_le_bytes()))?;
        let sums = Pointer {
            block: extent.start,
            checksum: self.shared.checksums.of(extent.start, &page[..]),
        };
        self.runs.push(Run {
            sums,
            blocks: u32::try_from(blocks).unwrap_or(0),
        });
        self.send_page(extent.start, page).await
    }

    /// Sends the chain of lists of runs, the last first: each has the checksum of the next. Says where it begins.
    async fn send_chain(&mut self) -> Result<Pointer, Error> {
        let mut next = Pointer::NONE;
        let runs = core::mem::take(&mut self.runs);
        for list in runs.chunks(RUNS_A_BLOCK).rev() {
            self.shared.check_writable()?;
            let block = self.claim.take(1)?.start;
            let page =
                Node::build_list(b"runs", Some(next), list.iter().map(|run| run.to_bytes()))?;
            next = Pointer {
                block,
                checksum: self.shared.checksums.of(block, &page[..]),
            };
            self.send_page(block, page).await?;
        }
        Ok(next)
    }

    async fn send_page(&mut self, block: u64, page: Page) -> Result<(), Error> {
        let mut pages = Vec::new();
        pages.try_reserve_exact(1).map_err(|_| Error::OutOfMemory)?;
        pages.push(page);
        self.send(block, Pages::from_pages(pages, BLOCK)).await
    }

    /// Sends `pages` to the blocks from `block` on, when there is room for one more request.
    async fn send(&mut self, block: u64, pages: Pages) -> Result<(), Error> {
        while self.flight.len() >= self.shared.options.requests.max(1) {
            self.land().await?;
        }
        self.flight.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        let shared = Rc::clone(&self.shared);
        // Held until the disk has answered: before that, nobody else may get these blocks.
        let claim = Rc::clone(&self.claim);
        self.flight.push_back(spawn_named("disk write", async move {
            let (pages, done) = shared.disk.write(block * SECTORS, pages).await;
            drop(claim);
            done.map(|()| pages).map_err(io("writing a blob"))
        }));
        Ok(())
    }

    /// Waits for the oldest request in flight.
    async fn land(&mut self) -> Result<(), Error> {
        if let Some(oldest) = self.flight.front_mut() {
            let done = oldest.await;
            self.flight.pop_front();
            let pages = done.inspect_err(|&e| self.failed = Some(e))?;
            let longest = self.idle.as_ref().map_or(0, Pages::len);
            if pages.len() > longest {
                self.idle = Some(pages);
            }
        }
        Ok(())
    }
}

impl Open {
    /// Blocks of content that fit yet.
    fn left(&self) -> u64 {
        self.extent.blocks - 1 - self.sums.len() as u64
    }

    /// The block of the next one.
    fn next_block(&self) -> u64 {
        self.extent.start + 1 + self.sums.len() as u64
    }
}
