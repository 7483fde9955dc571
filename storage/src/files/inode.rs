//! Inodes: what a file is, and where its blocks begin.

use super::bytes::{array_at, crc32c, u16_at, u32_at, u64_of};
use super::volume::Volume;
use super::{BlockDevice, Error};
use core::time::Duration;

/// The inode of the root folder.
pub(super) const ROOT: u32 = 2;

/// Bytes of `i_block`: the root of the tree of extents, or block numbers, or a short link's target.
pub(super) const MAP_BYTES: usize = 60;

mod flags {
    pub(super) const COMPRESSED: u32 = 0x4;
    pub(super) const ENCRYPTED: u32 = 0x800;
    pub(super) const INDEX: u32 = 0x1000;
    pub(super) const EXTENTS: u32 = 0x8_0000;
    pub(super) const INLINE_DATA: u32 = 0x1000_0000;
}

/// What kind of file an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
    /// A device, a socket, a FIFO.
    Special,
}

/// A moment, as it is stored: seconds since 1970 in the lower half, two more bits of them and the nanoseconds above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) u64);

impl Time {
    /// The time since 1970; zero for what was before.
    pub(super) fn since_1970(self) -> Duration {
        let (more, low) = ((self.0 >> 32) & 0xffff_ffff, self.0 & 0xffff_ffff);
        let low = i64::from(i32::from_le_bytes(array_at(&low.to_le_bytes(), 0)));
        let seconds = low.saturating_add_unsigned((more & 3) << 32);
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Duration::from_secs(seconds).saturating_add(Duration::from_nanos(more >> 2))
    }
}

/// An inode, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) len: u64,
    /// When its content changed.
    pub(super) modified: Time,
    /// When it or its content changed.
    pub(super) changed: Time,
    pub(super) generation: u32,
    pub(super) map: [u8; MAP_BYTES],
    pub(super) has_extents: bool,
    /// Whether a folder has blocks of a hash tree among those with entries.
    pub(super) has_index: bool,
    /// What checksums of its blocks begin with.
    pub(super) checksums: Option<u32>,
}

impl Inode {
    pub(super) fn corrupt(&self, what: &'static str) -> Error {
        let inode = self.number;
        Error::Corrupt { what, inode }
    }

    fn parse(number: u32, bytes: &[u8], seed: Option<u32>) -> Result<Self, Error> {
        let corrupt = |what| Error::Corrupt {
            what,
            inode: number,
        };
        let generation = u32_at(bytes, 0x64);
        let seed = seed.map(|seed| {
            let seed = crc32c(seed, &number.to_le_bytes());
            crc32c(seed, &generation.to_le_bytes())
        });
        // How much there is beyond the 128 bytes of old.
        let extra = if bytes.len() > 128 {
            usize::from(u16_at(bytes, 0x80))
        } else {
            0
        };
        if let Some(seed) = seed
            && !is_intact(bytes, seed, extra)
        {
            return Err(corrupt("it has a wrong checksum"));
        }
        let kind = match u16_at(bytes, 0) & 0xf000 {
            0x8000 => Kind::File,
            0x4000 => Kind::Folder,
            0xa000 => Kind::Link,
            0x1000 | 0x2000 | 0x6000 | 0xc000 => Kind::Special,
            _ => return Err(corrupt("an entry leads to it, and it is not in use")),
        };
        let flags = u32_at(bytes, 0x20);
        if flags & (flags::ENCRYPTED | flags::COMPRESSED | flags::INLINE_DATA) != 0 {
            return Err(Error::Unsupported(
                "the file is encrypted, compressed or kept in its inode: copy it to a file system without that",
            ));
        }
        // Of a folder the upper half once meant something else.
        let high = if kind == Kind::File {
            u32_at(bytes, 0x6c)
        } else {
            0
        };
        let time = |at: usize, more: usize| {
            let has_more = extra + 128 >= more + 4;
            let more = if has_more { u32_at(bytes, more) } else { 0 };
            Time(u64_of(more, u32_at(bytes, at)))
        };
        Ok(Self {
            number,
            kind,
            len: u64_of(high, u32_at(bytes, 4)),
            modified: time(0x10, 0x88),
            changed: time(0xc, 0x84),
            generation,
            map: array_at(bytes, 0x28),
            has_extents: flags & flags::EXTENTS != 0,
            has_index: flags & flags::INDEX != 0,
            checksums: seed,
        })
    }
}

