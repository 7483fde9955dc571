//! Where the blocks of a file lie: a tree of extents (ext4), or of block numbers (ext2 and ext3).

use super::bytes::{crc32c, u16_at, u32_at, u64_of};
use super::inode::Inode;
use super::volume::Volume;
use super::{BlockDevice, Error};

/// Blocks of a file that follow one another, on the disk too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The first, counted in the file.
    pub(super) first: u64,
    /// How many; not none.
    pub(super) blocks: u64,
    /// Where the first lies; `None` for a hole, which reads as zeros.
    pub(super) at: Option<u64>,
}

impl Run {
    /// The part of it from block `from` of the file on, if it has that.
    pub(super) fn from(self, from: u64) -> Option<Run> {
        let before = from.checked_sub(self.first)?;
        let blocks = self.blocks.checked_sub(before).filter(|left| *left > 0)?;
        Some(Run {
            first: from,
            blocks,
            at: self.at.map(|at| at.saturating_add(before)),
        })
    }
}

impl<D: BlockDevice> Volume<D> {
    /// Where block `block` of a file lies, and those that follow it as long as they do.
    pub(super) async fn locate(&self, inode: &Inode, block: u64) -> Result<Run, Error> {
        let run = if inode.has_extents {
            self.extent(inode, block).await?
        } else {
            self.mapped(inode, block).await?
        };
        if let Some(at) = run.at {
            // The superblock's own block is nobody's, nor is what precedes it.
            let end = at.checked_add(run.blocks);
            if at <= self.superblock.first_block.into()
                || end.is_none_or(|end| end > self.superblock.blocks)
            {
                return Err(inode.corrupt("a block of it lies outside of the file system"));
            }
        }
        Ok(run)
    }

    async fn extent(&self, inode: &Inode, block: u64) -> Result<Run, Error> {
        let mut step = search(inode, &inode.map, None, block)?;
        // A hole ends where the next extent begins, which another node of the tree may know.
        let mut end = u64::from(u32::MAX) + 1;
        loop {
            match step {
                Step::Down { child, depth, next } => {
                    end = next.unwrap_or(end);
                    let (cached, begin) = self
                        .block(child, 0)
                        .await?
                        .ok_or(inode.corrupt("its tree of extents leads out of the file system"))?;
                    let bytes = self.part(&cached, begin);
                    if let Some(seed) = inode.checksums {
                        // The checksum lies behind all the entries that there may be.
                        let at = ENTRY * (1 + usize::from(u16_at(bytes, 4)));
                        let covered = bytes.get(..at).unwrap_or_default();
                        let is_right =
                            || at + 4 <= bytes.len() && crc32c(seed, covered) == u32_at(bytes, at);
                        if !cached.check(begin, is_right) {
                            return Err(
                                inode.corrupt("a node of its tree of extents has a wrong checksum")
                            );
                        }
                    }
                    step = search(inode, bytes, Some(depth), block)?;
                }
                Step::Found(run) => return Ok(run),
                Step::Hole { next } => {
                    let blocks = next.unwrap_or(end).saturating_sub(block).max(1);
                    return Ok(Run {
                        first: block,
                        blocks,
                        at: None,
                    });
                }
            }
        }
    }

