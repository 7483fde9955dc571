//! `cargo xtask disk`: the files that are disks of guests.

mod create;

use anyhow::Result;
use clap::{Args, Subcommand};

/// `cargo xtask disk …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask disk create data.img 1G
  cargo xtask run --disk data.img")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a blank disk: a file that takes room only as it is written
    Create(create::Arguments),
}

/// # Errors
/// If what was asked for can't be done; the error names the file.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.action {
        Action::Create(arguments) => create::run(arguments),
    }
}
