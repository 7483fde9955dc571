//! Finds the files of a site.

use crate::Problem;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The longest path in bytes that a file of a site may have. Percent-encoded it is three times as long at most, which
/// still fits, with room for the other fields, into the 8 KiB that servers commonly allow a request's head.
pub(crate) const LONGEST_PATH: usize = 1024;

/// A file to embed.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its path in the site, decoded: `/docs/café.html`.
    pub(crate) path: String,
    /// Where to read it.
    pub(crate) source: PathBuf,
}

/// What a site holds.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Sorted by path.
    pub(crate) files: Vec<Found>,
    /// Hidden files and folders and backups, relative to the site.
    pub(crate) left_out: Vec<PathBuf>,
    /// In the order of their paths.
    pub(crate) problems: Vec<Problem>,
}

/// A folder on the way from the site's root to where we are.
struct Folder<'a> {
    /// As reached, links and all: for messages and for reading.
    source: &'a Path,
    /// Without links: to tell where other links lead.
    real: &'a Path,
    /// Its path in the site, with the final `/`.
    path: &'a str,
    parent: Option<&'a Folder<'a>>,
}

impl Folder<'_> {
    /// Whether `real` is this folder or one around it, as reached.
    fn lies_in(&self, real: &Path) -> bool {
        self.real == real || self.parent.is_some_and(|parent| parent.lies_in(real))
    }
}

/// Finds every file below `site`.
pub(crate) fn walk(site: &Path) -> Walk {
    let mut walker = Walker {
        walk: Walk::default(),
        site,
        real_site: PathBuf::new(),
    };
    match site.canonicalize() {
        Ok(real) => walker.real_site = real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            walker.walk.problems.push(Problem::Missing(site.to_owned()));
            return walker.walk;
        }
        Err(error) => {
            walker.problem_reading(site, error);
            return walker.walk;
        }
    }
    if !walker.real_site.is_dir() {
        walker
            .walk
            .problems
            .push(Problem::NotAFolder(site.to_owned()));
        return walker.walk;
    }
    let real = walker.real_site.clone();
    walker.folder(&Folder {
        source: site,
        real: &real,
        path: "/",
        parent: None,
    });
    let mut walk = walker.walk;
    if walk.files.is_empty() && walk.problems.is_empty() {
        walk.problems.push(Problem::Empty(site.to_owned()));
    }
    // Folders come in the order of their names, which is not that of the paths: `a.html` is before `a/`.
    walk.files.sort_by(|a, b| a.path.cmp(&b.path));
    walk
}

struct Walker<'a> {
    walk: Walk,
    site: &'a Path,
    real_site: PathBuf,
}

impl Walker<'_> {
    fn folder(&mut self, folder: &Folder<'_>) {
        let names = fs::read_dir(folder.source).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name()))
                .collect::<io::Result<Vec<_>>>()
        });
        let mut names: Vec<OsString> = match names {
            Ok(names) => names,
            Err(error) => return self.problem_reading(folder.source, error),
        };
        names.sort();
        for name in &names {
            self.entry(folder, name);
        }
    }

    fn entry(&mut self, folder: &Folder<'_>, name: &OsStr) {
        let source = folder.source.join(name);
        if is_left_out(name) {
            let relative = source.strip_prefix(self.site).unwrap_or(&source).to_owned();
            return self.walk.left_out.push(relative);
        }
        let Some(name) = name.to_str() else {
            return self.walk.problems.push(Problem::NotUtf8(source));
        };
        let path = format!("{}{name}", folder.path);
        if path.len() > LONGEST_PATH {
            return self.walk.problems.push(Problem::TooLong {
                path: source,
                bytes: path.len(),
            });
        }
        let real = match self.follow(folder, &source, name) {
            Ok(real) => real,
            Err(problem) => return self.walk.problems.push(problem),
        };
        match fs::metadata(&real).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_dir() => {
                let path = format!("{path}/");
                self.folder(&Folder {
                    source: &source,
                    real: &real,
                    path: &path,
                    parent: Some(folder),
                });
            }
            Ok(kind) if kind.is_file() => self.walk.files.push(Found { path, source }),
            // Opening one would wait for ever, or worse.
            Ok(_) => self.walk.problems.push(Problem::Special(source)),
            Err(error) => self.problem_reading(&source, error),
        }
    }

    /// Where the entry `name` of `folder` really lies, if it may be embedded.
    fn follow(&self, folder: &Folder<'_>, source: &Path, name: &str) -> Result<PathBuf, Problem> {
        let is_link = fs::symlink_metadata(source)
            .map_err(|error| Problem::Unreadable {
                path: source.to_owned(),
                error,
            })?
            .is_symlink();
        if !is_link {
            return Ok(folder.real.join(name));
        }
        let link = source.to_owned();
        match fs::canonicalize(source) {
            Err(error) => Err(Problem::LinkDead { link, error }),
            Ok(target) if !target.starts_with(&self.real_site) => {
                Err(Problem::LinkLeaves { link, target })
            }
            Ok(target) if folder.lies_in(&target) => Err(Problem::LinkLoops { link, target }),
            Ok(target) => Ok(target),
        }
    }

    fn problem_reading(&mut self, path: &Path, error: io::Error) {
        self.walk.problems.push(Problem::Unreadable {
            path: path.to_owned(),
            error,
        });
    }
}

/// Whether an entry is none of the site's business: hidden (`.git`, `.DS_Store`) or an editor's backup (`page.html~`).
fn is_left_out(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && name != b".well-known" || name.ends_with(b"~")
}
