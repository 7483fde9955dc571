//! `cargo xtask disk format`: an empty store on a disk.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use xenlet_storage::FileDisk;
use xenlet_storage::store::{Error, Found, Options, Store, identify, is_blank};

use super::domain::{OPTIONS, on_disk};
use crate::ui::{Bytes, Phase};

/// `cargo xtask disk format FILE`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask disk format data.img
  cargo xtask disk format --force old.img     what is on it is lost

Only a disk that is all zeros is formatted without --force.")]
pub(crate) struct Arguments {
    /// The disk
    file: PathBuf,
    /// Format it whatever is on it
    #[arg(long)]
    force: bool,
}

/// # Errors
/// If there is something on the disk, or it can't be written.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let file = arguments.file.display();
    let phase = Phase::start(format!("formatting {file}"));
    let room = format(&arguments.file, arguments.force)?;
    phase.done();
    println!("{file}: an empty store with room for {}", Bytes(room));
    Ok(())
}

/// Makes an empty store in the file `path`; on a disk that is not blank only by `force`. Returns how much fits.
///
/// # Errors
/// If there is something on the disk, or it can't be written.
pub(crate) fn format(path: &Path, force: bool) -> Result<u64> {
    let room = on_disk(path, false, async move |disk| {
        if !force && let Some(found) = content(&disk).await? {
            return Ok(Err(found));
        }
        let options = Options {
            read_only: false,
            ..OPTIONS
        };
        let store = Store::format(disk, options).await?;
        Ok(Ok(store.free_bytes()))
    })?;
    room.or_else(|found| {
        bail!(
            "{} holds {found}, which formatting would erase: add --force if nobody needs it any more",
            path.display()
        )
    })
}

/// What is on the disk, if anything is.
async fn content(disk: &FileDisk) -> Result<Option<Found>, Error> {
    Ok(match identify(disk).await? {
        Found::Blank if is_blank(disk).await? => None,
        // Zeros where anything known would begin, and more further on.
        Found::Blank => Some(Found::Unknown),
        found => Some(found),
    })
}
