//! Response heads. [`Variant`](crate::Variant) draws one.

use crate::Coding;
use core::fmt::{self, Write};

/// Caches may keep everything, but ask before they use it: a new image must be seen at once, and the entity tag
/// makes asking cost one packet each way.
const CACHE_CONTROL: &str = "Cache-Control: no-cache\r\n";

/// Browsers shall believe the `Content-Type`.
const NO_SNIFFING: &str = "X-Content-Type-Options: nosniff\r\n";

/// What the head of a file's representation is made from: the same for a tree that is part of the program as for a disk.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The value of `Content-Type`.
    pub content_type: &'a str,
    /// How the body is coded.
    pub coding: Coding,
    /// The body's length.
    pub body_bytes: u64,
    /// The strong entity tag, with its quotes.
    pub etag: &'a str,
    /// Whether the file has several variants.
    pub varies: bool,
}

/// The places in a head that the other responses are made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Where the fields begin that a partial response repeats.
    pub fields: usize,
    /// Where the fields begin that a 304 repeats.
    pub validators: usize,
}

impl Head<'_> {
    /// Writes the head of a 200 response, without its final empty line.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn ok(&self, out: &mut impl Write) -> Result<Places, fmt::Error> {
        self.write("200 OK", true, out)
    }

    /// Writes the head of a 404 response. What validators and ranges say is about the page that was asked for, so that
    /// they have no place on the page sent instead of it.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn not_found(&self, out: &mut impl Write) -> Result<Places, fmt::Error> {
        self.write("404 Not Found", false, out)
    }

    fn write(
        &self,
        status: &str,
        is_the_page: bool,
        out: &mut impl Write,
    ) -> Result<Places, fmt::Error> {
        let out = &mut Counted { out, written: 0 };
        let mut places = Places::default();
        write!(
            out,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n",
            self.body_bytes
        )?;
        places.fields = out.written;
        write!(out, "Content-Type: {}\r\n", self.content_type)?;
        if self.coding != Coding::Identity {
            write!(out, "Content-Encoding: {}\r\n", self.coding.token())?;
        }
        if is_the_page {
            out.write_str("Accept-Ranges: bytes\r\n")?;
        }
        out.write_str(NO_SNIFFING)?;
        places.validators = out.written;
        if is_the_page {
            write!(out, "ETag: {}\r\n", self.etag)?;
        }
        if self.varies {
            out.write_str("Vary: Accept-Encoding\r\n")?;
        }
        out.write_str(CACHE_CONTROL)?;
        Ok(places)
    }
}

/// Writes the head of a 301 response from the folder `path`, which is not encoded, to the same with a `/` at its end.
///
/// # Errors
///
/// Those of `out`.
pub fn redirect(path: &str, out: &mut impl Write) -> fmt::Result {
    let location = Encoded(path);
    write!(
        out,
        "HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\nLocation: {location}/\r\n{CACHE_CONTROL}"
    )
}

/// A path, percent-encoded for use in a URL (RFC 3986 §3.3): everything but unreserved characters and `/`. That takes in
/// the backslash, which browsers would read as another `/`, and every byte that could end a header line.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a>(pub &'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
                f.write_char(byte.into())?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

/// Counts what passes.
struct Counted<'o, O> {
    out: &'o mut O,
    written: usize,
}

impl<O: Write> Write for Counted<'_, O> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.written += text.len();
        self.out.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};

    const HTML: Head<'_> = Head {
        content_type: "text/html; charset=utf-8",
        coding: Coding::Brotli,
        body_bytes: 1042,
        etag: "\"0f343b0931126a20f133d67c\"",
        varies: true,
    };

    #[test]
    fn a_head_and_its_parts() {
        let mut text = String::from("before");
        let places = HTML.ok(&mut text).unwrap();
        let text = text.strip_prefix("before").unwrap();
        assert_eq!(
            &text[..places.fields],
            "HTTP/1.1 200 OK\r\nContent-Length: 1042\r\n"
        );
        assert_eq!(
            &text[places.fields..places.validators],
            "Content-Type: text/html; charset=utf-8\r\nContent-Encoding: br\r\nAccept-Ranges: bytes\r\n\
             X-Content-Type-Options: nosniff\r\n"
        );
        assert_eq!(
            &text[places.validators..],
            "ETag: \"0f343b0931126a20f133d67c\"\r\nVary: Accept-Encoding\r\nCache-Control: no-cache\r\n"
        );
    }

    #[test]
    fn a_file_without_variants_has_no_coding_and_does_not_vary() {
        let mut text = String::new();
        let head = Head {
            coding: Coding::Identity,
            varies: false,
            ..HTML
        };
        head.ok(&mut text).unwrap();
        assert!(
            !text.contains("Content-Encoding") && !text.contains("Vary"),
            "{text}"
        );
    }

    #[test]
    fn a_404_has_no_validator_and_no_ranges() {
        let mut text = String::new();
        HTML.not_found(&mut text).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 404 Not Found\r\nContent-Length: 1042\r\n"),
            "{text}"
        );
        assert!(
            text.contains("Content-Encoding: br\r\n") && text.contains("Vary: "),
            "{text}"
        );
        assert!(
            !text.contains("ETag") && !text.contains("Accept-Ranges"),
            "{text}"
        );
    }

    #[test]
    fn a_redirect() {
        let mut text = String::new();
        redirect("/café", &mut text).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\nLocation: /caf%C3%A9/\r\n\
             Cache-Control: no-cache\r\n"
        );
    }

    #[test]
    fn locations_are_encoded() {
        let encoded = |path| Encoded(path).to_string();
        assert_eq!(encoded("/a-b_c.d~e/"), "/a-b_c.d~e/");
        assert_eq!(encoded("/café 100%/"), "/caf%C3%A9%20100%25/");
        assert_eq!(encoded("/\\evil.example/"), "/%5Cevil.example/");
        assert_eq!(encoded("/a?b#c/"), "/a%3Fb%23c/");
        assert_eq!(encoded("/a\r\nX: y/"), "/a%0D%0AX%3A%20y/");
    }

    proptest! {
        #[test]
        fn an_encoded_path_decodes_to_itself_and_is_harmless(path in any::<String>()) {
            let encoded = Encoded(&path).to_string();
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"%/-._~".contains(&b)));
            let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8();
            prop_assert_eq!(decoded.as_deref(), Ok(path.as_str()));
        }
    }
}
