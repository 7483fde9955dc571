//! What a build script says to cargo.

use crate::{Problem, Report, generate};
use std::env;
use std::path::{Path, PathBuf};

/// The environment variable that names another folder than the application's own.
pub const VARIABLE: &str = "XENLET_SITE";

/// Embeds the folder that `XENLET_SITE` names, or else `default`, into the package whose `build.rs` calls this.
///
/// Both are relative to the package's own folder, or absolute. It runs again when the variable or anything
/// in the folder changes.
///
/// What cannot be embedded fails the build: each [`Problem`] becomes an error of cargo's, all at once. (The script
/// itself ends in success: else cargo would add a page about how the script ended.)
pub fn embed(default: impl AsRef<Path>) {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let site = env::var_os(VARIABLE)
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from);
    let site = site.unwrap_or_else(|| default.as_ref().to_owned());
    // Cargo looks at everything below a folder, through links too. Naming the files as well would add nothing
    // but a way for a file's name, which may hold a line break, to speak to cargo.
    println!("cargo::rerun-if-changed={}", site.display());

    // The working directory of a build script is the package's folder. A message should not depend on that.
    let site = std::path::absolute(&site).unwrap_or(site);
    let result = match env::var_os("OUT_DIR") {
        Some(out) => generate(&site, Path::new(&out)),
        None => Err(vec![Problem::NoOutDir]),
    };
    match result {
        Ok(report) => warn(&site, &report),
        Err(problems) => {
            for problem in &problems {
                println!("cargo::error={problem}");
            }
        }
    }
}

/// Says what was left out, in one line.
fn warn(site: &Path, report: &Report) {
    /// Names enough to recognise what it is about.
    const NAMED: usize = 3;
    let count = report.left_out.len();
    if count == 0 {
        return;
    }
    let names: Vec<_> = report
        .left_out
        .iter()
        .take(NAMED)
        .map(|path| format!("{path:?}"))
        .collect();
    let more = if count > NAMED { ", …" } else { "" };
    println!(
        "cargo::warning={count} hidden or backup entr{} of the site {site:?} left out: {}{more}",
        if count == 1 { "y" } else { "ies" },
        names.join(", "),
    );
}
