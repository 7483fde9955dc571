//! PEM (RFC 7468): what keys and certificates are written in. Decoded into memory that is wiped after use.

use alloc::vec::Vec;
use zeroize::Zeroizing;

/// One section of a PEM text.
pub(crate) struct Section<'t> {
    /// What it says it is: `CERTIFICATE`, `PRIVATE KEY`.
    pub(crate) label: &'t str,
    /// The line that it begins in, from 1.
    pub(crate) line: usize,
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// What is wrong with a PEM text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// In which line.
    pub(crate) line: usize,
    pub(crate) what: &'static str,
}

/// The sections of `text`. What is between them is a comment.
pub(crate) fn sections(text: &[u8]) -> impl Iterator<Item = Result<Section<'_>, Malformed>> {
    // Some editors begin a text with a byte order mark.
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut lines = (1..).zip(text.split(|byte| *byte == b'\n'));
    core::iter::from_fn(move || {
        let (line, label) = lines
            .by_ref()
            .find_map(|(line, text)| Some((line, label_of(text, "-----BEGIN ")?)))?;
        Some(section(line, label, &mut lines))
    })
}

/// The label of a line that begins or ends a section.
fn label_of<'t>(line: &'t [u8], mark: &str) -> Option<&'t str> {
    let line = line.trim_ascii().strip_prefix(mark.as_bytes())?;
    str::from_utf8(line.strip_suffix(b"-----")?).ok()
}

fn section<'t>(
    begin: usize,
    label: &'t str,
    lines: &mut impl Iterator<Item = (usize, &'t [u8])>,
) -> Result<Section<'t>, Malformed> {
    let wrong = |line, what| Malformed { line, what };
    let mut decoder = Decoder::default();
    for (line, text) in lines {
        if text.trim_ascii().starts_with(b"-----") {
            if label_of(text, "-----END ") != Some(label) {
                return Err(wrong(
                    line,
                    "the section ends as another one than it began as, or more is in its line",
                ));
            }
            let der = decoder
                .finish()
                .ok_or(wrong(line, "the section was cut off"))?;
            return Ok(Section {
                label,
                line: begin,
                der,
            });
        }
        if text.contains(&b':') {
            return Err(wrong(line, "encrypted: `openssl pkey` decrypts it"));
        }
        decoder
            .feed(text.trim_ascii())
            .ok_or(wrong(line, "this is not base64"))?;
    }
    Err(wrong(begin, "the section that begins here has no end"))
}

/// Base64 (RFC 4648 §4), line by line. Without tables, so that what is decoded is not told by what is cached.
#[derive(Default)]
struct Decoder {
    bits: u32,
    count: u32,
    padding: usize,
    bytes: Zeroizing<Vec<u8>>,
}

impl Decoder {
    fn feed(&mut self, text: &[u8]) -> Option<()> {
        let needed = text.len() / 4 * 3 + 3;
        if self.bytes.capacity() - self.bytes.len() < needed {
            // By hand: what a vector leaves behind when it grows is not wiped.
            let mut larger = Zeroizing::new(Vec::new());
            let capacity = (self.bytes.len() + needed)
                .max(2 * self.bytes.capacity())
                .max(2048);
            larger.try_reserve_exact(capacity).ok()?;
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        for letter in text {
            if *letter == b'=' {
                self.padding += 1;
                continue;
            }
            let value = value_of(*letter).filter(|_| self.padding == 0)?;
            (self.bits, self.count) = (self.bits << 6 | value, self.count + 1);
            if self.count == 4 {
                let [_, bytes @ ..] = self.bits.to_be_bytes();
                self.bytes.extend_from_slice(&bytes);
                (self.bits, self.count) = (0, 0);
            }
        }
        Some(())
    }

    fn finish(mut self) -> Option<Zeroizing<Vec<u8>>> {
        let [_, bytes @ ..] = (self.bits << (6 * (4 - self.count))).to_be_bytes();
        let rest = match (self.count, self.padding) {
            (0, 0) => 0,
            (2, 2) => 1,
            (3, 1) => 2,
            _ => return None,
        };
        self.bytes.extend_from_slice(&bytes[..rest]);
        Some(self.bytes)
    }
}

fn value_of(letter: u8) -> Option<u32> {
    let letter = u32::from(letter);
    // All ones where `letter` is in the range.
    let within = |from: u8, to: u8| {
        let (above, below) = (
            letter.wrapping_sub(from.into()),
            u32::from(to).wrapping_sub(letter),
        );
        ((above | below) >> 31).wrapping_sub(1)
    };
    let value = (within(b'A', b'Z') & (letter.wrapping_sub(64)))
        | (within(b'a', b'z') & (letter.wrapping_sub(70)))
        | (within(b'0', b'9') & (letter.wrapping_add(5)))
        | (within(b'+', b'+') & 63)
        | (within(b'/', b'/') & 64);
    value.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(text: &str) -> Result<Vec<Vec<u8>>, Malformed> {
        sections(text.as_bytes())
            .map(|section| Ok(section?.der.to_vec()))
            .collect()
    }

    #[test]
    fn letters_have_the_values_of_base64() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for letter in 0..=255u8 {
            let expected = alphabet
                .iter()
                .position(|a| *a == letter)
                .map(|n| u32::try_from(n).unwrap());
            assert_eq!(value_of(letter), expected, "{letter}");
        }
    }

