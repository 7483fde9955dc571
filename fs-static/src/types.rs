//! What a file is, told by its name, where nobody looked at it before: the build half's table, as text.

/// Types of content by the ends of names: lines of a type and the ends that it has, each after a tab.
///
/// `static TYPES: ContentTypes = xenlet_fs_static::content_types!();` where the package's `build.rs` called
/// `xenlet_fs_static_build::embed_types`.
#[derive(Clone, Copy, Debug)]
pub struct ContentTypes(&'static str);

impl ContentTypes {
    /// A table; the build half writes the text.
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// The value of `Content-Type` for a file of that name. Of text it is said that it is UTF-8.
    pub fn get(&self, path: &str) -> &'static str {
        const UNKNOWN: &str = "application/octet-stream";
        let name = path.rsplit('/').next().unwrap_or_default();
        let Some((stem, end)) = name.rsplit_once('.') else {
            return UNKNOWN;
        };
        if stem.is_empty() {
            return UNKNOWN;
        }
        let mut lines = self.0.lines().map(|line| line.split('\t'));
        lines
            .find_map(|mut words| {
                let kind = words.next()?;
                let mut ends = words;
                ends.any(|found| found.eq_ignore_ascii_case(end))
                    .then_some(kind)
            })
            .unwrap_or(UNKNOWN)
    }
}

/// The [`ContentTypes`] that `xenlet_fs_static_build::embed_types` made in this package's `build.rs`.
#[macro_export]
macro_rules! content_types {
    () => {
        $crate::ContentTypes::new(include_str!(concat!(env!("OUT_DIR"), "/types.txt")))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_types() {
        let types = ContentTypes::new("text/html; charset=utf-8\thtm\thtml\nimage/png\tpng\n");
        for (path, expected) in [
            ("/a/index.html", "text/html; charset=utf-8"),
            ("/INDEX.HTM", "text/html; charset=utf-8"),
            ("/a.b.png", "image/png"),
            ("/.png", "application/octet-stream"),
            ("/a.png/b", "application/octet-stream"),
            ("/html", "application/octet-stream"),
            ("/a.", "application/octet-stream"),
            ("/a.image/png", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(types.get(path), expected, "{path}");
        }
    }
}
