//! A request's head: found, parsed and checked. Pure: bytes in, verdict out.
//!
//! `httparse` knows the grammar. What it lets pass and RFC 9112 leaves to the server's judgement is refused here,
//! because two programs that read the same bytes differently are how requests are smuggled.
//!
//! The verdict depends on the bytes alone, never on how they were cut into packets: an error is only reported once
//! the whole head is there, or once it is longer than allowed.

use crate::fields::{Field, list, offset};
use crate::request::Method;
use crate::status::Status;
use crate::target;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::ops::Range;

/// The most header fields of one request. What has more is answered with 431.
const MAX_FIELDS: usize = 100;

/// How the body's end is known: RFC 9112 §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After this many bytes; zero where there is no body.
    Sized(u64),
    /// The body says so.
    Chunked,
}

/// A head that was accepted. Ranges are offsets in the bytes it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) len: usize,
    pub(crate) method: Method,
    pub(crate) target: target::Target,
    pub(crate) framing: Framing,
    /// Whether the request is HTTP/1.0.
    pub(crate) is_old: bool,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
}

/// A request that is answered with an error and the connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) why: &'static str,
}

/// There is no memory for a request. Memory comes back: the client may try again.
pub(crate) const NO_MEMORY: Refusal = refusal(
    Status::SERVICE_UNAVAILABLE,
    "this server is short of memory",
);

const fn bad(why: &'static str) -> Refusal {
    refusal(Status::BAD_REQUEST, why)
}

const fn refusal(status: Status, why: &'static str) -> Refusal {
    Refusal { status, why }
}

/// Looks at the bytes that have arrived so far, which do not start with CRLF. `None` asks for more.
///
/// `searched` remembers, from one look at the same bytes to the next, how far the search for the head's end came; it
/// starts as zero. The path is decoded in place. `fields` is filled with where the head's fields lie.
pub(crate) fn parse(
    bytes: &mut [u8],
    searched: &mut usize,
    limit: usize,
    fields: &mut Vec<Field>,
) -> Option<Result<Head, Refusal>> {
    if bytes.first() == Some(&b'\n') {
        return Some(Err(bad("a line does not end in CR LF")));
    }
    // A head that dribbles in is only parsed when its end is there: once, not once for every byte.
    if *searched > 0 && bytes.len() < limit && find_end(bytes, searched).is_none() {
        return None;
    }
    let mut storage = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let error = match request.parse_with_uninit_headers(bytes, &mut storage) {
        // The usual case: the head came whole.
        Ok(httparse::Status::Complete(len)) if len <= limit => {
            return Some(
                check(&request, &bytes[..len], fields)
                    .and_then(|unplaced| unplaced.place(&mut bytes[..len])),
            );
        }
        Ok(_) => None,
        Err(error) => Some(error),
    };
    match (find_end(bytes, searched), error) {
        (Some(len), Some(error)) if len <= limit => Some(Err(explain(error, bytes))),
        _ if bytes.len() >= limit => Some(Err(too_long(&bytes[..limit]))),
        _ => None,
    }
}

/// The length of the head if its end, an empty line, is there.
fn find_end(bytes: &[u8], searched: &mut usize) -> Option<usize> {
    while let Some(at) = bytes[*searched..].iter().position(|&byte| byte == b'\n') {
        let behind = *searched + at + 1;
        match &bytes[behind..] {
            [b'\n', ..] => return Some(behind + 1),
            [b'\r', b'\n', ..] => return Some(behind + 2),
            // The next bytes will tell: stay on this line end.
            [] | [b'\r'] => {
                *searched = behind - 1;
                return None;
            }
            _ => *searched = behind,
        }
    }
    *searched = bytes.len();
    None
}

fn too_long(start: &[u8]) -> Refusal {
    if start.contains(&b'\n') {
        refusal(
            Status::HEADERS_TOO_LARGE,
            "the request's header fields are too long",
        )
    } else {
        refusal(Status::URI_TOO_LONG, "the request target is too long")
    }
}

fn explain(error: httparse::Error, bytes: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => refusal(
            Status::HEADERS_TOO_LARGE,
            "the request has too many header fields",
        ),
        httparse::Error::Version if names_other_version(bytes) => refusal(
            Status::VERSION_NOT_SUPPORTED,
            "this server speaks HTTP/1.1 and HTTP/1.0",
        ),
        httparse::Error::Version => bad("the request line does not end in an HTTP version"),
        httparse::Error::Token => bad("the request line has a character that is not allowed there"),
        httparse::Error::HeaderName => bad("a header field's name is malformed"),
        httparse::Error::HeaderValue => {
            bad("a header field's value has a character that is not allowed")
        }
        httparse::Error::NewLine => bad("a line does not end in CR LF"),
        httparse::Error::Status => bad("the request line is malformed"),
    }
}

/// Whether the request line ends in a well-formed version (`HTTP/` digit `.` digit) that is not known here.
fn names_other_version(bytes: &[u8]) -> bool {
    let line = bytes
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or(bytes)
        .trim_ascii_end();
    match line.rsplit(|&byte| byte == b' ').next() {
        Some(b"HTTP/1.1" | b"HTTP/1.0") => false,
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) => {
            major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    }
}

/// All of a head but where its target's parts are: those need the bytes to be written to.
struct Unplaced {
    target: Range<usize>,
    head: Head,
}

