//! Why a folder cannot be embedded, in words for the person who has to change it.

use crate::walk::LONGEST_PATH;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// One reason why a folder cannot be embedded. [`Display`](fmt::Display) names the file and the remedy, in one line
/// whatever the names hold.
#[derive(Debug)]
pub enum Problem {
    /// There is no such folder.
    Missing(PathBuf),
    /// What should be the folder is something else.
    NotAFolder(PathBuf),
    /// The folder holds no file that would be served.
    Empty(PathBuf),
    /// A name is not UTF-8, so no URL leads to it.
    NotUtf8(PathBuf),
    /// The path of a file is longer than a server should have to accept.
    TooLong {
        /// The file or folder at which the limit is passed.
        path: PathBuf,
        /// Its length in bytes, counted from the site's own folder.
        bytes: usize,
    },
    /// A link leads out of the folder: following it could publish anything.
    LinkLeaves {
        /// The link.
        link: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A link leads to a folder that it lies in: the tree would have no end.
    LinkLoops {
        /// The link.
        link: PathBuf,
        /// The folder around it.
        target: PathBuf,
    },
    /// A link cannot be followed.
    LinkDead {
        /// The link.
        link: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Neither a file nor a folder: a FIFO, a socket, a device.
    Special(PathBuf),
    /// A file or folder cannot be read.
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Two files would answer at one path.
    Clash {
        /// The path as in a URL, decoded.
        path: String,
        /// The two files.
        files: [PathBuf; 2],
    },
    /// The result cannot be written.
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Not called from a build script.
    NoOutDir,
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Problem::LinkDead { error, .. }
            | Problem::Unreadable { error, .. }
            | Problem::Unwritable { error, .. } => Some(error),
            _ => None,
        }
    }
}

// Paths are written with `{:?}`: a line break or a byte that is not UTF-8 is escaped, and can neither be taken
// for something else nor end the line in which cargo is told.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Missing(path) => {
                write!(
                    f,
                    "the site folder {path:?} does not exist: create it, or name another"
                )
            }
            Problem::NotAFolder(path) => {
                write!(
                    f,
                    "the site {path:?} is not a folder: name the folder that holds it"
                )
            }
            Problem::Empty(path) => write!(
                f,
                "the site folder {path:?} has no file to serve: put an index.html there \
                 (hidden files and backups are not served), or name another"
            ),
            Problem::NotUtf8(path) => {
                write!(
                    f,
                    "the name {path:?} is not UTF-8, so that no URL leads to it: rename it, or move it out"
                )
            }
            Problem::TooLong { path, bytes } => write!(
                f,
                "the path of {path:?} in the site is {bytes} bytes long, and {LONGEST_PATH} is the limit: shorten it"
            ),
            Problem::LinkLeaves { link, target } => write!(
                f,
                "the link {link:?} leads out of the site, to {target:?}: put a copy in its place, or delete it"
            ),
            Problem::LinkLoops { link, target } => write!(
                f,
                "the link {link:?} leads to {target:?}, which it lies in, so that the site would have no end: delete it"
            ),
            Problem::LinkDead { link, error } => {
                write!(
                    f,
                    "the link {link:?} cannot be followed ({error}): correct it, or delete it"
                )
            }
            Problem::Special(path) => {
                write!(
                    f,
                    "{path:?} is neither a file nor a folder (a FIFO, socket or device?): move it out of the site"
                )
            }
            Problem::Unreadable { path, error } => {
                write!(
                    f,
                    "{path:?} cannot be read ({error}): correct its permissions, or move it out of the site"
                )
            }
            Problem::Clash {
                path,
                files: [first, second],
            } => {
                write!(
                    f,
                    "{first:?} and {second:?} would both answer at {path:?}: rename one of them"
                )
            }
            Problem::Unwritable { path, error } => {
                write!(
                    f,
                    "{path:?} cannot be written ({error}): is the disk full, or the target directory read-only?"
                )
            }
            Problem::NoOutDir => {
                write!(
                    f,
                    "OUT_DIR is not set: call xenlet_fs_static_build::embed from a build.rs that cargo runs"
                )
            }
        }
    }
}
