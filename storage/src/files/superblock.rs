//! The superblock (Linux's `fs/ext4/ext4.h`, `struct ext4_super_block`): the size and shape of a file system, and what
//! it needs of those who read it.

use super::Error;
use super::bytes::{BEGIN, array_at, crc32c, u16_at, u32_at, u64_of};

/// Where it lies on the disk, and how long it is.
pub(super) const AT: usize = 1024;
pub(super) const BYTES: usize = 1024;

/// What of `s_feature_incompat` is read here. What is not known must not be read at all.
mod incompat {
    pub(super) const FILETYPE: u32 = 0x2;
    pub(super) const RECOVER: u32 = 0x4;
    pub(super) const JOURNAL_DEV: u32 = 0x8;
    pub(super) const META_BG: u32 = 0x10;
    pub(super) const EXTENTS: u32 = 0x40;
    pub(super) const WIDE: u32 = 0x80;
    pub(super) const MMP: u32 = 0x100;
    pub(super) const FLEX_BG: u32 = 0x200;
    pub(super) const EA_INODE: u32 = 0x400;
    pub(super) const CSUM_SEED: u32 = 0x2000;
    pub(super) const LARGEDIR: u32 = 0x4000;
    pub(super) const INLINE_DATA: u32 = 0x8000;
    pub(super) const ENCRYPT: u32 = 0x1_0000;

    /// Encrypted files are refused one by one.
    pub(super) const READ_HERE: u32 =
        FILETYPE | EXTENTS | WIDE | MMP | FLEX_BG | EA_INODE | CSUM_SEED | LARGEDIR | ENCRYPT;
}

/// `metadata_csum` in `s_feature_ro_compat`.
const METADATA_CSUM: u32 = 0x400;

/// What the superblock says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Bytes of a block: 1024, 2048 or 4096.
    pub(super) block_bytes: u32,
    pub(super) blocks: u64,
    /// The block that the superblock lies in. Group descriptors begin in the next.
    pub(super) first_block: u32,
    pub(super) inodes: u32,
    /// Not zero.
    pub(super) inodes_per_group: u32,
    /// A power of two, 128 at least and a block at most.
    pub(super) inode_bytes: u32,
    /// A power of two, 32 at least and a block at most.
    pub(super) descriptor_bytes: u32,
    /// What checksums of metadata begin with, where there are any.
    pub(super) checksums: Option<u32>,
    /// Tells this file system from others, as far as 32 bits can.
    pub(super) identity: u32,
}

impl Superblock {
    /// Reads it from the kilobyte at [`AT`].
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if u16_at(bytes, 0x38) != 0xef53 || bytes.len() < BYTES {
            return Err(Error::NotAFileSystem);
        }
        let corrupt = |what| Error::Corrupt { what, inode: 0 };
        let has_checksums = u32_at(bytes, 0x64) & METADATA_CSUM != 0;
        if has_checksums && u32_at(bytes, 0x3fc) != crc32c(BEGIN, &bytes[..0x3fc]) {
            return Err(corrupt("the superblock has a wrong checksum"));
        }
        // Revision 0 is from before there were features, and sizes of inodes.
        let is_old = u32_at(bytes, 0x4c) == 0;
        let features = if is_old { 0 } else { u32_at(bytes, 0x60) };
        check_features(features)?;
        let is_wide = features & incompat::WIDE != 0;

        let block_bytes = match u32_at(bytes, 0x18) {
            log @ 0..=2 => 1024 << log,
            3..=6 => {
                return Err(Error::Unsupported(
                    "its file system has blocks of more than 4096 bytes: make it with `mkfs.ext4 -b 4096`",
                ));
            }
            _ => return Err(corrupt("the size of blocks is nonsense")),
        };
        let size = |value: u32, least| {
            (value.is_power_of_two() && (least..=block_bytes).contains(&value)).then_some(value)
        };
        let inode_bytes = if is_old {
            128
        } else {
            u16_at(bytes, 0x58).into()
        };
        let descriptor_bytes = if is_wide {
            size(u16_at(bytes, 0xfe).into(), 64)
        } else {
            Some(32)
        };
        let superblock = Self {
            block_bytes,
            blocks: u64_of(
                if is_wide { u32_at(bytes, 0x150) } else { 0 },
                u32_at(bytes, 4),
            ),
            first_block: u32::from(block_bytes == 1024),
            inodes: u32_at(bytes, 0),
            inodes_per_group: u32_at(bytes, 0x28),
            inode_bytes: size(inode_bytes, 128).ok_or(corrupt("the size of inodes is nonsense"))?,
            descriptor_bytes: descriptor_bytes
                .ok_or(corrupt("the size of group descriptors is nonsense"))?,
            checksums: has_checksums.then(|| match features & incompat::CSUM_SEED {
                0 => crc32c(BEGIN, &uuid(bytes)),
                _ => u32_at(bytes, 0x270),
            }),
            identity: crc32c(BEGIN, &uuid(bytes)),
        };
        if superblock.inodes_per_group == 0 {
            return Err(corrupt("a group without inodes"));
        }
        Ok(superblock)
    }

    /// Bytes of the whole file system.
    pub(super) fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_bytes.into())
    }
}

fn uuid(bytes: &[u8]) -> [u8; 16] {
    array_at(bytes, 0x68)
}

fn check_features(features: u32) -> Result<(), Error> {
    if features & incompat::RECOVER != 0 {
        return Err(Error::Unsupported(
            "its file system was not unmounted, so that some of it is in the journal only: `e2fsck -fy` the image, or mount \
             and unmount it in Linux",
        ));
    }
    if features & incompat::JOURNAL_DEV != 0 {
        return Err(Error::Unsupported(
            "it is the journal of another disk's file system: attach that one",
        ));
    }
    if features & incompat::INLINE_DATA != 0 {
        return Err(Error::Unsupported(
            "its file system has the feature inline_data: make it with `mkfs.ext4 -O ^inline_data`",
        ));
    }
    if features & incompat::META_BG != 0 {
        return Err(Error::Unsupported(
            "its file system has the feature meta_bg: make it with `mkfs.ext4 -O ^meta_bg`",
        ));
    }
    if features & !incompat::READ_HERE != 0 {
        return Err(Error::Unsupported(
            "its file system has a feature that is not known here (`dumpe2fs -h` lists them): make it with the features \
             that mkfs.ext4 gives by itself",
        ));
    }
    Ok(())
}
