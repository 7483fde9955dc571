//! Verifies every checksum and every reference of a store.

use super::blob::layout::Run;
use super::blob::read_content;
use super::node::Kind;
use super::open::read_slot;
use super::shared::Shared;
use super::superblock::{Copy, places};
use super::tree::copied;
use super::walk::{Complain, Walk};
use super::{BLOCK, Error};
use crate::BlockDevice;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Blocks that were verified.
    pub blocks: u64,
    /// Blocks that the store says it uses.
    pub of: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Keys that were seen.
    pub entries: u64,
    /// Blobs that were seen.
    pub blobs: u64,
    /// Bytes of their content.
    pub blob_bytes: u64,
    /// Blocks in use that were seen.
    pub blocks: u64,
    /// What is damaged: the first [`Report::LISTED`] of it.
    pub problems: Vec<Problem>,
    /// How much is damaged.
    pub damaged: u64,
}

impl Report {
    /// How many problems are listed one by one.
    pub const LISTED: usize = 1000;

    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.damaged == 0
    }
}

/// Something that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key whose value or blob it belongs to; `None` if it is a part of the tree.
    pub key: Option<Box<[u8]>>,
    /// The block, at byte `block * 4096` of the disk.
    pub block: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Report {
    fn add(&mut self, key: Option<&[u8]>, block: u64, error: Error) -> Result<(), Error> {
        let what = match error {
            Error::Corrupt { what, .. } => what,
            _ => "a block that the disk fails to read",
        };
        self.damaged += 1;
        if self.problems.len() < Self::LISTED {
            let key = key.map(|key| copied(key).map(Vec::into_boxed_slice));
            let key = key.transpose()?;
            self.problems
                .try_reserve(1)
                .map_err(|_| Error::OutOfMemory)?;
            self.problems.push(Problem { key, block, what });
        }
        Ok(())
    }
}

/// Reads all of it, superblocks included.
pub(super) async fn check<D: BlockDevice>(
    shared: &Shared<D>,
    mut progress: impl FnMut(Progress),
) -> Result<Report, Error> {
    let mut report = Report::default();
    // Nothing that is referred to now is written over before the end.
    let (_, _reading) = shared.reading();
    let committed = shared.committed.get();
    for slot in 0..2 {
        let copies = read_slot(&shared.disk, slot, committed.blocks).await?;
        for (block, copy) in places(slot, committed.blocks).into_iter().zip(copies) {
            if !matches!(copy, Copy::Valid(found) if found.id == committed.id) {
                let what = "a superblock";
                report.add(None, block, Error::Corrupt { what, block })?;
            }
        }
    }
    let complain = |key: Option<&[u8]>, block, error| report.add(key, block, error);
    let show = |blocks| {
        progress(Progress {
            blocks,
            of: committed.used,
        })
    };
    let mut walk = Walk::new(shared, complain, show)?;
    walk.content = true;
    walk.everything().await?;
    let (entries, blobs, blob_bytes, blocks) =
        (walk.entries, walk.blobs, walk.blob_bytes, walk.used);
    Ok(Report {
        entries,
        blobs,
        blob_bytes,
        blocks,
        ..report
    })
}

impl<D: BlockDevice, C: Complain, P: FnMut(u64)> Walk<'_, D, C, P> {
    /// Reads the content of a run, past what is damaged.
    pub(super) async fn verify(&mut self, key: &[u8], run: Run) -> Result<(), Error> {
        let most = (self.shared.options.request_bytes / BLOCK) as u64;
        let first = run.sums.block + 1;
        let mut index = 0;
        // One by one after a failure, until the request that failed is done.
        let mut singly = 0;
        while index < run.content() {
            let count = if singly > 0 {
                1
            } else {
                most.min(run.content() - index)
            };
            match read_content(self.shared, run, index, count).await {
                Ok(_) => index += count,
                Err(Error::Corrupt { block, .. }) if block < first => {
                    // Without the checksums nothing can be said of the rest.
                    return self.failed(
                        Some(key),
                        Error::Corrupt {
                            what: Kind::Sums.name(),
                            block,
                        },
                        block,
                    );
                }
                Err(Error::Io { .. }) if count > 1 => {
                    singly = count + 1;
                }
                Err(e) => {
                    let block = match e {
                        Error::Corrupt { block, .. } => block,
                        _ => first + index,
                    };
                    self.failed(Some(key), e, block)?;
                    index = block - first + 1;
                }
            }
            singly = u64::saturating_sub(singly, 1);
        }
        Ok(())
    }
}