    #[test]
    fn sections_with_text_around_them() {
        let text = "-----BEGIN 0-----\nAA==\n-----END 0-----\nsubject=x\r\n-----BEGIN A-----\r\nAQID\r\nBAU=\r\n-----END A-----\r\n\r\nmore\n-----BEGIN B C-----\n-----END B C-----";
        let found: Vec<_> = sections(text.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(
            (found[0].label, found[0].line, &found[0].der[..]),
            ("0", 1, &[0][..])
        );
        assert_eq!(
            (found[1].label, found[1].line, &found[1].der[..]),
            ("A", 5, &[1, 2, 3, 4, 5][..])
        );
        assert_eq!(
            (found[2].label, found[2].line, found[2].der.len()),
            ("B C", 11, 0)
        );
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        let text = "\u{feff}-----BEGIN A-----\nAQ==\n-----END A-----";
        assert_eq!(decode(text), Ok(vec![vec![1]]));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, what) in [
            ("\n-----BEGIN A-----\nAQID\n", 2, "no end"),
            ("-----BEGIN A-----\nAQID\n-----END B-----", 3, "another one"),
            ("-----BEGIN A-----\nAQ!D\n-----END A-----", 2, "not base64"),
            ("-----BEGIN A-----\nAQI\n-----END A-----", 3, "cut off"),
            (
                "-----BEGIN A-----\nAQ==\nAQID\n-----END A-----",
                3,
                "not base64",
            ),
            (
                "-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\nAQID\n-----END A-----",
                2,
                "`openssl pkey",
            ),
        ] {
            let error = decode(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.what.contains(what), "{text:?}: {}", error.what);
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(bytes in prop::collection::vec(any::<u8>(), 0..5000), width in 1usize..90) {
            let encoded: Vec<u8> = encode(&bytes).into_bytes();
            let lines: Vec<&str> = encoded.chunks(width).map(|line| str::from_utf8(line).unwrap()).collect();
            let text = format!("-----BEGIN X-----\n{}\n-----END X-----\n", lines.join("\n"));
            prop_assert_eq!(decode(&text), Ok(vec![bytes]));
        }

        #[test]
        fn no_text_panics(text in "(-----BEGIN A-----\n|-----END A-----\n|[ -~]{0,9}\n|AQID|=|\n){0,20}") {
            let _ = decode(&text);
        }
    }

    fn encode(bytes: &[u8]) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        bytes
            .chunks(3)
            .flat_map(|chunk| {
                let word = chunk
                    .iter()
                    .fold(0u32, |word, byte| word << 8 | u32::from(*byte))
                    << (8 * (3 - chunk.len()));
                (0..4).map(move |n| {
                    if n > chunk.len() {
                        '='
                    } else {
                        char::from(alphabet[(word >> (18 - 6 * n) & 63) as usize])
                    }
                })
            })
            .collect()
    }
}
