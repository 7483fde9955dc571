//! From a path to an inode: folders, and links, which never lead out of the file system.

use super::bytes::{crc32c, u16_at, u32_at};
use super::inode::{Inode, Kind, MAP_BYTES, ROOT};
use super::volume::Volume;
use super::{BlockDevice, Error};
use alloc::vec::Vec;

/// How long a path may be, with those of the links in it (`PATH_MAX`).
const LONGEST: usize = 4096;

/// How many links a path may lead through (`MAXSYMLINKS`).
const LINKS: u32 = 40;

impl<D: BlockDevice> Volume<D> {
    /// The inode that `path` leads to, as in POSIX from the root folder: empty segments and `.` stay, `..` goes back, but
    /// not beyond the root.
    pub(super) async fn resolve(&self, path: &[u8]) -> Result<Inode, Error> {
        let mut rest = Vec::new();
        extend(&mut rest, path)?;
        let mut at = 0;
        let mut links = 0;
        // The folders on the way, without the root.
        let mut way: Vec<u32> = Vec::new();
        let mut here = self.inode(ROOT).await?;
        loop {
            let left = rest.get(at..).unwrap_or_default();
            let Some(begin) = left.iter().position(|&byte| byte != b'/') else {
                // A path that ends in `/` is one of a folder.
                return match (left.is_empty(), here.kind) {
                    (true, _) | (_, Kind::Folder) => Ok(here),
                    _ => Err(Error::NotFound),
                };
            };
            let name = left.get(begin..).unwrap_or_default();
            let name = name.split(|&byte| byte == b'/').next().unwrap_or_default();
            at += begin + name.len();
            if here.kind != Kind::Folder {
                return Err(Error::NotFound);
            }
            match name {
                b"." => continue,
                b".." => {
                    way.pop();
                    here = self.inode(way.last().copied().unwrap_or(ROOT)).await?;
                    continue;
                }
                _ => {}
            }
            let number = self.find(&here, name).await?.ok_or(Error::NotFound)?;
            let found = self.inode(number).await?;
            match found.kind {
                Kind::Link => {
                    links += 1;
                    if links > LINKS {
                        return Err(Error::Links);
                    }
                    let mut path = self.target(&found).await?;
                    if path.first() == Some(&b'/') {
                        way.clear();
                        here = self.inode(ROOT).await?;
                    }
                    extend(&mut path, rest.get(at..).unwrap_or_default())?;
                    (rest, at) = (path, 0);
                }
                Kind::Folder => {
                    way.try_reserve(1).map_err(|_| NO_MEMORY)?;
                    way.push(number);
                    here = found;
                }
                _ => here = found,
            }
        }
    }

    /// Where a link leads.
    async fn target(&self, link: &Inode) -> Result<Vec<u8>, Error> {
        let len = usize::try_from(link.len).unwrap_or(usize::MAX);
        if len == 0 || len > LONGEST {
            return Err(link.corrupt("a link leads nowhere, or too far"));
        }
        let mut target = Vec::new();
        if len < MAP_BYTES {
            extend(&mut target, &link.map[..len])?;
            return Ok(target);
        }
        for block in 0.. {
            let missing = len - target.len();
            if missing == 0 {
                break;
            }
            let run = self.locate(link, block).await?;
            let block = run.at.ok_or(link.corrupt("a link's target has a hole"))?;
            let (cached, begin) = self
                .block(block, 0)
                .await?
                .ok_or(link.corrupt("a block of it lies outside of the file system"))?;
            let bytes = self.part(&cached, begin);
            extend(&mut target, &bytes[..missing.min(bytes.len())])?;
        }
        Ok(target)
    }

    /// The inode that `name` stands for in a folder.
    ///
    /// It looks through the folder from its beginning: also the blocks of a hash tree look like blocks without entries.
    async fn find(&self, folder: &Inode, name: &[u8]) -> Result<Option<u32>, Error> {
        let size = u64::from(self.superblock.block_bytes);
        let blocks = folder.len.div_ceil(size);
        if blocks > self.superblock.blocks {
            return Err(folder.corrupt("a folder is larger than the file system"));
        }
        let mut block = 0;
        while block < blocks {
            let run = self.locate(folder, block).await?;
            let Some(at) = run.at else {
                return Err(folder.corrupt("a folder has a hole"));
            };
            let count = run.blocks.min(blocks - block);
            for index in 0..count {
                let (cached, begin) = self
                    .block(at + index, count - index - 1)
                    .await?
                    .ok_or(folder.corrupt("a block of it lies outside of the file system"))?;
                let bytes = self.part(&cached, begin);
                if let Some(seed) = folder.checksums
                    && !(folder.has_index && is_index(bytes, block + index))
                    && !cached.check(begin, || is_intact(bytes, seed))
                {
                    return Err(folder.corrupt("a block of a folder has a wrong checksum"));
                }
                if let Some(found) = search(folder, bytes, name)? {
                    return Ok(Some(found));
                }
            }
            block += count;
        }
        Ok(None)
    }
}

const NO_MEMORY: Error = Error::Io(crate::IoError::OutOfMemory);

/// Appends to a path.
fn extend(path: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Error> {
    if path.len() + bytes.len() > LONGEST {
        return Err(Error::Links);
    }
    path.try_reserve(bytes.len()).map_err(|_| NO_MEMORY)?;
    path.extend_from_slice(bytes);
    Ok(())
}

/// Bytes of the entry at a block's end that holds its checksum.
const TAIL: usize = 12;

/// Whether a block of a folder with a hash tree is one of the tree: the root, or one whose only entry is empty and fills
/// it. (Their checksum lies elsewhere; nothing of them is used here.)
fn is_index(block: &[u8], index: u64) -> bool {
    index == 0 || u32_at(block, 0) == 0 && usize::from(u16_at(block, 4)) == block.len()
}

/// Whether a block of entries has the checksum in its last one.
fn is_intact(block: &[u8], seed: u32) -> bool {
    let Some((entries, tail)) = block.split_last_chunk::<TAIL>() else {
        return false;
    };
    tail[..8] == [0, 0, 0, 0, 12, 0, 0, 0xde] && crc32c(seed, entries) == u32_at(tail, 8)
}

/// Looks for `name` in a block of entries: inode, length of the entry, length of the name, kind, name.
fn search(folder: &Inode, block: &[u8], name: &[u8]) -> Result<Option<u32>, Error> {
    const HEADER: usize = 8;
    let mut rest = block;
    while !rest.is_empty() {
        let len = usize::from(u16_at(rest, 4));
        let entry = (len >= HEADER)
            .then(|| rest.split_at_checked(len))
            .flatten();
        let Some((entry, next)) = entry else {
            return Err(folder.corrupt("an entry of a folder is malformed"));
        };
        let (inode, len) = (u32_at(entry, 0), usize::from(entry[6]));
        let found = entry.get(HEADER..HEADER + len);
        if inode != 0 {
            match found {
                None => return Err(folder.corrupt("a name in a folder is longer than its entry")),
                Some(found) if found == name => return Ok(Some(inode)),
                Some(_) => {}
            }
        }
        rest = next;
    }
    Ok(None)
}
