//! Conditional requests: RFC 9110 §13.
//!
//! There is no `Last-Modified` here, entity tags say all of it: `If-Modified-Since` and `If-Unmodified-Since` are
//! ignored, as §13.1.3 and §13.1.4 ask where the date is not known.

use crate::request::{Method, Request};

/// What a request's preconditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Go on as if there were none.
    Passed,
    /// The client has this already: 304, with the entity tag.
    NotModified,
    /// What the client relied on is not so: 412.
    Failed,
}

impl Request<'_> {
    /// Evaluates `If-Match` and `If-None-Match`, in the order of §13.2.2, against the entity tag (with its quotes) of
    /// the representation that would be sent. `None` means that there is no such resource yet.
    pub fn precondition(&self, tag: Option<&str>) -> Precondition {
        let given = |name: &str| self.values(name).next().is_some();
        if given("If-Match")
            && !self
                .values("If-Match")
                .any(|value| matches(value, tag, strong))
        {
            return Precondition::Failed;
        }
        if given("If-None-Match")
            && self
                .values("If-None-Match")
                .any(|value| matches(value, tag, weak))
        {
            return match self.method {
                Method::Get | Method::Head => Precondition::NotModified,
                _ => Precondition::Failed,
            };
        }
        Precondition::Passed
    }
}

/// Whether a value of `If-Match` or `If-None-Match` names the representation.
fn matches(value: &[u8], tag: Option<&str>, same: fn(&[u8], &[u8]) -> bool) -> bool {
    let Some(tag) = tag else { return false };
    value == b"*" || Tags(value).any(|given| same(given, tag.as_bytes()))
}

/// Two tags are the same byte for byte, and neither is weak (§8.8.3.2).
pub(crate) fn strong(a: &[u8], b: &[u8]) -> bool {
    a == b && !a.starts_with(b"W/")
}

/// Two tags are the same, weak or not.
fn weak(a: &[u8], b: &[u8]) -> bool {
    let opaque = |tag| <[u8]>::strip_prefix(tag, b"W/").unwrap_or(tag);
    opaque(a) == opaque(b)
}

/// The entity tags of a list, with their quotes; it ends where the list is malformed. A comma may stand in a tag.
struct Tags<'v>(&'v [u8]);

impl<'v> Iterator for Tags<'v> {
    type Item = &'v [u8];

    fn next(&mut self) -> Option<&'v [u8]> {
        let separator = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
        let start = self.0.iter().position(|byte| !separator(byte))?;
        let list = &self.0[start..];
        let quote = if list.starts_with(b"W/") { 2 } else { 0 };
        if list.get(quote) != Some(&b'"') {
            return None;
        }
        let inner = list[quote + 1..].iter().position(|&byte| byte == b'"')?;
        let (tag, rest) = list.split_at(quote + 1 + inner + 1);
        self.0 = rest;
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::request;
    use Precondition::{Failed, NotModified, Passed};

    #[test]
    fn preconditions() {
        let table = [
            ("", Passed),
            ("If-None-Match: \"a\"\r\n", NotModified),
            ("If-None-Match: W/\"a\"\r\n", NotModified),
            ("If-None-Match: \"b\"\r\n", Passed),
            ("If-None-Match: \"b,\\\", , W/\"c\",\"a\"\r\n", NotModified),
            (
                "If-None-Match: \"b\"\r\nif-none-match: \"a\"\r\n",
                NotModified,
            ),
            ("If-None-Match: *\r\n", NotModified),
            ("If-None-Match: a\r\n", Passed),
            ("If-None-Match: \"a\r\n", Passed),
            ("If-None-Match:\r\n", Passed),
            ("If-None-Match: b, \"a\"\r\n", Passed),
            ("If-Match: \"a\"\r\n", Passed),
            ("If-Match: W/\"a\"\r\n", Failed),
            ("If-Match: \"b\"\r\n", Failed),
            ("If-Match: \"b\", \"a\"\r\n", Passed),
            ("If-Match: *\r\n", Passed),
            ("If-Match:\r\n", Failed),
            // §13.2.2: If-Match comes first.
            ("If-None-Match: \"a\"\r\nIf-Match: \"b\"\r\n", Failed),
            ("If-None-Match: \"a\"\r\nIf-Match: \"a\"\r\n", NotModified),
            (
                "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                Passed,
            ),
        ];
        for (lines, outcome) in table {
            assert_eq!(
                request(Method::Get, lines).precondition(Some("\"a\"")),
                outcome,
                "{lines}"
            );
        }
    }

    #[test]
    fn preconditions_of_a_change() {
        let table = [
            ("If-None-Match: *\r\n", Some("\"a\""), Failed),
            ("If-None-Match: *\r\n", None, Passed),
            ("If-Match: *\r\n", Some("\"a\""), Passed),
            ("If-Match: *\r\n", None, Failed),
        ];
        for (lines, tag, outcome) in table {
            assert_eq!(
                request(Method::Put, lines).precondition(tag),
                outcome,
                "{lines}"
            );
        }
    }
}
