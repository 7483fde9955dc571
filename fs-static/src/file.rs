//! A file and the ways it can be sent.

use crate::Accept;

/// A content coding (RFC 9110 §8.4.1) that variants are made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// The file as it is.
    Identity,
    /// `gzip` (RFC 1952).
    Gzip,
    /// `br` (RFC 7932).
    Brotli,
}

impl Coding {
    /// The coding's name in `Content-Encoding` and `Accept-Encoding`.
    pub const fn token(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
            Coding::Brotli => "br",
        }
    }

    /// The coding of that name.
    pub fn from_token(token: &str) -> Option<Coding> {
        let all = [Coding::Identity, Coding::Gzip, Coding::Brotli];
        all.into_iter().find(|coding| coding.token() == token)
    }
}

/// One representation of a file: a body, and the head that goes before it.
///
/// The head is one string of whole lines. Responses other than the whole body are made from its tail:
///
/// ```text
/// HTTP/1.1 200 OK                           head()        200: the head and the body
/// Content-Length: 1042
/// Content-Type: text/html; charset=utf-8      fields()    206: your status line, Content-Length and
/// Content-Encoding: br                                         Content-Range, then these
/// Accept-Ranges: bytes
/// X-Content-Type-Options: nosniff
/// ETag: "0f343b0931126a20f133d67c"              validators()  304: your status line, then these
/// Vary: Accept-Encoding
/// Cache-Control: no-cache
/// ```
///
/// `Content-Encoding` is there in a compressed variant, `Vary` where the file has several. None of the
/// parts has the empty line that ends a head.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    coding: Coding,
    body: &'static [u8],
    etag: &'static str,
    head: &'static [u8],
    fields_at: usize,
    validators_at: usize,
}

impl Variant {
    /// Puts a variant together; the build half writes the calls.
    ///
    /// # Panics
    ///
    /// When `fields_at` or `validators_at` lie outside `head`. In a static that is an error at compile time.
    pub const fn new(
        coding: Coding,
        body: &'static [u8],
        etag: &'static str,
        head: &'static [u8],
        fields_at: usize,
        validators_at: usize,
    ) -> Variant {
        assert!(
            fields_at <= head.len() && validators_at <= head.len(),
            "an offset lies outside the head"
        );
        Variant {
            coding,
            body,
            etag,
            head,
            fields_at,
            validators_at,
        }
    }

    /// How `body` is coded.
    pub const fn coding(&self) -> Coding {
        self.coding
    }

    /// The bytes to send, already coded. Ranges count in these (RFC 9110 §14.2).
    pub const fn body(&self) -> &'static [u8] {
        self.body
    }

    /// The strong entity tag, with its quotes. It comes from a hash of `body`, so no two variants share one.
    pub const fn etag(&self) -> &'static str {
        self.etag
    }

    /// The head of a complete response: status line and all fields but `Date` and `Connection`.
    pub const fn head(&self) -> &'static [u8] {
        self.head
    }

    /// The fields of `head` that a partial response has too: all but `Content-Length`.
    pub const fn fields(&self) -> &'static [u8] {
        self.head.split_at(self.fields_at).1
    }

    /// The fields of `head` that a 304 response has to repeat (RFC 9110 §15.4.5).
    pub const fn validators(&self) -> &'static [u8] {
        self.head.split_at(self.validators_at).1
    }
}

/// A file of the tree.
#[derive(Debug)]
pub struct File {
    path: &'static str,
    content_type: &'static str,
    identity: Variant,
    gzip: Option<Variant>,
    brotli: Option<Variant>,
}

impl File {
    /// Puts a file together; the build half writes the calls.
    pub const fn new(
        path: &'static str,
        content_type: &'static str,
        identity: Variant,
        gzip: Option<Variant>,
        brotli: Option<Variant>,
    ) -> File {
        File {
            path,
            content_type,
            identity,
            gzip,
            brotli,
        }
    }

    /// The file's own path in the tree, decoded: `/docs/index.html`, also where it was found as `/docs/`.
    pub const fn path(&self) -> &'static str {
        self.path
    }

    /// The value of `Content-Type`, for parts of a `multipart/byteranges`; heads have it already.
    pub const fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// The file as it is.
    pub const fn identity(&self) -> &Variant {
        &self.identity
    }

    /// Every variant there is, `identity` first.
    pub fn variants(&self) -> impl Iterator<Item = &Variant> {
        [
            Some(&self.identity),
            self.gzip.as_ref(),
            self.brotli.as_ref(),
        ]
        .into_iter()
        .flatten()
    }

    /// Chooses the variant that the client likes best, and of those it likes equally, the smallest.
    ///
    /// `None` when it refuses all of them, which takes an explicit `identity;q=0` or `*;q=0`: the server may
    /// then answer 406, or send [`identity`](File::identity) all the same (RFC 9110 §12.5.3).
    pub fn negotiate(&self, accept: Accept) -> Option<&Variant> {
        accept.choose(
            self.variants()
                .map(|variant| (variant.coding, variant.body.len() as u64, variant)),
        )
    }
}

/// A path that has moved.
#[derive(Debug)]
pub struct Redirect {
    location: &'static str,
    head: &'static [u8],
}

impl Redirect {
    /// Puts a redirect together; the build half writes the calls.
    pub const fn new(location: &'static str, head: &'static [u8]) -> Redirect {
        Redirect { location, head }
    }

    /// The new path, percent-encoded: what `Location` says.
    pub const fn location(&self) -> &'static str {
        self.location
    }

    /// The head of a `301 Moved Permanently` with an empty body, less `Date`, `Connection` and the final line.
    pub const fn head(&self) -> &'static [u8] {
        self.head
    }
}

/// `len` bytes of `bytes` from `at`: all bodies lie in one file.
///
/// # Panics
///
/// When they lie outside. The build half calls it in statics only: there it is an error at compile time.
#[doc(hidden)]
pub const fn slice(bytes: &'static [u8], at: usize, len: usize) -> &'static [u8] {
    bytes.split_at(at).1.split_at(len).0
}
