//! Reads a blob, a part or all of it, with what follows on its way already.

use super::layout::{Content, Run, blocks_of};
use super::{Place, Position};
use crate::BlockDevice;
use crate::store::node::Kind;
use crate::store::shared::{SECTORS, Shared, io};
use crate::store::space::Pin;
use crate::store::{BLOCK, Error};
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use xenlet_kernel::page::Pages;
use xenlet_kernel::run::{JoinHandle, spawn_named};

/// Reads a blob. Every block is verified before a byte of it is given out.
#[derive(Debug)]
pub struct BlobReader<D> {
    shared: Rc<Shared<D>>,
    place: Place,
    len: u64,
    /// Where the next byte is read.
    position: u64,
    /// The run that was asked for last, and the ones after it.
    run: Option<(u64, Run)>,
    runs: Position,
    /// Verified content from block `.0` on, around the position.
    chunk: Option<(u64, Pages)>,
    /// What follows the chunk, in order: from which block on, how many.
    ahead: VecDeque<Ahead>,
    /// How many requests may be ahead: few until it is seen that what follows is wanted.
    depth: usize,
    _pin: Option<Pin>,
}

#[derive(Debug)]
struct Ahead {
    from: u64,
    blocks: u64,
    pages: JoinHandle<Result<Pages, Error>>,
}

/// Reads and verifies `count` blocks of content of `run`, from its `index`th on.
pub(in crate::store) async fn read_content<D: BlockDevice>(
    shared: &Shared<D>,
    run: Run,
    index: u64,
    count: u64,
) -> Result<Pages, Error> {
    let what = "a blob's content";
    let sums = shared.load(run.sums, Kind::Sums).await?;
    let first = run.sums.block + 1 + index;
    if sums.count() as u64 != run.content() {
        return Err(Error::Corrupt {
            what: Kind::Sums.name(),
            block: run.sums.block,
        });
    }
    let len = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .saturating_mul(BLOCK);
    let pages = Pages::new(len).map_err(|_| Error::OutOfMemory)?;
    let (pages, done) = shared.disk.read(first * SECTORS, pages).await;
    done.map_err(io("reading a blob"))?;
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    for ((block, number), page) in (first..).zip(index..).zip(pages.chunks()) {
        if sums.sum(number) != Some(shared.checksums.of(block, page)) {
            return Err(Error::Corrupt { what, block });
        }
    }
    Ok(pages)
}

