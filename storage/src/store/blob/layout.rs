//! A blob on disk: runs of adjacent blocks, each with the checksums of its content in its first block.
//!
//! ```text
//!   entry ─► run: start, blocks, checksum ─► ┌──────┬─────────┬─────────┬─ … ─┐
//!   (up to 4 in the entry, else in a         │ sums │ content │ content │     │   up to 511 blocks
//!   chain of "runs" blocks)                  └──────┴─────────┴─────────┴─ … ─┘
//!
//!   in a leaf, after the value:    none    0 (u8)
//!                                  inline  1 (u8), length (u64), count (u8), runs
//!                                  chain   2 (u8), length (u64), pointer to the first "runs"
//!   a run:                         start (u64), blocks (u32), checksum of its first block (u64)
//! ```
//!
//! The last block is padded with zeros. All runs together have just the blocks that the length needs.

use crate::store::bytes::Reader;
use crate::store::checksum::Pointer;
use crate::store::node::{HEADER, ROOM, is_inside};
use crate::store::{BLOCK, Error};
use alloc::vec::Vec;

/// Blocks of content in the longest run.
pub(in crate::store) const RUN_CONTENT: u64 = (ROOM / 8) as u64;

/// Runs that are in the entry itself.
pub(in crate::store) const INLINE: usize = 4;

/// Runs in one block of them.
pub(in crate::store) const RUNS_A_BLOCK: usize = (BLOCK - HEADER - Pointer::LEN) / Run::LEN;

/// Bytes that a blob takes in a leaf at most.
pub(in crate::store) const MAX_CONTENT: usize = 1 + 8 + 1 + INLINE * Run::LEN;

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Run {
    /// Its first block, and that block's checksum.
    pub(in crate::store) sums: Pointer,
    /// How many blocks it has, the first included.
    pub(in crate::store) blocks: u32,
}

impl Run {
    pub(in crate::store) const LEN: usize = 20;

    pub(in crate::store) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let block = reader.u64()?;
        let blocks = reader.u32()?;
        let checksum = reader.u64()?;
        Some(Self {
            sums: Pointer { block, checksum },
            blocks,
        })
    }

    pub(in crate::store) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.sums.block.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[12..].copy_from_slice(&self.sums.checksum.to_le_bytes());
        bytes
    }

    /// Blocks of content.
    pub(in crate::store) fn content(&self) -> u64 {
        u64::from(self.blocks).saturating_sub(1)
    }

    pub(in crate::store) fn is_sound(&self, blocks: u64) -> bool {
        (1..=RUN_CONTENT).contains(&self.content())
            && is_inside(self.sums.block, u64::from(self.blocks), blocks)
    }
}

/// A blob as an entry has it.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Content<'a> {
    /// How many bytes it has.
    pub(in crate::store) len: u64,
    pub(in crate::store) runs: Runs<'a>,
}

/// Where a blob's runs are.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Runs<'a> {
    /// Here, as they are on disk.
    Inline(&'a [u8]),
    /// In a chain that begins there.
    Chain(Pointer),
}

impl<'a> Content<'a> {
    /// The outer `None` is for what is not valid, the inner for no blob.
    pub(in crate::store) fn read(reader: &mut Reader<'a>) -> Option<Option<Self>> {
        let tag = reader.u8()?;
        if tag == 0 {
            return Some(None);
        }
        let len = reader.u64()?;
        let runs = match tag {
            1 => {
                let count = usize::from(reader.u8()?);
                if count > INLINE {
                    return None;
                }
                Runs::Inline(reader.take(count * Run::LEN)?)
            }
            2 => Runs::Chain(Pointer::read(reader)?),
            _ => return None,
        };
        Some(Some(Self { len, runs }))
    }

    pub(in crate::store) fn is_sound(&self, blocks: u64) -> bool {
        match self.runs {
            Runs::Inline(_) => {
                self.inline().all(|run| run.is_sound(blocks))
                    && self.inline().map(|run| run.content()).sum::<u64>() == blocks_of(self.len)
            }
            Runs::Chain(first) => is_inside(first.block, 1, blocks),
        }
    }

    /// The runs that are in the entry itself.
    pub(in crate::store) fn inline(&self) -> impl Iterator<Item = Run> + use<'a> {
        let mut reader = Reader(match self.runs {
            Runs::Inline(bytes) => bytes,
            Runs::Chain(_) => &[],
        });
        core::iter::from_fn(move || Run::read(&mut reader))
    }

    /// The first block that is the blob's own, by which it is known; `None` if it is empty.
    pub(in crate::store) fn first_block(&self) -> Option<u64> {
        match self.runs {
            Runs::Inline(_) => self.inline().next().map(|run| run.sums.block),
            Runs::Chain(first) => Some(first.block),
        }
    }
}

/// Blocks of content that `len` bytes need.
pub(in crate::store) fn blocks_of(len: u64) -> u64 {
    len.div_ceil(BLOCK as u64)
}

/// All blocks that a blob of `len` bytes needs if the disk is not scattered.
pub(in crate::store) fn needs(len: u64) -> u64 {
    let content = blocks_of(len);
    let runs = content.div_ceil(RUN_CONTENT);
    let chain = if runs > INLINE as u64 {
        runs.div_ceil(RUNS_A_BLOCK as u64)
    } else {
        0
    };
    content.saturating_add(runs).saturating_add(chain)
}

/// A blob's part of a leaf's cell, with the runs in it.
pub(in crate::store) fn inline(len: u64, runs: &[Run]) -> Result<Vec<u8>, Error> {
    let count = u8::try_from(runs.len()).unwrap_or(u8::MAX);
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(MAX_CONTENT)
        .map_err(|_| Error::OutOfMemory)?;
    bytes.push(1);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.push(count);
    for run in runs {
        bytes.extend_from_slice(&run.to_bytes());
    }
    Ok(bytes)
}

/// A blob's part of a leaf's cell, with the runs in a chain.
pub(in crate::store) fn chained(len: u64, first: Pointer) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(MAX_CONTENT)
        .map_err(|_| Error::OutOfMemory)?;
    bytes.push(2);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&first.to_bytes());
    Ok(bytes)
}
