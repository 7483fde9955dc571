//! `cargo xtask tidy`: what should never happen in this tree, checked.

use anyhow::{Result, bail};

use crate::tidy;

/// # Errors
/// If a rule is broken; the places were printed.
pub(crate) fn run() -> Result<()> {
    match tidy::all()? {
        0 => Ok(()),
        1 => bail!("one rule is broken"),
        broken => bail!("{broken} rules are broken"),
    }
}
