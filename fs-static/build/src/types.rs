//! The table of types as text, for servers of files that nobody looked at before.

use crate::Problem;
use crate::content_type::content_type;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{env, fs};

/// Puts the types that the ends of names stand for into the package whose `build.rs` calls this, for
/// `xenlet_fs_static::content_types!`. They are the types that embedded files have.
///
/// What cannot be written fails the build, as with [`embed`](crate::embed).
pub fn embed_types() {
    let result = match env::var_os("OUT_DIR") {
        Some(out) => {
            let path = PathBuf::from(out).join("types.txt");
            fs::write(&path, types()).map_err(|error| Problem::Unwritable { path, error })
        }
        None => Err(Problem::NoOutDir),
    };
    if let Err(problem) = result {
        println!("cargo::error={problem}");
    }
}

/// Lines of a type and the ends of names that have it.
fn types() -> String {
    let ends = mime_guess::get_extensions("*", "*").unwrap_or_default();
    // Some are listed twice.
    let ends: BTreeSet<&str> = ends.iter().copied().collect();
    let mut types = BTreeMap::<String, Vec<&str>>::new();
    for end in ends {
        // Of text in general we say that it is UTF-8.
        types
            .entry(content_type(&format!("/a.{end}"), b""))
            .or_default()
            .push(end);
    }
    types.remove("application/octet-stream");
    let lines = types
        .into_iter()
        .map(|(kind, ends)| format!("{kind}\t{}\n", ends.join("\t")));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenlet_fs_static::ContentTypes;

    #[test]
    fn the_table_says_what_embedded_files_are_said_to_be() {
        let text = types();
        assert!(text.lines().count() > 500);
        let types = ContentTypes::new(text.leak());
        for end in mime_guess::get_extensions("*", "*").unwrap() {
            for path in [format!("/a/b.{end}"), format!("/B.{}", end.to_uppercase())] {
                assert_eq!(types.get(&path), content_type(&path, b"text"), "{path}");
            }
        }
        for path in [
            "/a.html",
            "/a.tar.gz",
            "/LICENSE",
            "/.html",
            "/a.b/c",
            "/a.nonsense",
        ] {
            assert_eq!(types.get(path), content_type(path, b"text"), "{path}");
        }
    }
}
