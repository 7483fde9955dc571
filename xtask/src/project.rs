//! Where things are in the project: its root, its applications, its targets.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::sh;

/// The three ways the same application source is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// A Xen PV guest image
    Xen,
    /// A host program on the in-memory Xen, for tests
    Hosted,
    /// A host program on the host's own sockets
    Unix,
}

impl Target {
    /// The value of `--cfg xenlet="…"`, and the name of the folder under `target/`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Xen => "xen",
            Self::Hosted => "hosted",
            Self::Unix => "unix",
        }
    }
}

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target folder: `CARGO_TARGET_DIR` if set, as for cargo itself.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The `cargo` that started this program, so that `+toolchain` choices carry over.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// `cargo metadata`, with every dependency when `deps`.
///
/// # Errors
/// If cargo fails, for instance because a manifest is broken.
pub(crate) fn metadata(deps: bool) -> Result<serde_json::Value> {
    let mut command = cargo();
    command.args(["metadata", "--format-version=1"]);
    if !deps {
        command.arg("--no-deps");
    }
    serde_json::from_str(&sh::output(&mut command)?)
        .context("cargo metadata printed something that is not JSON")
}

/// An application: a package in `examples/`.
#[derive(Debug)]
pub(crate) struct App {
    /// Cargo's name of the package.
    pub(crate) package: String,
    /// Cargo's name of the program.
    pub(crate) program: String,
    /// The features of the package.
    pub(crate) features: Vec<String>,
}

impl App {
    /// Finds the application in `examples/<name>`.
    ///
    /// # Errors
    /// If there is no such package; the error lists those there are.
    pub(crate) fn find(name: &str) -> Result<Self> {
        let metadata = metadata(false)?;
        let examples = root().join("examples");
        let mut others = Vec::new();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
            let Some(folder) = manifest
                .parent()
                .and_then(|dir| dir.strip_prefix(&examples).ok())
            else {
                continue;
            };
            let program = package["targets"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|target| is_program(target));
            let (Some(program), Some(folder)) = (program, folder.to_str()) else {
                continue;
            };
            if folder == name {
                let text =
                    |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                return Ok(Self {
                    package: text(&package["name"]),
                    program: text(&program["name"]),
                    features: package["features"]
                        .as_object()
                        .map(|features| features.keys().cloned().collect())
                        .unwrap_or_default(),
                });
            }
            others.push(folder.to_owned());
        }
        bail!(
            "no application `{name}`: examples/ has {}",
            others.join(", ")
        );
    }
}

fn is_program(target: &serde_json::Value) -> bool {
    target["kind"]
        .as_array()
        .is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_found_by_its_folder() {
        let app = App::find("httpd").unwrap();
        assert_eq!(app.package, "xenlet-httpd");
    }

    #[test]
    fn an_unknown_application_is_refused_with_the_list() {
        let error = App::find("nope").unwrap_err().to_string();
        assert!(error.contains("nope") && error.contains("httpd"), "{error}");
    }
}
