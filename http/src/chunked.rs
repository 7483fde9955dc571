//! The chunked coding: RFC 9112 §7.1, decoded a byte at a time.
//!
//! Extensions and trailers are skipped, and each is bounded. Every line ends in CRLF, strictly: laxer servers were
//! smuggled past.

/// The most bytes of one chunk's extensions.
const MAX_EXTENSION: u32 = 1024;
/// The most bytes of all trailer lines.
const MAX_TRAILER: u32 = 4096;

/// Where in the coding the next byte falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The size's digits: how many there were.
    Size {
        digits: u8,
    },
    /// Behind the size, up to the line's end.
    Extension {
        bytes: u32,
    },
    /// The LF of the size line.
    SizeEnd,
    /// The chunk's data: `left` says how much.
    Data,
    /// CR and LF behind the data.
    DataCr,
    DataLf,
    /// The start of a trailer line, or the CR of the last, empty line.
    Trailer {
        bytes: u32,
    },
    /// Within a trailer line.
    TrailerLine {
        bytes: u32,
    },
    TrailerLf {
        bytes: u32,
    },
    /// The LF of the last, empty line.
    LastLf,
    /// Nothing of the body is left.
    Done,
}

/// Decodes the framing; the data between is the caller's to move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunked {
    state: State,
    /// Of the size, while it is read; then of the chunk's data.
    left: u64,
}

impl Chunked {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Size { digits: 0 },
            left: 0,
        }
    }

    /// How many bytes of data come next. Zero while framing comes next.
    pub(crate) fn data_left(&self) -> u64 {
        if self.state == State::Data {
            self.left
        } else {
            0
        }
    }

    /// Counts data that the caller took.
    pub(crate) fn took(&mut self, bytes: u64) {
        self.left -= bytes;
        if self.left == 0 {
            self.state = State::DataCr;
        }
    }

    /// Whether the body is over.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes framing from `input` until data comes next, the body is over, or `input` is used up. Returns how many
    /// bytes it took.
    ///
    /// # Errors
    ///
    /// What is wrong with the framing.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<usize, &'static str> {
        for (taken, &byte) in input.iter().enumerate() {
            if matches!(self.state, State::Data | State::Done) {
                return Ok(taken);
            }
            self.state = self.step(byte)?;
        }
        Ok(input.len())
    }

    fn step(&mut self, byte: u8) -> Result<State, &'static str> {
        Ok(match (self.state, byte) {
            (State::Size { digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.left = self
                    .left
                    .checked_mul(16)
                    .ok_or("a chunk's size is too large")?
                    | u64::from(digit);
                // Sixteen digits fill a u64; leading zeros beyond that serve nobody.
                State::Size {
                    digits: digits
                        .checked_add(1)
                        .filter(|&digits| digits <= 16)
                        .ok_or("a chunk's size is too long")?,
                }
            }
            (State::Size { digits: 0 }, _) => return Err("a chunk does not start with its size"),
            (State::Size { .. } | State::Extension { .. }, b'\r') => State::SizeEnd,
            (State::Size { .. }, b';' | b' ' | b'\t') => State::Extension { bytes: 0 },
            (State::Size { .. }, _) => {
                return Err("a chunk's size has a character that is not a hexadecimal digit");
            }
            (State::Extension { bytes }, byte) if is_text(byte) => State::Extension {
                bytes: more(bytes, MAX_EXTENSION, "a chunk's extension is too long")?,
            },
            (State::SizeEnd, b'\n') if self.left == 0 => State::Trailer { bytes: 0 },
            (State::SizeEnd, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.left = 0;
                State::Size { digits: 0 }
            }
            (State::DataCr | State::DataLf, _) => {
                return Err("a chunk's data is longer than its size");
            }
            (State::Trailer { .. }, b'\r') => State::LastLf,
            (State::Trailer { .. }, b' ' | b'\t') => return Err("a trailer line is folded"),
            (State::TrailerLine { bytes }, b'\r') => State::TrailerLf { bytes },
            (State::Trailer { bytes } | State::TrailerLine { bytes }, byte) if is_text(byte) => {
                State::TrailerLine {
                    bytes: more(bytes, MAX_TRAILER, "the trailer is too long")?,
                }
            }
            (State::TrailerLf { bytes }, b'\n') => State::Trailer { bytes },
            (State::LastLf, b'\n') => State::Done,
            _ => return Err("a line of the chunked coding does not end in CR LF"),
        })
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

fn more(bytes: u32, limit: u32, error: &'static str) -> Result<u32, &'static str> {
    if bytes < limit {
        Ok(bytes + 1)
    } else {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// The data of a whole body and the bytes it took, given in pieces of `step` bytes.
    fn decode(mut input: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
        let (whole, mut data, mut chunked) = (input.len(), Vec::new(), Chunked::new());
        while !input.is_empty() && !chunked.is_done() {
            let piece = &input[..step.min(input.len())];
            let data_left = usize::try_from(chunked.data_left()).unwrap_or(usize::MAX);
            let taken = if data_left > 0 {
                let taken = data_left.min(piece.len());
                data.extend_from_slice(&piece[..taken]);
                chunked.took(taken as u64);
                taken
            } else {
                chunked.feed(piece)?
            };
            input = &input[taken..];
        }
        Ok(chunked.is_done().then_some((data, whole - input.len())))
    }

    #[test]
    fn good_bodies() {
        let table: [(&[u8], &[u8]); 6] = [
            (b"0\r\n\r\n", b""),
            (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
            (b"00A;x=\"y\"\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
            (b"1 ; a\r\nz\r\n1\r\ny\r\n0\r\n\r\n", b"zy"),
            (b"1\r\n\r\r\n0\r\nX: y\r\nZ: w\r\n\r\n", b"\r"),
            (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
        ];
        for (input, data) in table {
            let followed = [input, b"GET"].concat();
            for step in [1, 2, 3, 1000] {
                assert_eq!(
                    decode(&followed, step),
                    Ok(Some((data.to_vec(), input.len()))),
                    "{input:?}"
                );
            }
        }
    }

    #[test]
    fn bad_bodies() {
        let table: [&[u8]; 17] = [
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b"1\n",
            b"1\ra",
            b"1;\n",
            b"1;\0\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n",
            b"0\r\n\n",
            b"0\r\n a\r\n",
            b"0\r\nA: b\n\r\n",
            b"11111111111111111\r\n",
            b"00000000000000000\r\n",
            b"0\r\n\r\r",
        ];
        for input in table {
            for step in [1, 1000] {
                assert!(decode(input, step).is_err(), "{input:?}");
            }
        }
    }

    #[test]
    fn framing_is_bounded() {
        let extension = [b"1;".as_slice(), &[b'a'; 5000]].concat();
        assert_eq!(
            decode(&extension, 1000),
            Err("a chunk's extension is too long")
        );
        let trailer = [b"0\r\n".as_slice(), &b"A: b\r\n".repeat(2000)].concat();
        assert_eq!(decode(&trailer, 1000), Err("the trailer is too long"));
        assert_eq!(decode(b"ffffffffffffffff\r\n", 1), Ok(None));
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(input in proptest::collection::vec(prop_oneof![
            Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'2'), Just(b';'), any::<u8>(),
        ], 0..40), step in 1..8usize) {
            prop_assert_eq!(decode(&input, step), decode(&input, 1000));
        }
    }
}
