//! `cargo xtask disk check`: verifies every checksum and every reference of a store.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use xenlet_storage::store::{BLOCK, Problem, Report, Store};

use super::domain::{OPTIONS, on_disk};
use crate::ui::{Bar, Bytes};

/// `cargo xtask disk check FILE`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask disk check data.img && echo sound

Nothing is written. No guest may be using the disk. The exit status is 1 if anything is damaged.")]
pub(crate) struct Arguments {
    /// The disk
    file: PathBuf,
}

/// # Errors
/// If there is no store, or anything in it is damaged; what is was printed.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let report = sound(&arguments.file)?;
    println!(
        "{} is sound: {}",
        arguments.file.display(),
        summary(&report)
    );
    Ok(())
}

/// Verifies the store in the file `path`, and prints what is damaged.
///
/// # Errors
/// If there is no store, or anything in it is damaged.
pub(crate) fn sound(path: &Path) -> Result<Report> {
    let report = verify(path)?;
    for problem in &report.problems {
        println!("{}", describe(problem));
    }
    let listed = u64::try_from(report.problems.len())?;
    match report.damaged {
        0 => Ok(report),
        damaged => bail!(
            "{} is damaged in {damaged} place{}{}; what is not named above can still be read",
            path.display(),
            if damaged == 1 { "" } else { "s" },
            match damaged.saturating_sub(listed) {
                0 => String::new(),
                more => format!(" ({more} of them not listed)"),
            }
        ),
    }
}

/// Verifies the store in the file `path`.
///
/// # Errors
/// If there is no store, or it can't be read at all.
pub(super) fn verify(path: &Path) -> Result<Report> {
    let bar = Bar::start(format!("checking {}", path.display()));
    let shown = bar.clone();
    let report = on_disk(path, true, async move |disk| {
        let store = Store::open(disk, OPTIONS).await?;
        let block = BLOCK as u64;
        store
            .check(|progress| shown.at(progress.blocks * block, progress.of * block))
            .await
    })?;
    bar.done();
    Ok(report)
}

fn summary(report: &Report) -> String {
    format!(
        "{} keys, {} blobs of {}, in {} blocks",
        report.entries,
        report.blobs,
        Bytes(report.blob_bytes),
        report.blocks
    )
}

/// A problem on one line: whose, what, where.
pub(super) fn describe(problem: &Problem) -> String {
    let whose = match &problem.key {
        Some(key) => format!("key {}", key.escape_ascii()),
        None => "the tree of keys".into(),
    };
    format!(
        "{whose}: {}: block {}, at byte {} of the file",
        problem.what,
        problem.block,
        u128::from(problem.block) * BLOCK as u128
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_whose_what_and_where() {
        let problem = Problem {
            key: Some(Box::from(*b"up\x01load")),
            block: 3,
            what: "content of a blob",
        };
        assert_eq!(
            describe(&problem),
            "key up\\x01load: content of a blob: block 3, at byte 12288 of the file"
        );
        let problem = Problem {
            key: None,
            block: u64::MAX,
            ..problem
        };
        assert!(describe(&problem).starts_with("the tree of keys: "));
    }
}
