//! `cargo xtask`: builds xenlet images, boots them on a real Xen, tests them, keeps the tree in order.
#![forbid(unsafe_code)]

mod commands;
mod host;
mod interrupt;
mod project;
mod rig;
mod sh;
mod ui;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs and tests xenlet images.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A real Xen and dom0 under QEMU, by hand
    Rig(commands::rig::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Rig(arguments) => commands::rig::run(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
