//! The build half of `xenlet-fs-static`: turns a folder into a static, with all that a web server would
//! otherwise work out at run time.
//!
//! It is called from an application's `build.rs`,
//!
//! ```no_run
//! xenlet_fs_static_build::embed("site");
//! ```
//!
//! and the program says `static SITE: xenlet_fs_static::Tree = xenlet_fs_static::site!();`.
//!
//! # What is embedded
//!
//! Every file in the folder, at the path it has there. A folder with an `index.html` answers with it at
//! `/folder/`, and redirects there from `/folder`. A `/404.html` becomes the tree's `not_found()`. Links are followed
//! as long as they stay in the folder. Left out, with one warning that counts them: what starts with a dot (but
//! `.well-known`, RFC 8615) and editors' backups (`*~`).
//!
//! # For a disk
//!
//! [`stage`] puts the same into a folder, for mkfs.ext4 to make an image of: the files, what is told of them, and their
//! compressed variants.
//!
//! # The same bytes every time
//!
//! The output depends on the paths and the contents of the files and on nothing else: not on times,
//! owners, the order in which the file system lists them, or where the folder lies.

#![forbid(unsafe_code)]

mod blob;
mod cargo;
mod compress;
mod content_type;
mod emit;
mod prepare;
mod problem;
mod site;
mod stage;
mod table;
mod types;
mod walk;

pub use cargo::{VARIABLE, embed};
pub use problem::Problem;
pub use site::{Report, generate};
pub use stage::{MODIFIED, Staged, stage};
pub use types::embed_types;
