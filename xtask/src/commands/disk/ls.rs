//! `cargo xtask disk ls`: what is in a store.

use std::io::{self, ErrorKind, Write};
use std::ops::Bound;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use xenlet_storage::FileDisk;
use xenlet_storage::store::{Entry, Error, Stats, Store};

use super::domain::{OPTIONS, on_disk};
use crate::ui::Bytes;

/// `cargo xtask disk ls FILE`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask disk ls data.img

A line for each key: bytes of its value, bytes of its blob (- if it has none), the key with unprintable bytes as \\x01.
Nothing is written. No guest may be using the disk.")]
pub(crate) struct Arguments {
    /// The disk
    file: PathBuf,
}

/// Keys read at a time.
const PAGE: usize = 256;

/// # Errors
/// If there is no store, or what lists its keys is damaged.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut out = io::stdout();
    let printed = on_disk(&arguments.file, true, async move |disk| {
        list(disk, |line| writeln!(out, "{line}")).await
    })?;
    match printed {
        // Whoever reads this has seen enough: `… | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot print the list"),
    }
}

/// Gives every line of the list to `show`, until that fails.
async fn list(
    disk: FileDisk,
    mut show: impl FnMut(String) -> io::Result<()>,
) -> Result<io::Result<()>, Error> {
    let store = Store::open(disk, OPTIONS).await?;
    let mut last: Option<Vec<u8>> = None;
    loop {
        let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = store.range((from, Bound::Unbounded), PAGE).await?;
        let Some((key, _)) = page.last() else {
            return Ok(show(total(&store.stats())));
        };
        last = Some(key.clone());
        let shown = page
            .iter()
            .try_for_each(|(key, entry)| show(line(key, entry)));
        if shown.is_err() {
            return Ok(shown);
        }
    }
}

/// The list, for tests.
#[cfg(test)]
pub(super) fn lines(path: &std::path::Path) -> Result<Vec<String>> {
    on_disk(path, true, async |disk| {
        let mut lines = Vec::new();
        let listed = list(disk, |line| {
            lines.push(line);
            Ok(())
        });
        listed.await.map(|_| ())?;
        Ok(lines)
    })
}

fn line(key: &[u8], entry: &Entry) -> String {
    let blob = match entry.blob_bytes {
        Some(bytes) => bytes.to_string(),
        None => "-".into(),
    };
    format!(
        "{:>5} {blob:>14}  {}",
        entry.value.len(),
        key.escape_ascii()
    )
}

fn total(stats: &Stats) -> String {
    format!(
        "{} keys; {} of {} in use",
        stats.entries,
        Bytes(stats.used_bytes),
        Bytes(stats.bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_whatever_it_holds() {
        let entry = |blob_bytes| Entry {
            value: vec![0; 80],
            blob_bytes,
        };
        assert_eq!(
            line(b"a\nb", &entry(Some(1 << 30))),
            "   80     1073741824  a\\nb"
        );
        assert_eq!(line(b"a", &entry(None)), "   80              -  a");
    }
}
