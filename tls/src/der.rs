//! The little of DER (X.690) that is needed here: finding a certificate's dates, and writing a certificate.

use alloc::vec::Vec;
use core::fmt;

/// `SEQUENCE`, and the other tags that are used here.
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
/// `id-at-commonName` (RFC 5280 §A.1).
pub(crate) const COMMON_NAME: &[u8] = &[0x55, 4, 3];
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]` and `[3]`, constructed.
pub(crate) const CONTEXT_0: u8 = 0xa0;
pub(crate) const CONTEXT_3: u8 = 0xa3;

/// Takes the next element off `input`: its tag and its content.
fn element<'i>(input: &mut &'i [u8]) -> Option<(u8, &'i [u8])> {
    let (&[tag, first], rest) = input.split_first_chunk()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (
                digits
                    .iter()
                    .fold(0, |len, digit| len << 8 | usize::from(*digit)),
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    *input = rest;
    Some((tag, content))
}

fn expect<'i>(input: &mut &'i [u8], tag: u8) -> Option<&'i [u8]> {
    element(input)
        .filter(|(found, _)| *found == tag)
        .map(|(_, content)| content)
}

/// A day and a time of it, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
    second: u32,
}

impl Date {
    /// The date `secs` seconds after the beginning of 1970.
    pub(crate) fn from_unix(secs: u64) -> Self {
        let (mut days, second) = (secs / 86400, secs % 86400);
        let mut year = 1970;
        while days >= days_of(year) {
            days -= days_of(year);
            year += 1;
        }
        let mut month = 1;
        while days >= u64::from(days_in(year, month)) {
            days -= u64::from(days_in(year, month));
            month += 1;
        }
        Self {
            year,
            month,
            day: u8::try_from(days + 1).unwrap_or(1),
            second: u32::try_from(second).unwrap_or(0),
        }
    }

    /// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`: the only forms that RFC 5280 §4.1.2.5 allows.
    fn parse(tag: u8, text: &[u8]) -> Option<Self> {
        let two = |at: usize| match text.get(at..at + 2)? {
            [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(10 * (tens - b'0') + ones - b'0'),
            _ => None,
        };
        let (year, at) = match tag {
            UTC_TIME => (u16::from(two(0)?), 2),
            GENERALIZED_TIME => (u16::from(two(0)?) * 100 + u16::from(two(2)?), 4),
            _ => return None,
        };
        let year = match year {
            0..50 if tag == UTC_TIME => 2000 + year,
            _ if tag == UTC_TIME => 1900 + year,
            _ => year,
        };
        let (hour, minute, second) = (two(at + 4)?, two(at + 6)?, two(at + 8)?);
        (text.get(at + 10..)? == b"Z").then_some(Self {
            year,
            month: two(at)?,
            day: two(at + 2)?,
            second: u32::from(hour) * 3600 + u32::from(minute) * 60 + u32::from(second),
        })
    }

    /// The content of a `UTCTime`, for years before 2050.
    pub(crate) fn utc(self) -> alloc::string::String {
        let (hour, minute, second) = (self.second / 3600, self.second / 60 % 60, self.second % 60);
        let year = self.year % 100;
        alloc::format!(
            "{year:02}{:02}{:02}{hour:02}{minute:02}{second:02}Z",
            self.month,
            self.day
        )
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

const fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_of(year: u16) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn days_in(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The days from which and until which a certificate is valid (RFC 5280 §4.1).
pub(crate) fn validity(mut certificate: &[u8]) -> Option<(Date, Date)> {
    let mut certificate = expect(&mut certificate, SEQUENCE)?;
    let mut fields = expect(&mut certificate, SEQUENCE)?;
    if fields.first() == Some(&CONTEXT_0) {
        element(&mut fields)?;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        // Its number, its signature's algorithm, its issuer.
        expect(&mut fields, tag)?;
    }
    let mut dates = expect(&mut fields, SEQUENCE)?;
    let mut date = || element(&mut dates).and_then(|(tag, text)| Date::parse(tag, text));
    Some((date()?, date()?))
}

/// The common name (`CN`) of a certificate's subject; of several, the last, which is the most specific.
pub(crate) fn common_name(mut certificate: &[u8]) -> Option<&str> {
    let mut certificate = expect(&mut certificate, SEQUENCE)?;
    let mut fields = expect(&mut certificate, SEQUENCE)?;
    if fields.first() == Some(&CONTEXT_0) {
        element(&mut fields)?;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE] {
        // Its number, its signature's algorithm, its issuer, its validity.
        expect(&mut fields, tag)?;
    }
    let (mut subject, mut found) = (expect(&mut fields, SEQUENCE)?, None);
    while !subject.is_empty() {
        let mut part = expect(&mut subject, SET)?;
        while !part.is_empty() {
            let mut pair = expect(&mut part, SEQUENCE)?;
            if expect(&mut pair, OID)? == COMMON_NAME {
                let (tag, text) = element(&mut pair)?;
                let is_text = matches!(tag, UTF8_STRING | PRINTABLE_STRING);
                // One that can't be read must not leave another in its place.
                found = Some(str::from_utf8(text).ok().filter(|_| is_text)?);
            }
        }
    }
    found
}

/// An element made of parts.
pub(crate) fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [.., high, middle, low] = content.len().to_be_bytes();
    let mut element = alloc::vec![tag];
    match content.len() {
        0..0x80 => element.push(low),
        0x80..0x100 => element.extend([0x81, low]),
        0x100..0x1_0000 => element.extend([0x82, middle, low]),
        _ => element.extend([0x83, high, middle, low]),
    }
    element.extend(content);
    element
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_as_certificates_write_them() {
        let of = |tag, text: &str| {
            Date::parse(tag, text.as_bytes())
                .map(|date| date.to_string() + " " + &date.second.to_string())
        };
        assert_eq!(
            of(UTC_TIME, "261121213005Z").as_deref(),
            Some("2026-11-21 77405")
        );
        assert_eq!(
            of(UTC_TIME, "990101000000Z").as_deref(),
            Some("1999-01-01 0")
        );
        assert_eq!(
            of(GENERALIZED_TIME, "20500101000000Z").as_deref(),
            Some("2050-01-01 0")
        );
        for text in [
            "",
            "2611212130Z",
            "261121213005",
            "26112121300xZ",
            "261121213005+0100",
        ] {
            assert_eq!(of(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(Date::from_unix(0).to_string(), "1970-01-01");
        assert_eq!(Date::from_unix(1_709_164_800).to_string(), "2024-02-29");
        assert_eq!(Date::from_unix(1_767_225_599).utc(), "251231235959Z");
        assert_eq!(Date::from_unix(1_767_225_600).utc(), "260101000000Z");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(content in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let written = encode(OCTET_STRING, &[&content[..content.len() / 2], &content[content.len() / 2..]]);
            let mut input = &written[..];
            prop_assert_eq!(element(&mut input), Some((OCTET_STRING, &content[..])));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn later_is_greater(a in 0u64..2_500_000_000, b in 0u64..2_500_000_000) {
            prop_assert_eq!(Date::from_unix(a).cmp(&Date::from_unix(b)), a.cmp(&b));
            prop_assert_eq!(Date::parse(UTC_TIME, Date::from_unix(a).utc().as_bytes()), Some(Date::from_unix(a)));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = validity(&bytes);
        }
    }
}
