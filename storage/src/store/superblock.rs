//! The superblock: where the tree begins. It fits one sector, so that a power cut leaves it old or new.
//!
//! ```text
//!    0  magic "xenletKV"        40  generation
//!    8  version (u32)           48  root: block, checksum     (block 0: the tree is empty)
//!   12  block size (u32)        64  entries
//!   16  store id (u128)         72  blocks that are used, these not counted
//!   32  blocks of the store     80  zeros … 504 checksum of all before
//! ```
//!
//! Generation `g` is in two copies far from each other: even ones in block 0 and the last but one, odd ones in block 1
//! and the last. So the superblock before is there until the new one is.

use super::bytes::Reader;
use super::checksum::Pointer;
use super::{BLOCK, MAGIC, MIN_BLOCKS, VERSION};
use xxhash_rust::xxh3::xxh3_64;

const LEN: usize = 504;

/// The last generation: no store gets there, but a crafted disk could say that it did.
pub(super) const MAX_GENERATION: u64 = 1 << 62;

/// Blocks at each end of the disk in which superblocks are.
pub(super) const ENDS: u64 = 2;

/// What a superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    pub(super) id: u128,
    pub(super) blocks: u64,
    pub(super) generation: u64,
    pub(super) root: Pointer,
    pub(super) entries: u64,
    pub(super) used: u64,
}

/// What is where a superblock should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    Valid(Superblock),
    /// Nothing was ever written, or it was zeroed.
    Blank,
    /// The checksum is right, the version is another.
    OtherVersion(u32),
    Damaged,
    /// The disk fails to read it, this time.
    Unreadable,
}

/// Where the copies of slot `slot` (0 or 1) are in a store of `blocks` blocks.
pub(super) fn places(slot: u64, blocks: u64) -> [u64; 2] {
    [slot, blocks.saturating_sub(ENDS) + slot]
}

impl Superblock {
    /// The slot that it goes to.
    pub(super) fn slot(&self) -> u64 {
        self.generation % 2
    }

    /// Writes it to the begin of a zeroed block.
    pub(super) fn write(&self, block: &mut [u8; BLOCK]) {
        let fields = [
            (0, &MAGIC[..]),
            (8, &VERSION.to_le_bytes()[..]),
            (12, &4096_u32.to_le_bytes()[..]),
            (16, &self.id.to_le_bytes()[..]),
            (32, &self.blocks.to_le_bytes()[..]),
            (40, &self.generation.to_le_bytes()[..]),
            (48, &self.root.block.to_le_bytes()[..]),
            (56, &self.root.checksum.to_le_bytes()[..]),
            (64, &self.entries.to_le_bytes()[..]),
            (72, &self.used.to_le_bytes()[..]),
        ];
        for (at, bytes) in fields {
            block[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let checksum = xxh3_64(&block[..LEN]);
        block[LEN..LEN + 8].copy_from_slice(&checksum.to_le_bytes());
    }

    fn read(sector: &[u8]) -> Option<Copy> {
        let mut reader = Reader(sector);
        let body = reader.take(LEN)?;
        if reader.u64()? != xxh3_64(body) {
            return None;
        }
        let mut reader = Reader(body);
        if reader.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let version = reader.u32()?;
        if version != VERSION {
            return Some(Copy::OtherVersion(version));
        }
        let block_size = reader.u32()?;
        let superblock = Self {
            id: reader.u128()?,
            blocks: reader.u64()?,
            generation: reader.u64()?,
            root: Pointer {
                block: reader.u64()?,
                checksum: reader.u64()?,
            },
            entries: reader.u64()?,
            used: reader.u64()?,
        };
        let sound = block_size == 4096
            && (MIN_BLOCKS..=u64::MAX / 4096).contains(&superblock.blocks)
            && superblock.generation <= MAX_GENERATION
            && superblock.used <= superblock.blocks
            && reader.rest_is_zero();
        sound.then_some(Copy::Valid(superblock))
    }
}

/// What the first sector of block `place`, in `block`, is.
pub(super) fn read(place: u64, block: &[u8; BLOCK]) -> Copy {
    let sector = &block[..512];
    if sector.iter().all(|&byte| byte == 0) {
        return Copy::Blank;
    }
    match Superblock::read(sector) {
        // One that belongs elsewhere was written to the wrong place.
        Some(Copy::Valid(found)) if !places(found.slot(), found.blocks).contains(&place) => {
            Copy::Damaged
        }
        Some(copy) => copy,
        None => Copy::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(generation: u64) -> Superblock {
        Superblock {
            id: 7,
            blocks: 100,
            generation,
            root: Pointer {
                block: 9,
                checksum: 10,
            },
            entries: 11,
            used: 12,
        }
    }

    #[test]
    fn what_is_written_is_read_at_its_places_alone() {
        for generation in 0..4 {
            let superblock = sample(generation);
            let mut block = [0; BLOCK];
            superblock.write(&mut block);
            for place in 0..100 {
                let ours = places(generation % 2, 100).contains(&place);
                let expected = if ours {
                    Copy::Valid(superblock)
                } else {
                    Copy::Damaged
                };
                assert_eq!(read(place, &block), expected);
            }
        }
        assert_eq!(read(0, &[0; BLOCK]), Copy::Blank);
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let mut block = [0; BLOCK];
        sample(2).write(&mut block);
        for bit in 0..512 * 8 {
            let mut flipped = block;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(0, &flipped), Copy::Damaged, "bit {bit}");
        }
    }
}
