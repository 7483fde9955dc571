//! Checksums, and the pointers that carry them.

use super::bytes::Reader;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Where a block is and what it must hold. What points carries the checksum, so the whole store is one tree of them:
/// a block that is flipped, stale or in the wrong place is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) block: u64,
    pub(super) checksum: u64,
}

impl Pointer {
    /// Points nowhere: block 0 is a superblock.
    pub(super) const NONE: Self = Self {
        block: 0,
        checksum: 0,
    };

    /// Bytes on disk.
    pub(super) const LEN: usize = 16;

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            block: reader.u64()?,
            checksum: reader.u64()?,
        })
    }

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.block.to_le_bytes());
        bytes[8..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }
}

/// How this store's checksums are made: XXH3, seeded with the store's id and the block's number. What an older store
/// left on the disk, or what belongs to another block, does not match.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checksums(u64);

impl Checksums {
    pub(super) fn new(id: u128) -> Self {
        Self(xxh3_64(&id.to_le_bytes()))
    }

    /// The checksum of `bytes` in block `block`.
    pub(super) fn of(self, block: u64, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.0 ^ block)
    }
}
