//! Why files can't be read, in words for the person who has to change it.

use crate::IoError;
use core::fmt;

/// Why a file system or one of its files can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such file or folder.
    NotFound,
    /// A path leads through more links than anybody means, or becomes too long by them.
    Links,
    /// The disk holds no ext2, ext3 or ext4 file system.
    NotAFileSystem,
    /// The file system is larger than the disk.
    Truncated {
        /// Bytes of the file system.
        needed: u64,
        /// Bytes of the disk.
        disk: u64,
    },
    /// The file system, or this file, uses what is not supported here; the text says what, and what to do.
    Unsupported(&'static str),
    /// The file system is damaged.
    Corrupt {
        /// What is wrong.
        what: &'static str,
        /// The inode that it belongs to; 0 for the file system as a whole.
        inode: u32,
    },
    /// The disk failed.
    Io(IoError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such file"),
            Self::Links => f.write_str("the path leads through too many links"),
            Self::NotAFileSystem => f.write_str(
                "there is no ext4 file system on it: make one with `cargo xtask disk from-folder DIR FILE`, or with \
                 `mkfs.ext4 -d DIR FILE`",
            ),
            Self::Truncated { needed, disk } => write!(
                f,
                "its file system has {needed} bytes and the disk only {disk}: the image was not copied whole"
            ),
            Self::Unsupported(what) => f.write_str(what),
            Self::Corrupt { what, inode: 0 } => {
                write!(f, "the file system is damaged: {what}; `e2fsck -f` the image, or make it anew")
            }
            Self::Corrupt { what, inode } => write!(
                f,
                "the file system is damaged: inode {inode}: {what}; `e2fsck -f` the image, or make it anew"
            ),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<IoError> for Error {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}