/// Whether an inode has the checksum that it says: over all of it but the checksum's own halves.
fn is_intact(bytes: &[u8], seed: u32, extra: usize) -> bool {
    let sum = |crc, from: usize, to: usize| crc32c(crc, bytes.get(from..to).unwrap_or_default());
    let crc = crc32c(sum(seed, 0, 0x7c), &[0; 2]);
    let crc = sum(crc, 0x7e, 128);
    if bytes.len() == 128 || extra < 4 {
        let crc = sum(crc, 128, bytes.len());
        return crc & 0xffff == u32::from(u16_at(bytes, 0x7c));
    }
    let crc = crc32c(sum(crc, 128, 0x82), &[0; 2]);
    let crc = sum(crc, 0x84, bytes.len());
    crc == u32::from(u16_at(bytes, 0x82)) << 16 | u32::from(u16_at(bytes, 0x7c))
}

impl<D: BlockDevice> Volume<D> {
    /// Reads an inode.
    pub(super) async fn inode(&self, number: u32) -> Result<Inode, Error> {
        let corrupt = |what| Error::Corrupt {
            what,
            inode: number,
        };
        let shape = &self.superblock;
        let Some(index) = number.checked_sub(1).filter(|_| number <= shape.inodes) else {
            return Err(corrupt("there is no such inode"));
        };
        let table = self.inode_table(index / shape.inodes_per_group).await?;
        let at = u64::from(index % shape.inodes_per_group) * u64::from(shape.inode_bytes);
        let block = table.saturating_add(at / u64::from(shape.block_bytes));
        let (cached, begin) = self
            .block(block, 0)
            .await?
            .ok_or(corrupt("its place lies outside of the file system"))?;
        let begin = begin + narrow(at % u64::from(shape.block_bytes));
        let end = begin + narrow(shape.inode_bytes.into());
        let bytes = cached.bytes().get(begin..end).unwrap_or_default();
        Inode::parse(number, bytes, shape.checksums)
    }

    /// The block in which a group's inodes begin.
    async fn inode_table(&self, group: u32) -> Result<u64, Error> {
        let corrupt = |what| Error::Corrupt { what, inode: 0 };
        let shape = &self.superblock;
        let at = u64::from(group) * u64::from(shape.descriptor_bytes);
        let block = u64::from(shape.first_block) + 1 + at / u64::from(shape.block_bytes);
        let (cached, begin) = self
            .block(block, 0)
            .await?
            .ok_or(corrupt("a group descriptor lies outside of it"))?;
        let begin = begin + narrow(at % u64::from(shape.block_bytes));
        let end = begin + narrow(shape.descriptor_bytes.into());
        let bytes = cached.bytes().get(begin..end).unwrap_or_default();
        if let Some(seed) = shape.checksums {
            let crc = crc32c(seed, &group.to_le_bytes());
            let crc = crc32c(crc, bytes.get(..0x1e).unwrap_or_default());
            let crc = crc32c(crc, &[0; 2]);
            let crc = crc32c(crc, bytes.get(0x20..).unwrap_or_default());
            if crc & 0xffff != u32::from(u16_at(bytes, 0x1e)) {
                return Err(corrupt("a group descriptor has a wrong checksum"));
            }
        }
        // The upper half is there in large descriptors only.
        Ok(u64_of(u32_at(bytes, 0x28), u32_at(bytes, 8)))
    }
}

/// An offset within a block, which is small.
fn narrow(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
