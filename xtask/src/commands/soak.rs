//! `cargo xtask soak`: what the tests on Xen do a few times to a guest under load, done at length.

use anyhow::{Result, bail};
use clap::Args;

use crate::e2e;
use crate::rig::Options;
use crate::xen::{On, Xen};

/// `cargo xtask soak …`
#[derive(Debug, Args)]
#[command(
    long_about = "Does to guests under load, again and again, what an operator does to them: 20 times save and restore, 20 checkpoints (xl save -c), \
20 times either of these on a queue with a disk, 50 times detach and attach of its disk and vif, 20 times unbind and bind of blkback and netback. Meanwhile clients ask for pages, or upload, on \
connections that stay open. Every answer is compared, every acknowledged upload is fetched, the disk is checked at the end; and the \
guest must hold no more memory, grants, event channels and watches than after the first round.\n\n\
Says each round as it ends. Exits with an error if anything was lost.",
    after_help = "Examples:
  cargo xtask soak                     all of it
  cargo xtask soak rebind              only what has this word in its name
  cargo xtask soak --on local          on this machine, which is a Xen dom0"
)]
pub(crate) struct Arguments {
    /// Only those whose names contain one of these words: save-restore, checkpoint, queue-save-restore, queue-devices-come-and-go, queue-backend-rebind
    filter: Vec<String>,
    /// Install missing packages of this machine without asking
    #[arg(long)]
    yes: bool,
    /// Which Xen
    #[arg(long, value_enum, default_value_t)]
    on: On,
}

/// # Errors
/// If anything fails; what failed was printed.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    Xen::check(arguments.on, arguments.yes)?;
    let options = Options {
        yes: arguments.yes,
        ..Options::default()
    };
    let outcome = e2e::run(arguments.on, options, &arguments.filter, true)?;
    println!("{} passed, {} failed", outcome.passed, outcome.failed);
    match outcome.failed {
        0 => Ok(()),
        failed => bail!("failed: {failed} of the soak"),
    }
}
