//! Ctrl-C as a number to look at: how often it was pressed since the program began to watch.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

static PRESSED: AtomicUsize = AtomicUsize::new(0);

/// From now on, Ctrl-C (and SIGTERM, SIGHUP) is counted instead of ending this program.
///
/// # Errors
/// If the handler can't be installed.
pub(crate) fn watch() -> Result<()> {
    ctrlc::set_handler(|| {
        PRESSED.fetch_add(1, Ordering::Relaxed);
    })
    .context("cannot watch for Ctrl-C")
}

/// How often Ctrl-C was pressed.
pub(crate) fn count() -> usize {
    PRESSED.load(Ordering::Relaxed)
}

/// Fails once Ctrl-C was pressed: for loops that wait.
///
/// # Errors
/// If it was pressed.
pub(crate) fn check() -> Result<()> {
    if count() > 0 {
        bail!("interrupted");
    }
    Ok(())
}
