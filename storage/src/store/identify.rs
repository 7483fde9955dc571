//! What is on a disk that may not be ours.

use super::shared::io;
use super::{BLOCK, Error};
use crate::BlockDevice;
use core::fmt;
use xenlet_blkfront::SECTOR;
use xenlet_kernel::page::Pages;

/// What a disk looks like, by its first blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Zeros, where anything known would have something.
    Blank,
    /// A store of ours, sound or not.
    Store,
    /// Something else, by its usual name.
    Other(&'static str),
    /// Something that is not known.
    Unknown,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("nothing"),
            Self::Store => f.write_str("a store"),
            Self::Other(name) => f.write_str(name),
            Self::Unknown => f.write_str("something unknown"),
        }
    }
}

/// Where known formats have their mark. The most telling ones come first: a disk with a partition table can have a boot
/// sector's mark as well.
const MARKS: &[(usize, &[u8], &str)] = &[
    (512, b"EFI PART", "a GPT partition table"),
    (4096, b"EFI PART", "a GPT partition table"),
    (1080, &[0x53, 0xef], "an ext2, ext3 or ext4 filesystem"),
    (0, b"XFSB", "an XFS filesystem"),
    (0x1_0040, b"_BHRfS_M", "a btrfs filesystem"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (536, b"LVM2 001", "an LVM physical volume"),
    (0, b"hsqs", "a squashfs image"),
    (0x8001, b"CD001", "an ISO 9660 image"),
    (4086, b"SWAPSPACE2", "swap space"),
    (
        0,
        b"QFI\xfb",
        "a qcow2 image (attach it as one, or convert it to raw)",
    ),
    (3, b"NTFS    ", "an NTFS filesystem"),
    (1024, &[0x10, 0x20, 0xf5, 0xf2], "an F2FS filesystem"),
    (82, b"FAT32   ", "a FAT filesystem"),
    (54, b"FAT", "a FAT filesystem"),
    (510, &[0x55, 0xaa], "a partition table (MBR)"),
];

/// Bytes at the begin of a disk in which all the marks are.
const LOOK: u64 = 128 << 10;

/// What `disk` looks like. Only its first blocks are read; [`is_blank`] reads all of it.
///
/// # Errors
/// What the disk gives.
pub async fn identify<D: BlockDevice>(disk: &D) -> Result<Found, Error> {
    let len = usize::try_from(disk.geometry().bytes().min(LOOK)).unwrap_or(0) / BLOCK * BLOCK;
    if len == 0 {
        return Ok(Found::Blank);
    }
    let pages = Pages::new(len).map_err(|_| Error::OutOfMemory)?;
    let (pages, done) = disk.read(0, pages).await;
    done.map_err(io("looking at the disk"))?;
    let has = |at: usize, mark: &[u8]| {
        pages
            .chunks()
            .nth(at / BLOCK)
            .and_then(|page| page.get(at % BLOCK..at % BLOCK + mark.len()))
            == Some(mark)
    };
    if has(0, super::MAGIC) {
        return Ok(Found::Store);
    }
    if let Some((.., name)) = MARKS.iter().find(|(at, mark, _)| has(*at, mark)) {
        return Ok(Found::Other(name));
    }
    Ok(if all_zero(&pages) {
        Found::Blank
    } else {
        Found::Unknown
    })
}

fn all_zero(pages: &Pages) -> bool {
    pages
        .chunks()
        .all(|page| page.iter().all(|&byte| byte == 0))
}

/// Whether every byte of `disk` is zero. Ends at the first that is not.
///
/// # Errors
/// What the disk gives.
pub async fn is_blank<D: BlockDevice>(disk: &D) -> Result<bool, Error> {
    /// Bytes of one request.
    const REQUEST: u64 = 1 << 20;
    let geometry = disk.geometry();
    let end =
        geometry.sectors / (geometry.sector_size / SECTOR) as u64 * geometry.sector_size as u64;
    let mut at = 0;
    let mut pages = Pages::new(0).map_err(|_| Error::OutOfMemory)?;
    while at < end {
        let len = usize::try_from(REQUEST.min(end - at)).unwrap_or(0);
        pages.resize(len).map_err(|_| Error::OutOfMemory)?;
        let done;
        (pages, done) = disk.read(at / SECTOR as u64, pages).await;
        done.map_err(io("looking at the disk"))?;
        if !all_zero(&pages) {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}
