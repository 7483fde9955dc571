//! What a request costs, by function: examples/bench whole on the hosted backend, its instructions counted by callgrind.
//!
//! | file | what |
//! | --- | --- |
//! | `callgrind` | running it, and reading what it wrote |
//! | `source` | the function of the source that an instruction is of |
//! | `report` | the table |

mod callgrind;
mod report;
mod source;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use object::{Object, ObjectSymbol};

pub(crate) use self::report::Report;

use self::callgrind::Marks;
use self::source::{Function, Source};
use crate::bench::site;
use crate::image::TRIPLE;
use crate::project;
use crate::sh;
use crate::ui::Phase;

/// A load. examples/bench/examples/profile.rs knows them by the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// 4 KiB page, kept alive, 16 connections
    Page,
    /// 4 KiB page, Connection: close, 16 at a time
    Close,
    /// 1 MiB downloads, kept alive, 4 connections
    Download,
    /// An upload that is thrown away, by the MiB
    Upload,
}

impl Row {
    fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Close => "close",
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }

    /// What is counted.
    fn unit(self) -> &'static str {
        match self {
            Self::Page | Self::Close => "request",
            Self::Download | Self::Upload => "MiB",
        }
    }

    /// Enough of them for figures that repeat within one percent.
    fn requests(self) -> u64 {
        match self {
            Self::Page | Self::Close => 1000,
            Self::Download | Self::Upload => 50,
        }
    }
}

/// Where the guest sleeps. Below are the backends, the other machine and the clients, in the same thread.
const SLEEPS: [&str; 2] = [
    "xenlet_kernel::hosted::platform::wait",
    "xenlet_kernel::hosted::platform::relax",
];

/// Builds the program that is measured, with the image's profile.
///
/// # Errors
/// If it doesn't compile.
pub(crate) fn build() -> Result<PathBuf> {
    let folder = project::target_dir().join("build-profile");
    let mut cargo = project::cargo();
    cargo
        .args(["build", "--package", "xenlet-bench", "--example", "profile"])
        .args(["--profile", "xen", "--target", TRIPLE, "--target-dir"])
        .arg(&folder)
        .env("XENLET_SITE", site::write()?)
        // The whole names of inlined functions.
        .env("CARGO_PROFILE_XEN_DEBUG", "limited")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    sh::show(&mut cargo).context("the program to be profiled does not build")?;
    Ok(folder.join(TRIPLE).join("xen/examples/profile"))
}

/// As the image is built. All in one file, so that each address has a name, the C library's too.
const FLAGS: [&str; 6] = [
    "-C",
    "relocation-model=static",
    "-C",
    "force-frame-pointers=yes",
    "-C",
    "target-feature=+crt-static",
];

/// Counts the instructions of `requests` requests; with `all`, those of the host too.
///
/// # Errors
/// If the program fails, or what callgrind wrote can't be understood.
pub(crate) fn run(program: &Path, row: Row, requests: Option<u64>, all: bool) -> Result<Report> {
    let requests = requests.unwrap_or(row.requests());
    let folder = project::target_dir().join("profile");
    fs::create_dir_all(&folder)?;
    let out = folder.join(format!("{}.callgrind", row.name()));
    let symbols = symbols(&fs::read(program)?)?;
    let symbol = |function: &str| match symbols.get(function) {
        Some(symbol) => Ok(symbol.clone()),
        None => bail!("no function {function} in the program: was it inlined?"),
    };
    let marks = Marks {
        begin: symbol("profile::begin")?,
        end: symbol("profile::end")?,
        left_out: match all {
            true => Vec::new(),
            false => SLEEPS.into_iter().map(symbol).collect::<Result<_>>()?,
        },
    };
    let phase = Phase::start(format!("{} of the row {}", 2 * requests, row.name()));
    callgrind::run(program, row.name(), requests, &marks, &out)?;
    phase.done();
    let source = Source::load(program)?;
    let mut functions: HashMap<Function, u64> = HashMap::new();
    for cost in callgrind::parse(&fs::read_to_string(&out)?)? {
        let function = source.function(cost.address, &cost.symbol);
        *functions.entry(function).or_default() += cost.instructions;
    }
    Ok(Report::new(row, requests, all, functions, out))
}

/// The program's functions: their symbols by their names.
fn symbols(program: &[u8]) -> Result<HashMap<String, String>> {
    let file = object::File::parse(program)?;
    let named = file.symbols().filter_map(|symbol| {
        let symbol = symbol.name().ok()?;
        Some((source::demangled(symbol), symbol.to_owned()))
    });
    Ok(named.collect())
}
