//! Which paths answer, and with what.

use crate::Problem;
use crate::walk::Found;
use std::collections::BTreeMap;

/// What a path leads to. Files are told by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The file itself.
    File(usize),
    /// A redirect to the same path with a `/` at its end, where that file is the index.
    Redirect(usize),
}

impl Target {
    fn file(self) -> usize {
        match self {
            Target::File(index) | Target::Redirect(index) => index,
        }
    }
}

/// Every path that answers, in order.
///
/// # Errors
///
/// The paths that two files claim. A file system that allows a file and a folder of one name is yet to be seen, but
/// what would happen then is no guesswork.
pub(crate) fn table(files: &[Found]) -> Result<BTreeMap<String, Target>, Vec<Problem>> {
    let mut table = BTreeMap::new();
    let mut problems = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let mut paths = vec![(file.path.as_str(), Target::File(index))];
        if let Some(folder) = file.path.strip_suffix("index.html")
            && let Some(bare) = folder.strip_suffix('/')
        {
            paths.push((folder, Target::File(index)));
            if !bare.is_empty() {
                paths.push((bare, Target::Redirect(index)));
            }
        }
        for (path, target) in paths {
            if let Some(before) = table.insert(path.to_owned(), target) {
                let files = [before, target].map(|claim| files[claim.file()].source.clone());
                problems.push(Problem::Clash {
                    path: path.to_owned(),
                    files,
                });
            }
        }
    }
    if problems.is_empty() {
        Ok(table)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Found {
        Found {
            path: path.to_owned(),
            source: format!("site{path}").into(),
        }
    }

    #[test]
    fn an_index_answers_for_its_folder() {
        let files = [
            "/a/b/index.html",
            "/c/page.html",
            "/index.html",
            "/myindex.html",
        ]
        .map(found);
        let table: Vec<_> = table(&files).unwrap().into_iter().collect();
        let expected = [
            ("/", Target::File(2)),
            ("/a/b", Target::Redirect(0)),
            ("/a/b/", Target::File(0)),
            ("/a/b/index.html", Target::File(0)),
            ("/c/page.html", Target::File(1)),
            ("/index.html", Target::File(2)),
            ("/myindex.html", Target::File(3)),
        ];
        assert_eq!(
            table,
            expected.map(|(path, target)| (path.to_owned(), target))
        );
    }

    #[test]
    fn one_path_for_two_files_is_refused() {
        let problems = table(&["/a", "/a/index.html"].map(found)).unwrap_err();
        let [Problem::Clash { path, files }] = problems.as_slice() else {
            panic!("{problems:?}")
        };
        assert_eq!(path, "/a");
        assert_eq!(
            files,
            &["site/a", "site/a/index.html"].map(std::path::PathBuf::from)
        );
    }
}
