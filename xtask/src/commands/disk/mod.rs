//! `cargo xtask disk`: the files that are disks of guests.

pub(crate) mod check;
mod create;
mod domain;
pub(crate) mod format;
pub(crate) mod from_folder;
mod ls;

use anyhow::Result;
use clap::{Args, Subcommand};

/// `cargo xtask disk …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask disk create data.img 1G
  cargo xtask disk format data.img
  cargo xtask run --app queue --disk data.img
  cargo xtask disk check data.img
  cargo xtask disk from-folder ~/my-site site.img")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a blank disk: a file that takes room only as it is written
    Create(create::Arguments),
    /// Make an empty store on a disk
    Format(format::Arguments),
    /// Verify everything that is in a store, and say what is damaged
    Check(check::Arguments),
    /// List the keys of a store
    Ls(ls::Arguments),
    /// Make a disk of a folder of files, for httpd to serve and Linux to mount
    FromFolder(from_folder::Arguments),
}

/// # Errors
/// If what was asked for can't be done; the error names the file.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.action {
        Action::Create(arguments) => create::run(arguments),
        Action::Format(arguments) => format::run(arguments),
        Action::Check(arguments) => check::run(arguments),
        Action::Ls(arguments) => ls::run(arguments),
        Action::FromFolder(arguments) => from_folder::run(arguments),
    }
}

#[cfg(test)]
mod tests;
