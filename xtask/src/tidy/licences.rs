//! The licences of what we depend on: SPDX expressions, of which one way through must be allowed.

use std::path::Path;

use anyhow::Result;

use super::{Tree, Violation};

/// Licences that ask for no more than to be named.
const ALLOWED: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "ISC",
    "NCSA",
    "Zlib",
    "Unlicense",
    "CC0-1.0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "BSL-1.0",
];

pub(super) fn allowed(tree: &Tree) -> Result<Vec<Violation>> {
    let lock = Path::new("Cargo.lock");
    let mut found = Vec::new();
    for package in tree.metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or("not said");
        if !is_allowed(licence) {
            let line = tree.line_with(lock, &format!("name = \"{name}\""));
            found.push(Violation::new(
                lock,
                line,
                format!("the licence of {name} is not on our list: {licence}"),
            ));
        }
    }
    Ok(found)
}

/// Whether an expression such as `(MIT OR Apache-2.0) AND Unicode-3.0` can be satisfied.
fn is_allowed(expression: &str) -> bool {
    // An old spelling of OR.
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) && rest.is_empty()
}

fn any(words: &mut &[&str]) -> bool {
    let mut satisfied = all(words);
    while let Some(rest) = after(words, "OR") {
        *words = rest;
        satisfied |= all(words);
    }
    satisfied
}

fn all(words: &mut &[&str]) -> bool {
    let mut satisfied = one(words);
    while let Some(rest) = after(words, "AND") {
        *words = rest;
        satisfied &= one(words);
    }
    satisfied
}

fn one(words: &mut &[&str]) -> bool {
    let Some((word, rest)) = words.split_first() else {
        return false;
    };
    *words = rest;
    if *word == "(" {
        let satisfied = any(words);
        let Some(rest) = after(words, ")") else {
            return false;
        };
        *words = rest;
        return satisfied;
    }
    // An exception only ever allows more.
    if let Some(rest) = after(words, "WITH") {
        *words = rest.get(1..).unwrap_or_default();
    }
    ALLOWED.contains(word)
}

fn after<'w, 't>(words: &'w [&'t str], word: &str) -> Option<&'w [&'t str]> {
    words
        .split_first()
        .filter(|(first, _)| **first == word)
        .map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tree_of;
    use super::*;

    #[test]
    fn expressions_are_understood() {
        for good in [
            "MIT",
            "GPL-3.0 OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR ISC) AND MPL-2.0",
            "",
            "not said",
            "MIT GPL",
            "(MIT",
        ] {
            assert!(!is_allowed(bad), "{bad}");
        }
    }

    #[test]
    fn a_licence_not_on_the_list_is_found() {
        let metadata = json!({ "packages": [{ "name": "a", "license": "MIT" }, { "name": "b", "license": null }] });
        let found = allowed(&tree_of(&[("Cargo.lock", "x\nname = \"b\"\n")], metadata)).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].line, found[0].message.contains("of b")),
            (2, true)
        );
    }
}
