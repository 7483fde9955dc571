//! The rules of the tree. Each is a function from the tree to the places that break it.

mod arrows;
mod licences;
mod lints;
mod text;

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use crate::project;
use crate::ui::Phase;

/// A place where a rule is broken, for a person to click on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Relative to the project's root.
    file: PathBuf,
    /// From 1.
    line: usize,
    message: String,
}

impl Violation {
    fn new(file: &Path, line: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.to_path_buf(),
            line,
            message: message.into(),
        }
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

/// A file of the project that is text.
#[derive(Debug)]
struct Source {
    /// Relative to the project's root.
    path: PathBuf,
    text: String,
}

/// What the rules look at.
#[derive(Debug)]
struct Tree {
    root: PathBuf,
    sources: Vec<Source>,
    /// `cargo metadata`, dependencies included.
    metadata: Value,
}

impl Tree {
    fn read() -> Result<Self> {
        let root = project::root();
        let mut sources = Vec::new();
        read_sources(&root, &root, &mut sources)?;
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self {
            root,
            sources,
            metadata: project::metadata(true)?,
        })
    }

    /// The packages of this workspace.
    fn members(&self) -> impl Iterator<Item = &Value> {
        let members = self.metadata["workspace_members"].as_array();
        let is_member =
            move |package: &&Value| members.is_some_and(|members| members.contains(&package["id"]));
        self.metadata["packages"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(is_member)
    }

    /// A path of `cargo metadata`, relative to the root.
    fn relative(&self, path: &Value) -> PathBuf {
        let path = Path::new(path.as_str().unwrap_or_default());
        path.strip_prefix(&self.root).unwrap_or(path).to_path_buf()
    }

    /// The first line of a file that holds a word, or 1.
    fn line_with(&self, file: &Path, word: &str) -> usize {
        let source = self.sources.iter().find(|source| source.path == file);
        let line =
            source.and_then(|source| source.text.lines().position(|line| line.contains(word)));
        line.map_or(1, |line| line + 1)
    }
}

fn read_sources(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_symlink() || name == ".git" || name == "target" {
            continue;
        }
        if path.is_dir() {
            read_sources(root, &path, sources)?;
        } else if let Ok(text) = String::from_utf8(fs::read(&path)?) {
            sources.push(Source {
                path: path.strip_prefix(root).unwrap_or(&path).to_path_buf(),
                text,
            });
        }
    }
    Ok(())
}

/// A rule in words, and the function that finds what breaks it.
type Rule = (&'static str, fn(&Tree) -> Result<Vec<Violation>>);

const RULES: &[Rule] = &[
    (
        "`unsafe` is in kernel only, every other crate forbids it",
        text::unsafe_in_kernel_only,
    ),
    (
        "every source file begins by saying what it is (`//!`)",
        text::says_what_it_is,
    ),
    ("no path of somebody's machine", text::no_machine_paths),
    ("no arrow between crates points upward", arrows::point_down),
    (
        "licences of dependencies allow their use",
        licences::allowed,
    ),
    ("cargo fmt has nothing to change", lints::formatted),
    ("clippy is silent: hosted", lints::clippy_hosted),
    ("clippy is silent: unix", lints::clippy_unix),
    ("clippy is silent: xen", lints::clippy_xen),
];

/// Checks every rule, prints the places that break one, and returns how many rules are broken.
///
/// # Errors
/// If the tree can't be read.
pub(crate) fn all() -> Result<usize> {
    let tree = Tree::read()?;
    let mut broken = 0;
    for (rule, check) in RULES {
        let phase = Phase::start(format!("tidy: {rule}"));
        let violations = check(&tree)?;
        phase.done();
        if !violations.is_empty() {
            broken += 1;
            eprintln!("broken rule: {rule}");
            for violation in violations {
                eprintln!("{violation}");
            }
        }
    }
    Ok(broken)
}

#[cfg(test)]
fn tree_of(sources: &[(&str, &str)], metadata: Value) -> Tree {
    let sources = sources.iter().map(|(path, text)| Source {
        path: path.into(),
        text: (*text).into(),
    });
    Tree {
        root: "/p".into(),
        sources: sources.collect(),
        metadata,
    }
}
