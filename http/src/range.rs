//! Byte ranges: RFC 9110 §14.

use crate::conditional::strong;
use crate::request::{Method, Request};
use core::ops::Range;

/// Which bytes of a representation a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// All of them: 200. Also where several ranges are asked for, which §14.2 leaves to the server.
    Whole,
    /// These, and not none: 206, with `Content-Range: bytes START-END/LENGTH` where END is the last one.
    Part(Range<u64>),
    /// None that there are: 416, with `Content-Range: bytes */LENGTH`.
    Unsatisfiable,
}

impl Request<'_> {
    /// Evaluates `Range` and `If-Range` for a representation of `length` bytes with the entity tag `tag` (with its
    /// quotes). Preconditions come first.
    pub fn range(&self, tag: &str, length: u64) -> ByteRange {
        // §14.2: only GET has ranges.
        if self.method != Method::Get {
            return ByteRange::Whole;
        }
        // A date in If-Range never matches: there is no Last-Modified.
        if self.values("If-Range").next().is_some()
            && !self
                .value("If-Range")
                .is_some_and(|given| strong(given, tag.as_bytes()))
        {
            return ByteRange::Whole;
        }
        match self.value("Range").and_then(parse) {
            Some(spec) => spec.within(length),
            None => ByteRange::Whole,
        }
    }
}

/// One range as it was asked for. Numbers too large for a u64 became the largest.
enum Spec {
    From(u64),
    FromTo(u64, u64),
    Last(u64),
}

impl Spec {
    fn within(&self, length: u64) -> ByteRange {
        let range = match *self {
            Spec::From(first) => first..length,
            Spec::FromTo(first, last) => first..length.min(last.saturating_add(1)),
            Spec::Last(bytes) => length.saturating_sub(bytes)..length,
        };
        if range.is_empty() {
            ByteRange::Unsatisfiable
        } else {
            ByteRange::Part(range)
        }
    }
}

/// `None` where there is more than one range, or none that is well-formed: such a field is ignored.
fn parse(value: &[u8]) -> Option<Spec> {
    let equals = value.iter().position(|&byte| byte == b'=')?;
    let (unit, range) = (&value[..equals], value[equals + 1..].trim_ascii());
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let dash = range.iter().position(|&byte| byte == b'-')?;
    match (&range[..dash], &range[dash + 1..]) {
        (b"", last) => Some(Spec::Last(number(last)?)),
        (first, b"") => Some(Spec::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::FromTo(first, last))
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| {
        digit.is_ascii_digit().then(|| {
            sum.saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::ByteRange::{Part, Unsatisfiable, Whole};
    use super::*;
    use crate::request::tests::request;
    use alloc::format;
    use proptest::prelude::*;

    #[track_caller]
    fn check(range: &str, length: u64, expected: &ByteRange) {
        let lines = format!("Range: {range}\r\n");
        assert_eq!(
            request(Method::Get, &lines).range("\"a\"", length),
            *expected,
            "{range} of {length}"
        );
    }

    #[test]
    fn ranges_of_ten_bytes() {
        let huge = "99999999999999999999999999";
        for (range, expected) in [
            ("bytes=0-", Part(0..10)),
            ("bytes=0-0", Part(0..1)),
            ("BYTES=2-5", Part(2..6)),
            ("bytes= 2-5 ", Part(2..6)),
            ("bytes=9-", Part(9..10)),
            ("bytes=5-100", Part(5..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-100", Part(0..10)),
            (&format!("bytes=0-{huge}"), Part(0..10)),
            (&format!("bytes=-{huge}"), Part(0..10)),
            ("bytes=0-18446744073709551615", Part(0..10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-20", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            (&format!("bytes={huge}-"), Unsatisfiable),
            (&format!("bytes={huge}-{huge}"), Unsatisfiable),
            ("bytes=5-4", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("bytes=a-b", Whole),
            ("bytes=1-2-3", Whole),
            ("bytes=--1", Whole),
            ("bytes=+1-2", Whole),
            ("lines=0-1", Whole),
        ] {
            check(range, 10, &expected);
        }
        check("bytes=0-", 0, &Unsatisfiable);
        check("bytes=-1", 0, &Unsatisfiable);
        check("bytes=1-", u64::MAX, &Part(1..u64::MAX));
    }

    #[test]
    fn if_range_and_methods() {
        let with = |method, lines: &str| {
            request(method, &format!("Range: bytes=1-2\r\n{lines}")).range("\"a\"", 10)
        };
        assert_eq!(with(Method::Get, "If-Range: \"a\"\r\n"), Part(1..3));
        assert_eq!(with(Method::Get, "If-Range: \"b\"\r\n"), Whole);
        assert_eq!(with(Method::Get, "If-Range: W/\"a\"\r\n"), Whole);
        assert_eq!(
            with(Method::Get, "If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            Whole
        );
        assert_eq!(
            with(Method::Get, "If-Range: \"a\"\r\nIf-Range: \"a\"\r\n"),
            Whole
        );
        assert_eq!(with(Method::Get, "Range: bytes=1-2\r\n"), Whole);
        assert_eq!(with(Method::Head, ""), Whole);
    }

    proptest! {
        #[test]
        fn parts_are_within_the_length(range in "bytes=[-0-9, ]{0,30}", length: u64) {
            let lines = format!("Range: {range}\r\n");
            if let Part(part) = request(Method::Get, &lines).range("\"a\"", length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }
    }
}
