//! Why a store refuses.

use super::{Found, MAX_KEY, MAX_VALUE};
use core::fmt;
use xenlet_blkfront::IoError;

/// Why the store did not do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no store on the disk. It was left as it is.
    NotAStore(Found),
    /// The store is of a version that this code does not know.
    OtherVersion(u32),
    /// The disk is too small for a store.
    TooSmall {
        /// Bytes that it has.
        bytes: u64,
    },
    /// The disk is smaller than when the store was made.
    Truncated {
        /// Bytes that the store needs.
        needs: u64,
        /// Bytes that the disk has.
        bytes: u64,
    },
    /// Both copies of a superblock are damaged, so it can't be known what was stored last. A power cut can't do that.
    Superblocks {
        /// Block numbers of the two.
        blocks: [u64; 2],
    },
    /// A block does not hold what was written there.
    Corrupt {
        /// What it should be.
        what: &'static str,
        /// Its number: at byte `block * 4096` of the disk.
        block: u64,
    },
    /// There is no space left.
    Full,
    /// A key that must not be there is ([`Transaction::if_absent`](super::Transaction::if_absent)).
    Exists,
    /// A key that must be there is not ([`Transaction::if_present`](super::Transaction::if_present)).
    Missing,
    /// A key is empty or too long.
    KeyLength(usize),
    /// A value is too long.
    ValueLength(usize),
    /// More was written to a blob than it was said to have.
    TooLong {
        /// What was said.
        expected: u64,
    },
    /// The store can't be written.
    ReadOnly(Why),
    /// The disk failed.
    Io {
        /// What was being done.
        what: &'static str,
        /// How it failed.
        error: IoError,
    },
    /// What was written may be lost, because the disk failed to keep it. Write it again.
    Lost,
    /// The disk failed at the moment of the commit: whether it happened shows when the store is opened again.
    Unsure,
    /// There is no memory.
    OutOfMemory,
}

/// Why a store can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The disk can't.
    Disk,
    /// It was opened so ([`Options::read_only`](super::Options::read_only)).
    Options,
    /// A commit failed in a way that leaves open what is on disk ([`Error::Unsure`]).
    Unsure,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAStore(Found::Blank) => f.write_str(
                "the disk is blank; format it (`cargo xtask disk format FILE`, or `format=ifblank` on the command line)",
            ),
            Self::NotAStore(found) => write!(
                f,
                "the disk holds {found}, not a store; it is left as it is (give another disk, or format this one)"
            ),
            Self::OtherVersion(version) => write!(
                f,
                "the store is of version {version}, and this program knows version {}; use the program that made it",
                super::VERSION
            ),
            Self::TooSmall { bytes } => write!(
                f,
                "a disk of {bytes} bytes is too small for a store; give it {} or more",
                super::MIN_BLOCKS * super::BLOCK as u64
            ),
            Self::Truncated { needs, bytes } => write!(
                f,
                "the disk has {bytes} bytes and the store on it {needs}: it was cut off; give the disk its size back"
            ),
            Self::Superblocks { blocks: [a, b] } => write!(
                f,
                "both copies of a superblock are damaged (blocks {a} and {b}), so what was stored last is not known; \
                 the disk must be restored from a copy"
            ),
            Self::Corrupt { what, block } => write!(
                f,
                "{what} in block {block} (byte {} of the disk) is not what was written; \
                 `cargo xtask disk check FILE` says what is damaged",
                u128::from(*block) * super::BLOCK as u128
            ),
            Self::Full => f.write_str("the disk is full; delete something, or give it a larger one"),
            Self::Exists => f.write_str("the key exists"),
            Self::Missing => f.write_str("there is no such key"),
            Self::KeyLength(len) => {
                write!(f, "a key of {len} bytes: it must have 1 to {MAX_KEY}")
            }
            Self::ValueLength(len) => write!(
                f,
                "a value of {len} bytes: it may have {MAX_VALUE}; put more into a blob"
            ),
            Self::TooLong { expected } => {
                write!(f, "the blob was to have {expected} bytes and gets more")
            }
            Self::ReadOnly(Why::Disk) => f.write_str("the disk is read-only"),
            Self::ReadOnly(Why::Options) => f.write_str("the store was opened to be read only"),
            Self::ReadOnly(Why::Unsure) => f.write_str(
                "the disk failed in the middle of a commit; nothing is written before the store is opened again",
            ),
            Self::Io { what, error } => write!(f, "{what}: {error}"),
            Self::Lost => f.write_str(
                "the disk failed to keep what was written to the blob; write it again",
            ),
            Self::Unsure => f.write_str(
                "the disk failed at the moment of the commit; whether it happened shows when the store is opened again",
            ),
            Self::OutOfMemory => {
                f.write_str("out of memory for the store (give the guest more memory=)")
            }
        }
    }
}

impl core::error::Error for Error {}