    /// By block numbers: twelve in the inode, and one each to a block of them, of blocks of them, and so on.
    async fn mapped(&self, inode: &Inode, block: u64) -> Result<Run, Error> {
        const DIRECT: u64 = 12;
        /// Four bytes each.
        const NUMBER: usize = 4;
        let per_block = u64::from(self.superblock.block_bytes) / NUMBER as u64;
        let hole = |blocks| Run {
            first: block,
            blocks,
            at: None,
        };
        if block < DIRECT {
            return Ok(numbered(&inode.map[..48], block, block));
        }
        let mut offset = block - DIRECT;
        let mut span = per_block;
        // How many blocks an entry of the level above stands for.
        for root in 12..15 {
            if offset >= span {
                offset -= span;
                span = span.saturating_mul(per_block);
                continue;
            }
            let mut number = u32_at(&inode.map, root * NUMBER);
            loop {
                if number == 0 {
                    return Ok(hole(span - offset));
                }
                let (cached, begin) = self
                    .block(number.into(), 0)
                    .await?
                    .ok_or(inode.corrupt("a block of it lies outside of the file system"))?;
                let bytes = self.part(&cached, begin);
                if span == per_block {
                    return Ok(numbered(bytes, offset, block));
                }
                span /= per_block;
                let index = usize::try_from(offset / span).unwrap_or(usize::MAX / NUMBER);
                number = u32_at(bytes, index * NUMBER);
                offset %= span;
            }
        }
        Err(inode.corrupt("it is longer than a file can be"))
    }
}

/// The run that begins with entry `index` of a list of block numbers, which is block `first` of the file.
fn numbered(list: &[u8], index: u64, first: u64) -> Run {
    let from = usize::try_from(index).unwrap_or(usize::MAX / 4) * 4;
    let numbers = list.get(from..).unwrap_or_default().chunks_exact(4);
    let mut numbers = numbers.map(|bytes| u64::from(u32_at(bytes, 0)));
    let at = numbers.next().unwrap_or(0);
    let follows = |(before, number): (u64, u64)| {
        if at == 0 {
            number == 0
        } else {
            number == at + before
        }
    };
    let more = (1..).zip(numbers).take_while(|pair| follows(*pair)).count();
    Run {
        first,
        blocks: 1 + more as u64,
        at: (at != 0).then_some(at),
    }
}

/// Bytes of an entry in a node of a tree of extents, and of the header before them.
const ENTRY: usize = 12;

/// What a node says of a block.
enum Step {
    /// Another node knows, and the next one begins at block `next` of the file.
    Down {
        child: u64,
        depth: u16,
        next: Option<u64>,
    },
    Found(Run),
    /// Nothing is there, up to block `next` of the file.
    Hole {
        next: Option<u64>,
    },
}

/// Looks `block` up in a node, which is `depth` levels above the leaves if that is known before.
fn search(inode: &Inode, node: &[u8], depth: Option<u16>, block: u64) -> Result<Step, Error> {
    /// As many as Linux has.
    const DEEPEST: u16 = 5;
    /// A longer extent is one that is reserved and not written yet: it reads as zeros.
    const LONGEST: u16 = 32768;
    let (entries, of) = (usize::from(u16_at(node, 2)), u16_at(node, 6));
    if u16_at(node, 0) != 0xf30a || of > DEEPEST || depth.is_some_and(|depth| depth != of) {
        return Err(inode.corrupt("its tree of extents is malformed"));
    }
    let Some(entries) = node.get(ENTRY..ENTRY * (entries + 1)) else {
        return Err(inode.corrupt("its tree of extents has more entries than room"));
    };
    let (entries, _) = entries.as_chunks::<ENTRY>();
    let first = |entry: &[u8; ENTRY]| u64::from(u32_at(entry, 0));
    let after = entries.partition_point(|entry| first(entry) <= block);
    let next = entries.get(after).map(first);
    let Some(entry) = after.checked_sub(1).and_then(|index| entries.get(index)) else {
        return Ok(Step::Hole { next });
    };
    if of > 0 {
        return Ok(Step::Down {
            child: u64_of(u16_at(entry, 8).into(), u32_at(entry, 4)),
            depth: of - 1,
            next,
        });
    }
    let len = u16_at(entry, 4);
    let (len, is_written) = match len.checked_sub(LONGEST) {
        Some(reserved @ 1..) => (reserved, false),
        _ => (len, true),
    };
    let run = Run {
        first: first(entry),
        blocks: len.into(),
        at: is_written.then(|| u64_of(u16_at(entry, 6).into(), u32_at(entry, 8))),
    };
    Ok(run.from(block).map_or(Step::Hole { next }, Step::Found))
}
