//! `cargo xtask profile`: what a request costs, by function, counted by callgrind.

use anyhow::Result;
use clap::Args;

use crate::host;
use crate::profile::{self, Row};

/// `cargo xtask profile …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask profile
  cargo xtask profile --row close
  cargo xtask profile --row download,upload --lines 60

examples/bench runs whole on the hosted backend, compiled as the image is. A second TCP/IP stack in the same process is
the other machine, with the clients. Instructions are counted, so figures repeat; they compare functions, and are not
times.")]
pub(crate) struct Arguments {
    /// The load
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["page"])]
    row: Vec<Row>,
    /// How many requests (MiB, for the rows that count these) to take the mean of
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    requests: Option<u64>,
    /// Count the host's half too: the backends, the other machine, the clients
    #[arg(long)]
    all: bool,
    /// How many lines of each table to show
    #[arg(long, value_name = "N", default_value_t = 30)]
    lines: usize,
    /// Install missing packages of this machine without asking
    #[arg(long)]
    yes: bool,
}

/// # Errors
/// If valgrind is missing, or the program doesn't build or run.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    host::need(&[host::VALGRIND], arguments.yes)?;
    let program = profile::build()?;
    for row in &arguments.row {
        let mut report = profile::run(&program, *row, arguments.requests, arguments.all)?;
        report.lines = arguments.lines;
        println!("{report}");
    }
    Ok(())
}
