//! The clients that shake hands in dom0: a program of this workspace, since what is at hand there (wrk, and Python's module for TLS) takes longer for
//! a handshake than a server does.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::image::TRIPLE;
use crate::{project, sh};

/// As on the target `unix`, and without libraries: dom0 has not those of this machine.
const FLAGS: [&str; 4] = [
    "--cfg",
    "xenlet=\"unix\"",
    "-C",
    "target-feature=+crt-static",
];

/// Builds the program; returns its file.
///
/// # Errors
/// If it doesn't compile.
pub(super) fn build() -> Result<PathBuf> {
    let folder = project::target_dir().join("build-handshakes");
    let mut cargo = project::cargo();
    cargo
        .args(["build", "--release", "--package", "xenlet-bench"])
        .args(["--example", "handshakes", "--target", TRIPLE])
        .arg("--target-dir")
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    sh::show(&mut cargo).context("the clients for handshakes do not build")?;
    Ok(folder.join(TRIPLE).join("release/examples/handshakes"))
}