impl Unplaced {
    fn place(self, bytes: &mut [u8]) -> Result<Head, Refusal> {
        let shift =
            |range: Range<usize>| range.start + self.target.start..range.end + self.target.start;
        let target::Target { path, query } =
            target::decode(&mut bytes[self.target.clone()]).map_err(bad)?;
        Ok(Head {
            target: target::Target {
                path: shift(path),
                query: query.map(shift),
            },
            ..self.head
        })
    }
}

/// Checks what the grammar alone does not say. `bytes` is the head, its empty line included.
fn check(
    request: &httparse::Request<'_, '_>,
    bytes: &[u8],
    fields: &mut Vec<Field>,
) -> Result<Unplaced, Refusal> {
    let name = request.method.unwrap_or_default();
    let target_len = request.path.map_or(0, str::len);
    let target = name.len() + 1..name.len() + 1 + target_len;
    check_line_ends(request.headers, bytes)?;
    let is_old = request.version == Some(0);

    let mut seen = Seen::default();
    fields.clear();
    fields
        .try_reserve(request.headers.len())
        .map_err(|_| NO_MEMORY)?;
    for field in request.headers.iter() {
        seen.look_at(field.name, field.value)?;
        let place = Field::locate(bytes, field.name.as_bytes(), field.value);
        fields.push(place.ok_or(refusal(
            Status::HEADERS_TOO_LARGE,
            "the request's header fields are too long",
        ))?);
    }
    if seen.hosts == 0 && !is_old {
        return Err(bad("the request has no Host field"));
    }
    let framing = match (seen.length, seen.codings) {
        (None, 0) => Framing::Sized(0),
        (Some(length), 0) => Framing::Sized(length),
        (Some(_), _) => {
            return Err(bad(
                "the request has both Content-Length and Transfer-Encoding",
            ));
        }
        (None, _) if is_old => return Err(bad("HTTP/1.0 has no Transfer-Encoding")),
        (None, _) if !seen.chunked => return Err(bad("chunked is not the last transfer coding")),
        (None, 1) => Framing::Chunked,
        (None, _) => {
            return Err(refusal(
                Status::NOT_IMPLEMENTED,
                "the only transfer coding known here is chunked",
            ));
        }
    };
    if seen.unknown_expectation {
        return Err(refusal(
            Status::EXPECTATION_FAILED,
            "the only expectation known here is 100-continue",
        ));
    }
    let Some(method) = Method::from_name(name) else {
        return Err(refusal(
            Status::NOT_IMPLEMENTED,
            "this server does not know that method",
        ));
    };
    if &bytes[target.clone()] == b"*" && method != Method::Options {
        return Err(bad("the request target * is only for OPTIONS"));
    }
    Ok(Unplaced {
        target,
        head: Head {
            len: bytes.len(),
            method,
            target: target::Target {
                path: 0..0,
                query: None,
            },
            framing,
            is_old,
            keep_alive: !seen.close && (!is_old || seen.keep_alive),
            // An HTTP/1.0 client does not understand 100 (RFC 9110 §10.1.1).
            expects_continue: seen.expects_continue && !is_old && framing != Framing::Sized(0),
        },
    })
}

/// `httparse` takes a bare LF for a line end. Here each line ends in CRLF: what stands before every name and at the
/// head's end shows it without another walk over all bytes.
fn check_line_ends(fields: &[httparse::Header<'_>], bytes: &[u8]) -> Result<(), Refusal> {
    let all = fields.iter().all(|field| {
        let start = offset(bytes, field.name.as_bytes());
        bytes[..start].ends_with(b"\r\n")
    });
    if all && bytes.ends_with(b"\r\n\r\n") {
        Ok(())
    } else {
        Err(bad("a line does not end in CR LF"))
    }
}

/// What the fields say that matters to the connection itself.
#[derive(Default)]
struct Seen {
    hosts: u32,
    length: Option<u64>,
    /// How many transfer codings there are, and whether the last is `chunked`.
    codings: u32,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    unknown_expectation: bool,
}

impl Seen {
    fn look_at(&mut self, name: &str, value: &[u8]) -> Result<(), Refusal> {
        // By length first: most fields are told apart from these by that alone.
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is("Host") => {
                self.hosts += 1;
                if self.hosts > 1 {
                    return Err(bad("the request has more than one Host field"));
                }
                if !value.iter().all(|&byte| is_host_byte(byte)) {
                    return Err(bad("the Host field is malformed"));
                }
            }
            6 if is("Expect") => match value.eq_ignore_ascii_case(b"100-continue") {
                true => self.expects_continue = true,
                false => self.unknown_expectation = true,
            },
            10 if is("Connection") => {
                for option in list(value) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is("Content-Length") => {
                let length = parse_length(value).ok_or(bad("Content-Length is not one number"))?;
                if self.length.replace(length).is_some() {
                    return Err(bad("the request has more than one Content-Length field"));
                }
            }
            17 if is("Transfer-Encoding") => {
                // A field without a coding is as ambiguous as an unknown one: count it.
                let before = self.codings;
                for coding in list(value) {
                    if self.chunked {
                        return Err(bad("chunked is not the last transfer coding"));
                    }
                    self.codings += 1;
                    self.chunked = coding.eq_ignore_ascii_case(b"chunked");
                }
                self.codings = self.codings.max(before + 1);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The characters of `uri-host [":" port]` (RFC 3986 §3.2.2).
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=[]:".contains(&byte)
}

/// A run of digits that fits: no sign, no list, no white space.
fn parse_length(value: &[u8]) -> Option<u64> {
    match value {
        [] => None,
        _ => value.iter().try_fold(0u64, |sum, byte| match byte {
            b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
            _ => None,
        }),
    }
}
