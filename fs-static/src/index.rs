//! What is known of the files of a site that lies on a disk: worked out when the image was made, looked up
//! when it is served.
//!
//! It is a text, sorted, a line for each file and one before them:
//!
//! ```text
//! xenlet-site 1 946684800 2 6184 8402
//! /a%20folder/style.css ⇥ text/css; charset=utf-8 ⇥ identity "0f343b09…" 6173 ⇥ gzip "…" 1409 ⇥ br "…" 810
//! /favicon.ico ⇥ image/x-icon ⇥ identity "1c9b7f07…" 11
//! ```
//!
//! The first says which form of text it is, when each file was changed last (seconds since 1970; all have this time: one
//! that has another was changed after the index was made, which then says nothing of it), how many files there are,
//! their bytes, and the bytes of all that is stored of them. `⇥` stands for a tab. Variants lie beside the index, at the
//! same path in a folder named like the coding.

use crate::{Accept, Coding, Encoded};
use core::cmp::Ordering;
use core::fmt;

/// The folder of what is no file of the site, in an image.
pub const FOLDER: &str = "/.xenlet";

/// The index, in an image.
pub const INDEX: &str = "/.xenlet/index";

/// The longest line that there may be, in bytes. A path is at most 3072, encoded.
pub const LONGEST_LINE: usize = 4096;

/// The first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// When every file was changed last, in seconds since 1970.
    pub modified: u64,
    /// Number of files.
    pub files: u64,
    /// Their size in bytes.
    pub content_bytes: u64,
    /// Bytes of their bodies with the compressed variants.
    pub stored_bytes: u64,
}

/// What the first line begins with.
const BEGIN: &str = "xenlet-site 1 ";

impl Summary {
    /// Reads the line, without its end.
    pub fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.strip_prefix(BEGIN)?.split(' ').map(number);
        let mut next = || numbers.next().flatten();
        let summary = Self {
            modified: next()?,
            files: next()?,
            content_bytes: next()?,
            stored_bytes: next()?,
        };
        numbers.next().is_none().then_some(summary)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            modified,
            files,
            content_bytes,
            stored_bytes,
        } = self;
        writeln!(
            f,
            "{BEGIN}{modified} {files} {content_bytes} {stored_bytes}"
        )
    }
}

/// A variant of a file, on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'l> {
    /// How it is coded.
    pub coding: Coding,
    /// The strong entity tag, with its quotes.
    pub etag: &'l str,
    /// Its length.
    pub bytes: u64,
}

/// A file's line.
#[derive(Clone, Copy, Debug)]
pub struct Line<'l> {
    /// The value of `Content-Type`.
    pub content_type: &'l str,
    variants: [Option<Stored<'l>>; 3],
}

impl<'l> Line<'l> {
    /// A line of a file. `variants` are `identity`, and then those that there are of `gzip` and `br`.
    pub fn new(content_type: &'l str, variants: impl IntoIterator<Item = Stored<'l>>) -> Self {
        let mut variants = variants.into_iter();
        Self {
            content_type,
            variants: core::array::from_fn(|_| variants.next()),
        }
    }

    /// Reads a line, without its end and without the path; `None` for what is no such line.
    pub fn parse(line: &'l str) -> Option<Self> {
        let mut fields = line.strip_prefix('\t')?.split('\t');
        let content_type = fields.next()?;
        let mut variants = [None; 3];
        for (variant, field) in variants.iter_mut().zip(&mut fields) {
            let mut words = field.split(' ');
            let coding = Coding::from_token(words.next()?)?;
            let etag = words.next()?;
            let bytes = number(words.next()?)?;
            let is_sendable =
                etag.len() > 2 && etag.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
            if !is_sendable || words.next().is_some() {
                return None;
            }
            *variant = Some(Stored {
                coding,
                etag,
                bytes,
            });
        }
        let is_type = content_type.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let is_first = variants[0].is_some_and(|first| first.coding == Coding::Identity);
        (is_type && is_first && fields.next().is_none()).then_some(Self {
            content_type,
            variants,
        })
    }

