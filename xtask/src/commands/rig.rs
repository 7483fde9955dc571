//! `cargo xtask rig`: a real Xen and dom0 under QEMU, by hand.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::rig::{Options, Rig, folder};

/// `cargo xtask rig …`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask rig up\n  cargo xtask rig exec xl list\n  cargo xtask rig shell\n  cargo xtask rig down"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Boot Xen and dom0, unless they run already
    Up {
        /// Install missing packages of this machine without asking
        #[arg(long)]
        yes: bool,
        /// Look for newer Debian packages of Xen and dom0
        #[arg(long)]
        fresh: bool,
        /// Let its time count instructions, one a nanosecond: slower, but measurements repeat
        #[arg(long)]
        counting: bool,
    },
    /// Open a shell in dom0 (target/rig/share is its /share)
    Shell,
    /// Run one command in dom0 and print what it says
    Exec {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Say whether the rig runs, and what runs on it
    Status,
    /// End QEMU and everything that runs on it
    Down,
}

/// # Errors
/// If what was asked for can't be done.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.action {
        Action::Up {
            yes,
            fresh,
            counting,
        } => {
            crate::interrupt::watch()?;
            let options = Options {
                yes,
                fresh,
                counting,
            };
            let (rig, new) = Rig::up(options)?;
            let (mib, guests) = rig.memory();
            let state = if new { "up" } else { "up already" };
            println!(
                "the rig is {state}: QEMU is process {}, {mib} MiB, {guests} MiB for guests{}",
                rig.pid(),
                time(&rig)
            );
        }
        Action::Shell => running()?.channel().shell()?,
        Action::Exec { command } => {
            let done = running()?
                .channel()
                .exec(&command.join(" "), Duration::from_secs(3600))?;
            println!("{}", done.text.trim_end());
            if done.status != 0 {
                bail!("dom0 says: exit status {}", done.status);
            }
        }
        Action::Status => match Rig::running() {
            None => println!("the rig is down"),
            Some(rig) => {
                let (mib, guests) = rig.memory();
                println!(
                    "the rig is up: QEMU is process {}, {mib} MiB, {guests} MiB for guests{}",
                    rig.pid(),
                    time(&rig)
                );
                println!(
                    "{}",
                    rig.channel()
                        .exec("xl list", Duration::from_secs(30))?
                        .text
                        .trim_end()
                );
                println!("logs: {}", folder().display());
            }
        },
        Action::Down => match Rig::running() {
            None => println!("the rig is down already"),
            Some(rig) => rig.down()?,
        },
    }
    Ok(())
}

/// What is to be known of the rig's time.
fn time(rig: &Rig) -> &'static str {
    match rig.counts() {
        true => ", time counts instructions",
        false => "",
    }
}

fn running() -> Result<Rig> {
    Rig::running().context("the rig is down: `cargo xtask rig up` boots it")
}
