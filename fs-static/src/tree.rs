//! The table from paths to what is there.

use crate::{File, Redirect};

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// A file; for a path that ends with `/`, the `index.html` of that directory.
    File(&'static File),
    /// A directory with an `index.html`, asked for without the final `/`. (The pages there have relative
    /// links, which only work below the path with the slash.)
    Redirect(&'static Redirect),
}

/// A directory, as part of the program.
///
/// Lookup is a perfect hash: one hash of the path, two table reads and one comparison, however many files there
/// are. The hash is keyed at build time by a fixed seed; as the table never grows, there is nothing to
/// gain by colliding with it.
#[derive(Debug)]
pub struct Tree {
    entries: &'static phf::Map<&'static str, Entry>,
    files: &'static [File],
    not_found: Option<&'static File>,
    stored_bytes: usize,
}

impl Tree {
    /// Puts a tree together; the build half writes the calls.
    ///
    /// `files` are sorted by path, and `not_found` has heads that say 404.
    pub const fn new(
        entries: &'static phf::Map<&'static str, Entry>,
        files: &'static [File],
        not_found: Option<&'static File>,
        stored_bytes: usize,
    ) -> Tree {
        Tree {
            entries,
            files,
            not_found,
            stored_bytes,
        }
    }

    /// Finds what is at `path`: absolute, percent-decoded once, without query or fragment (`/docs/café.html`).
    ///
    /// Names are compared byte for byte, so `.` and `..` segments, doubled slashes or another case find nothing.
    pub fn get(&self, path: &str) -> Option<Entry> {
        self.entries.get(path).copied()
    }

    /// The site's own `/404.html`, with heads that say `404 Not Found` and carry no entity tag, for every
    /// path that has no entry. (Asked for by its own path, it is an ordinary file.)
    pub const fn not_found(&self) -> Option<&'static File> {
        self.not_found
    }

    /// Every file once, sorted by path.
    pub const fn files(&self) -> &'static [File] {
        self.files
    }

    /// Every path that answers, in no particular order: files, directories with their index, redirects.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&'static str, Entry)> {
        self.entries.entries().map(|(path, entry)| (*path, *entry))
    }

    /// Size of the site in bytes: all files, uncompressed.
    pub fn content_bytes(&self) -> usize {
        self.files
            .iter()
            .map(|file| file.identity().body().len())
            .sum()
    }

    /// Bytes that bodies take in the image: with the compressed variants, and identical ones counted once.
    pub const fn stored_bytes(&self) -> usize {
        self.stored_bytes
    }
}
