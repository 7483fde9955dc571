//! Content of any length: written from begin to end, read anywhere, never held whole.

pub(super) mod layout;
mod reader;
mod runs;
mod writer;

pub use reader::BlobReader;
pub(super) use reader::read_content;
pub(super) use runs::{Place, Position};
pub use writer::BlobWriter;

use super::space::{Claim, Space};
use alloc::rc::Rc;
use alloc::vec::Vec;

/// A blob that is written and not yet in a transaction. Dropped, its space is given back.
#[derive(Debug)]
pub struct Blob {
    claim: Rc<Claim>,
    len: u64,
    /// As it will be in a leaf's cell.
    content: Vec<u8>,
    /// How many flushes had failed when its writing began.
    failed_flushes: u64,
}

impl Blob {
    /// How many bytes it has.
    #[allow(clippy::len_without_is_empty, reason = "a blob may well be empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    pub(super) fn failed_flushes(&self) -> u64 {
        self.failed_flushes
    }

    /// How many blocks it takes.
    pub(super) fn blocks(&self) -> u64 {
        self.claim.blocks()
    }

    pub(super) fn is_of(&self, space: &Space) -> bool {
        space.is_of(&self.claim)
    }

    /// It is in the tree now.
    pub(super) fn keep(&self) {
        self.claim.keep();
    }
}