    /// The file as it is.
    pub fn identity(&self) -> Stored<'l> {
        // There is one, or there would be no line.
        self.variants[0].unwrap_or(Stored {
            coding: Coding::Identity,
            etag: "",
            bytes: 0,
        })
    }

    /// Every variant there is, `identity` first.
    pub fn variants(&self) -> impl Iterator<Item = Stored<'l>> + use<'l> {
        self.variants.into_iter().flatten()
    }

    /// Whether the file has several variants.
    pub fn varies(&self) -> bool {
        self.variants[1].is_some()
    }

    /// The variant that the client likes best; the file as it is if it refuses all of them.
    pub fn negotiate(&self, accept: Accept) -> Stored<'l> {
        let variants = self
            .variants()
            .map(|stored| (stored.coding, stored.bytes, stored));
        accept.choose(variants).unwrap_or(self.identity())
    }

    /// Writes the line of the file at `path`, with its end.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, path: &str, out: &mut impl fmt::Write) -> fmt::Result {
        write!(out, "{}\t{}", Encoded(path), self.content_type)?;
        for Stored {
            coding,
            etag,
            bytes,
        } in self.variants()
        {
            write!(out, "\t{} {etag} {bytes}", coding.token())?;
        }
        out.write_str("\n")
    }
}

/// Where a line belongs in the order, compared with a path that is encoded, for a binary search. With `Equal`, the rest
/// of the line.
pub fn compare<'l>(line: &'l [u8], encoded_path: &str) -> (Ordering, &'l [u8]) {
    let end = line.iter().position(|&byte| byte == b'\t');
    let (path, rest) = line.split_at(end.unwrap_or(line.len()));
    (path.cmp(encoded_path.as_bytes()), rest)
}

fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    #[test]
    fn a_line_and_what_it_says() {
        let variants = [
            (Coding::Identity, "\"a\"", 6173),
            (Coding::Brotli, "\"b\"", 810),
        ];
        let stored = variants.map(|(coding, etag, bytes)| Stored {
            coding,
            etag,
            bytes,
        });
        let line = Line::new("text/css; charset=utf-8", stored);
        let mut text = String::new();
        line.write("/a b.css", &mut text).unwrap();
        assert_eq!(
            text,
            "/a%20b.css\ttext/css; charset=utf-8\tidentity \"a\" 6173\tbr \"b\" 810\n"
        );
        let (order, rest) = compare(text.trim_end().as_bytes(), "/a%20b.css");
        assert_eq!(order, Ordering::Equal);
        let line = Line::parse(str::from_utf8(rest).unwrap()).unwrap();
        assert_eq!(line.variants().collect::<Vec<_>>(), stored);
        assert!(line.varies());
        assert_eq!(line.negotiate(Accept::parse(b"br")), stored[1]);
        assert_eq!(line.negotiate(Accept::parse(b"*;q=0")), stored[0]);
    }

    #[test]
    fn lines_that_are_none() {
        for line in [
            "",
            "\t",
            "\ttext/css",
            "\ttext/css\tbr \"a\" 1",
            "\ttext/css\tidentity \"a\"",
            "\ttext/css\tidentity \"a\" 1 2",
            "\ttext/css\tidentity \"a\" -1",
            "\ttext/css\tidentity \"a\" +1",
            "\ttext/css\tidentity \"a\" 18446744073709551616",
            "\ttext/css\tidentity \"a\r\" 1",
            "\ttext/\rcss\tidentity \"a\" 1",
            "\ttext/css\tidentity \"a\" 1\tzstd \"a\" 1",
            "\ttext/css\tidentity \"a\" 1\tgzip \"b\" 1\tbr \"c\" 1\tbr \"d\" 1",
        ] {
            assert!(Line::parse(line).is_none(), "{line:?}");
        }
        for line in [
            "",
            "xenlet-site 2 1 2 3 4",
            "xenlet-site 1 1 2 3",
            "xenlet-site 1 1 2 3 4 5",
        ] {
            assert!(Summary::parse(line).is_none(), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_line_or_none(line in "\t?[ -~\t\u{e9}]{0,80}") {
            Line::parse(&line);
            compare(line.as_bytes(), "/a");
        }

        #[test]
        fn the_summary_comes_back(numbers in any::<[u64; 4]>()) {
            let [modified, files, content_bytes, stored_bytes] = numbers;
            let summary = Summary { modified, files, content_bytes, stored_bytes };
            prop_assert_eq!(Summary::parse(summary.to_string().trim_end()), Some(summary));
        }
    }
}
