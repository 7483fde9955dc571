//! Verifies every checksum and every reference of a store.

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
