//! `cargo xtask`: builds xenlet images, boots them on a real Xen, tests them, keeps the tree in order.
#![forbid(unsafe_code)]

mod bench;
mod ca;
mod commands;
mod e2e;
mod host;
mod image;
mod interrupt;
mod profile;
mod project;
mod rig;
mod sh;
mod tidy;
mod ui;
mod xen;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs and tests xenlet images.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an application: a Xen image, or a program of this machine
    Build(commands::build::Arguments),
    /// Build an application and run it, on a real Xen by default
    Run(commands::run::Arguments),
    /// Run every test, those on a real Xen included
    Test(commands::test::Arguments),
    /// Save and restore guests under load, again and again
    Soak(commands::soak::Arguments),
    /// Measure an image beside a Linux guest on a real Xen
    Bench(commands::bench::Arguments),
    /// Look for inputs that break a guest: peers that lie
    Fuzz(commands::fuzz::Arguments),
    /// Count what a request costs, by function
    Profile(commands::profile::Arguments),
    /// Have scanners look at an HTTPS server: a guest, here or elsewhere
    Scan(commands::scan::Arguments),
    /// Check the rules of the tree: formatting, lints, arrows between crates, licences
    Tidy,
    /// Name the functions and lines of a crash report
    Symbolize(commands::symbolize::Arguments),
    /// Files that are disks: make, format, check and list them
    Disk(commands::disk::Arguments),
    /// A real Xen and dom0 under QEMU, by hand
    Rig(commands::rig::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Build(arguments) => commands::build::run(&arguments),
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Test(arguments) => commands::test::run(&arguments),
        Command::Soak(arguments) => commands::soak::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Fuzz(arguments) => commands::fuzz::run(&arguments),
        Command::Profile(arguments) => commands::profile::run(&arguments),
        Command::Scan(arguments) => commands::scan::run(&arguments),
        Command::Tidy => commands::tidy::run(),
        Command::Symbolize(arguments) => commands::symbolize::run(&arguments),
        Command::Disk(arguments) => commands::disk::run(&arguments),
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
