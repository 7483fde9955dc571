//! Rules about the text of files.

use std::path::PathBuf;

use anyhow::Result;

use super::{Source, Tree, Violation};

/// The one crate that may be unsafe.
const UNSAFE_CRATE: &str = "kernel";
const FORBID: &str = "#![forbid(unsafe_code)]";

fn rust_sources(tree: &Tree) -> impl Iterator<Item = &Source> {
    tree.sources.iter().filter(|source| {
        source
            .path
            .extension()
            .is_some_and(|extension| extension == "rs")
    })
}

/// Every crate root outside the kernel has the `forbid`, which the compiler then enforces; the word itself is
/// looked for too, since a macro of a dependency may hide one.
pub(super) fn unsafe_in_kernel_only(tree: &Tree) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    for source in rust_sources(tree).filter(|source| !source.path.starts_with(UNSAFE_CRATE)) {
        for (number, line) in (1..).zip(source.text.lines()) {
            if has_word(code_of(line), "unsafe") {
                found.push(Violation::new(
                    &source.path,
                    number,
                    "`unsafe` belongs in kernel/",
                ));
            }
        }
    }
    for root in crate_roots(tree).filter(|root| !root.starts_with(UNSAFE_CRATE)) {
        let source = tree.sources.iter().find(|source| source.path == root);
        if !source.is_some_and(|source| source.text.lines().any(|line| line == FORBID)) {
            found.push(Violation::new(
                &root,
                1,
                format!("a crate's root needs `{FORBID}`"),
            ));
        }
    }
    Ok(found)
}

/// The first file of each library, program, test and build script.
fn crate_roots(tree: &Tree) -> impl Iterator<Item = PathBuf> {
    let targets = tree
        .members()
        .flat_map(|package| package["targets"].as_array().into_iter().flatten());
    targets.map(|target| tree.relative(&target["src_path"]))
}

/// A line without its comment and without the content of its strings.
fn code_of(line: &str) -> &str {
    let line = line.split("//").next().unwrap_or_default();
    // What stands after a quote is text or code nobody hides `unsafe` in.
    line.split('"').next().unwrap_or_default()
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|found| found == word)
}

/// The first line of every Rust file is its `//!`.
pub(super) fn says_what_it_is(tree: &Tree) -> Result<Vec<Violation>> {
    let silent = rust_sources(tree).filter(|source| !source.text.starts_with("//! "));
    Ok(silent
        .map(|source| Violation::new(&source.path, 1, "begin with `//! ` and what this file is"))
        .collect())
}

/// Folders of users, and the one this project lies in.
pub(super) fn no_machine_paths(tree: &Tree) -> Result<Vec<Violation>> {
    // Put together here, lest this very file break the rule.
    let mut paths: Vec<String> = ["home", "Users", "root"]
        .iter()
        .map(|name| format!("/{name}/"))
        .collect();
    if tree.root.components().count() > 2 {
        paths.push(format!("{}/", tree.root.display()));
    }
    let mut found = Vec::new();
    for source in &tree.sources {
        for (number, line) in (1..).zip(source.text.lines()) {
            if let Some(path) = paths.iter().find(|path| has_path(line, path)) {
                found.push(Violation::new(
                    &source.path,
                    number,
                    format!("a path of one machine: {path}…"),
                ));
            }
        }
    }
    Ok(found)
}

/// Whether an absolute path begins so in a line: not in the middle of a longer path.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + path.len()..].chars().next();
        !before.is_some_and(|letter| letter.is_alphanumeric() || "._-*}>~/".contains(letter))
            && after.is_some_and(|letter| letter.is_alphanumeric() || letter == '.')
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tree_of;
    use super::*;

    fn lines(violations: Result<Vec<Violation>>) -> Vec<(String, usize)> {
        let place = |violation: Violation| (violation.file.display().to_string(), violation.line);
        violations.unwrap().into_iter().map(place).collect()
    }

    #[test]
    fn unsafe_outside_the_kernel_is_found() {
        let tree = tree_of(
            &[
                ("net/src/a.rs", "//! A.\nfn f() {\n    unsafe { g() }\n}\n"),
                ("kernel/src/a.rs", "//! A.\nunsafe fn f() {}\n"),
                (
                    "net/src/b.rs",
                    "//! Not unsafe.\n#![forbid(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";\n",
                ),
            ],
            Value::Null,
        );
        assert_eq!(
            lines(unsafe_in_kernel_only(&tree)),
            [("net/src/a.rs".into(), 3)]
        );
    }

    #[test]
    fn a_crate_root_that_does_not_forbid_is_found() {
        let roots = json!({ "workspace_members": ["net"], "packages": [
            { "id": "net", "targets": [{ "src_path": "/p/net/src/lib.rs" }, { "src_path": "/p/net/build.rs" }] },
            { "id": "other", "targets": [{ "src_path": "/elsewhere/lib.rs" }] },
        ]});
        let sources = [
            ("net/src/lib.rs", "//! A.\n#![forbid(unsafe_code)]\n"),
            ("net/build.rs", "//! B.\n"),
        ];
        assert_eq!(
            lines(unsafe_in_kernel_only(&tree_of(&sources, roots))),
            [("net/build.rs".into(), 1)]
        );
    }

    #[test]
    fn a_silent_file_is_found() {
        let tree = tree_of(
            &[
                ("a.rs", "// no\n"),
                ("b.rs", "//! Yes.\n"),
                ("c.md", "no\n"),
            ],
            Value::Null,
        );
        assert_eq!(lines(says_what_it_is(&tree)), [("a.rs".into(), 1)]);
    }

    #[test]
    fn machine_paths_are_found() {
        let home = format!("/{}/ann/x", "home");
        let text = format!("one\nsee {home}\nsee https://example.org{home}\n");
        assert_eq!(
            lines(no_machine_paths(&tree_of(&[("a.md", &text)], Value::Null))),
            [("a.md".into(), 2)]
        );
        let mut tree = tree_of(
            &[("a.toml", "path = \"/srv/xenlet/kernel\"\n")],
            Value::Null,
        );
        tree.root = "/srv/xenlet".into();
        assert_eq!(lines(no_machine_paths(&tree)), [("a.toml".into(), 1)]);
    }
}
