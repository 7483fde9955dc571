//! Rules that cargo checks. Its own words name the file and the line.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Tree, Violation};
use crate::image;
use crate::project::{self, Target};

pub(super) fn formatted(_: &Tree) -> Result<Vec<Violation>> {
    let output = project::cargo()
        .args(["fmt", "--all", "--check", "--", "-l"])
        .output()?;
    let root = project::root();
    let file = |line: &str| {
        let path = Path::new(line);
        Violation::new(
            path.strip_prefix(&root).unwrap_or(path),
            1,
            "run `cargo fmt`",
        )
    };
    let found: Vec<Violation> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(file)
        .collect();
    if found.is_empty() && !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Ok(vec![Violation::new(
            Path::new("Cargo.toml"),
            1,
            format!("cargo fmt fails: {said}"),
        )]);
    }
    Ok(found)
}

pub(super) fn clippy_hosted(_: &Tree) -> Result<Vec<Violation>> {
    let mut cargo = project::cargo();
    clippy(cargo.args(["clippy", "--workspace", "--all-targets", "--all-features"]))
}

/// What differs on unix is below the applications: they pull it in.
pub(super) fn clippy_unix(tree: &Tree) -> Result<Vec<Violation>> {
    clippy_applications(tree, Target::Unix)
}

pub(super) fn clippy_xen(tree: &Tree) -> Result<Vec<Violation>> {
    clippy_applications(tree, Target::Xen)
}

fn clippy_applications(tree: &Tree, target: Target) -> Result<Vec<Violation>> {
    let mut cargo = project::cargo();
    cargo.args(["clippy", "--all-features"]);
    for package in tree.members().filter(|package| {
        tree.relative(&package["manifest_path"])
            .starts_with("examples")
    }) {
        cargo.args(["--package", package["name"].as_str().unwrap_or_default()]);
    }
    image::configure(&mut cargo, target);
    clippy(&mut cargo)
}

fn clippy(cargo: &mut Command) -> Result<Vec<Violation>> {
    let output = cargo
        .args(["--quiet", "--message-format=short", "--", "-D", "warnings"])
        .output()?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut found: Vec<Violation> = said.lines().filter_map(violation).collect();
    found.dedup();
    if found.is_empty() {
        found.push(Violation::new(
            Path::new("Cargo.toml"),
            1,
            format!("clippy fails: {said}"),
        ));
    }
    Ok(found)
}

/// Reads `net/src/lib.rs:3:1: error: message`.
fn violation(line: &str) -> Option<Violation> {
    let mut parts = line.splitn(4, ':');
    let (file, number) = (parts.next()?, parts.next()?.parse().ok()?);
    parts.next()?;
    Some(Violation::new(
        Path::new(file),
        number,
        parts.next()?.trim(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_words_become_places() {
        let found = violation("net/src/lib.rs:3:1: error: missing documentation").unwrap();
        assert_eq!(
            found.to_string(),
            "net/src/lib.rs:3: error: missing documentation"
        );
        assert_eq!(violation("error: could not compile"), None);
    }
}
