//! A blob's runs, one after the other, wherever they are written down.

use super::layout::{Content, INLINE, Run, Runs, blocks_of};
use crate::BlockDevice;
use crate::store::Error;
use crate::store::checksum::Pointer;
use crate::store::node::{Kind, Node};
use crate::store::shared::Shared;
use crate::store::space::Extent;
use alloc::rc::Rc;
use alloc::vec::Vec;

/// Where a blob's runs are, by value.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Place {
    /// Blocks of content.
    blocks: u64,
    inline: [Option<Run>; INLINE],
    chain: Option<Pointer>,
}

impl Place {
    pub(in crate::store) fn new(content: Content<'_>) -> Self {
        let mut inline = [None; INLINE];
        for (to, run) in inline.iter_mut().zip(content.inline()) {
            *to = Some(run);
        }
        let chain = match content.runs {
            Runs::Chain(first) => Some(first),
            Runs::Inline(_) => None,
        };
        Self {
            blocks: blocks_of(content.len),
            inline,
            chain,
        }
    }
}

/// One run after the other.
#[derive(Clone, Debug)]
pub(in crate::store) struct Position {
    place: Place,
    /// Blocks of content before the next run.
    pub(in crate::store) before: u64,
    /// Of those that are here, the index of the next run.
    index: usize,
    list: Option<(Pointer, Rc<Node>)>,
}

impl Position {
    /// Before the first run.
    pub(in crate::store) fn new(place: Place) -> Self {
        Self {
            place,
            before: 0,
            index: 0,
            list: None,
        }
    }

    /// The next run; `None` after the last. Together they have just the blocks that the blob needs, or it is an error:
    /// so there is an end, whatever is on disk. `list` is told of each block that lists runs.
    pub(in crate::store) async fn next<D: BlockDevice>(
        &mut self,
        shared: &Shared<D>,
        mut list: impl FnMut(u64) -> Result<(), Error>,
    ) -> Result<Option<Run>, Error> {
        let run = match (&self.list, self.place.chain) {
            (None, None) => self.place.inline.get(self.index).copied().flatten(),
            (now, Some(first)) => {
                let next = match now {
                    None => Some(first),
                    Some((_, node)) if self.index < node.count() => None,
                    Some((_, node)) => node.next(),
                };
                if let Some(next) = next {
                    list(next.block)?;
                    let node = shared.load(next, Kind::Runs).await?;
                    self.list = Some((next, node));
                    self.index = 0;
                }
                self.list
                    .as_ref()
                    .and_then(|(_, node)| node.runs().nth(self.index))
            }
            (Some(_), None) => None,
        };
        let block = self.list.as_ref().map_or(0, |(at, _)| at.block);
        let corrupt = Error::Corrupt {
            what: Kind::Runs.name(),
            block,
        };
        self.index += usize::from(run.is_some());
        self.before += run.map_or(0, |run| run.content());
        let is_end = self.before == self.place.blocks;
        if self.before > self.place.blocks || run.is_none() && !is_end {
            return Err(corrupt);
        }
        Ok(run)
    }
}

impl<D: BlockDevice> Shared<D> {
    /// All blocks of a blob, the one by which it is known first.
    pub(in crate::store) async fn extents_of(
        &self,
        content: Content<'_>,
    ) -> Result<Vec<Extent>, Error> {
        let mut extents = Vec::new();
        let mut position = Position::new(Place::new(content));
        loop {
            let add = |extent: Extent, extents: &mut Vec<Extent>| {
                extents.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
                extents.push(extent);
                Ok(())
            };
            let run = position.next(self, |start| add(Extent { start, blocks: 1 }, &mut extents));
            let Some(run) = run.await? else {
                return Ok(extents);
            };
            add(
                Extent {
                    start: run.sums.block,
                    blocks: u64::from(run.blocks),
                },
                &mut extents,
            )?;
        }
    }
}