impl<D: BlockDevice + 'static> BlobReader<D> {
    pub(in crate::store) fn new(
        shared: &Rc<Shared<D>>,
        content: Content<'_>,
        pin: Option<Pin>,
    ) -> Self {
        let place = Place::new(content);
        Self {
            shared: Rc::clone(shared),
            place,
            len: content.len,
            position: 0,
            run: None,
            runs: Position::new(place),
            chunk: None,
            ahead: VecDeque::new(),
            depth: 0,
            _pin: pin,
        }
    }

    /// How many bytes the blob has.
    #[allow(clippy::len_without_is_empty, reason = "a blob may well be empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Where the next byte is read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to byte `position`; beyond the end is the end.
    pub fn seek(&mut self, position: u64) {
        let position = position.min(self.len);
        if position != self.position {
            self.position = position;
            self.ahead.clear();
            self.depth = 0;
        }
    }

    /// The bytes at the position, some of them; none only at the end. They stay the next ones until they are
    /// [`consume`](Self::consume)d. What follows is read ahead.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::OutOfMemory`].
    pub async fn fill_buf(&mut self) -> Result<&[u8], Error> {
        if self.position == self.len {
            return Ok(&[]);
        }
        let block = self.position / BLOCK as u64;
        while !self
            .chunk
            .as_ref()
            .is_some_and(|(from, pages)| holds(*from, pages, block))
        {
            self.chunk = None;
            self.read_ahead(block).await?;
            if let Some(next) = self.ahead.front_mut() {
                let done = (&mut next.pages).await;
                let from = next.from;
                self.ahead.pop_front();
                self.chunk = Some((from, done?));
                self.read_ahead(block).await?;
            }
        }
        Ok(self.buffered(block))
    }

    /// What the chunk has from the position to the end of its block.
    fn buffered(&self, block: u64) -> &[u8] {
        let Some((from, pages)) = &self.chunk else {
            return &[];
        };
        let index = usize::try_from(block - from).unwrap_or(usize::MAX);
        let begin = block * BLOCK as u64;
        let len = usize::try_from(self.len - begin)
            .unwrap_or(BLOCK)
            .min(BLOCK);
        let at = usize::try_from(self.position - begin).unwrap_or(0);
        pages
            .chunks()
            .nth(index)
            .and_then(|page| page.get(at..len))
            .unwrap_or(&[])
    }

    /// Goes `len` bytes on; not beyond the end.
    pub fn consume(&mut self, len: usize) {
        self.position = self.position.saturating_add(len as u64).min(self.len);
    }

    /// Copies the next bytes to `into`, and says how many: 0 only at the end, or if `into` is empty.
    ///
    /// # Errors
    /// As [`fill_buf`](Self::fill_buf).
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let from = self.fill_buf().await?;
        let len = from.len().min(into.len());
        into[..len].copy_from_slice(&from[..len]);
        self.consume(len);
        Ok(len)
    }

    /// Copies the bytes from `offset` on to `into`, and says how many: fewer than asked for only at the end. The position
    /// stays, and nothing is read ahead.
    ///
    /// # Errors
    /// As [`fill_buf`](Self::fill_buf).
    pub async fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        while done < into.len() && offset.saturating_add(done as u64) < self.len {
            let at = offset + done as u64;
            let (block, skip) = (at / BLOCK as u64, at % BLOCK as u64);
            let wanted = (into.len() - done) as u64 + skip;
            let (run, index, blocks) = self.locate(block, blocks_of(wanted)).await?;
            let pages = read_content(&self.shared, run, index, blocks).await?;
            let skip = usize::try_from(skip).unwrap_or(0);
            let len = (pages.len() - skip).min(into.len() - done);
            let len = len.min(usize::try_from(self.len - at).unwrap_or(usize::MAX));
            pages.read_at(skip, &mut into[done..done + len]);
            done += len;
        }
        Ok(done)
    }

    /// Where content block `block` is: its run, which of the run's it is, and how many from there on one request reads, up
    /// to `want`.
    async fn locate(&mut self, block: u64, want: u64) -> Result<(Run, u64, u64), Error> {
        loop {
            if let Some((begin, run)) = self.run {
                if block < begin {
                    self.runs = Position::new(self.place);
                    self.run = None;
                } else if block - begin < run.content() {
                    let index = block - begin;
                    let most = (self.shared.options.request_bytes / BLOCK) as u64;
                    return Ok((run, index, want.min(most).min(run.content() - index)));
                }
            }
            let begin = self.runs.before;
            let run = self.runs.next(&self.shared, |_| Ok(())).await?;
            // The runs have as many blocks as the length needs, and `block` is one of those.
            self.run = Some((
                begin,
                run.ok_or(Error::Corrupt {
                    what: Kind::Runs.name(),
                    block: 0,
                })?,
            ));
        }
    }

    /// Sees to it that what follows the chunk, or begins with `block` if there is none, is being read.
    async fn read_ahead(&mut self, block: u64) -> Result<(), Error> {
        let has = |next: &Ahead| (next.from..next.from + next.blocks).contains(&block);
        if self.chunk.is_none() && !self.ahead.front().is_none_or(has) {
            self.ahead.clear();
        }
        let end = blocks_of(self.len);
        let mut from = match (self.ahead.back(), &self.chunk) {
            (Some(last), _) => last.from + last.blocks,
            (None, Some((from, pages))) => from + blocks_of(pages.len() as u64),
            (None, None) => block,
        };
        self.depth = (self.depth * 2).clamp(1, self.shared.options.requests.max(1));
        while from < end && self.ahead.len() < self.depth {
            self.ahead.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
            let (run, index, blocks) = self.locate(from, u64::MAX).await?;
            let shared = Rc::clone(&self.shared);
            let pages = spawn_named("disk read", async move {
                read_content(&shared, run, index, blocks).await
            });
            self.ahead.push_back(Ahead {
                from,
                blocks,
                pages,
            });
            from += blocks;
        }
        Ok(())
    }
}

/// Whether `pages`, which begin with block `from`, have block `block`.
fn holds(from: u64, pages: &Pages, block: u64) -> bool {
    block >= from && block - from < blocks_of(pages.len() as u64)
}
