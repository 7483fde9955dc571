//! Response heads.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Caches may keep everything, but ask before they use it: a new image must be seen at once, and the entity tag
/// makes asking cost one packet each way.
const CACHE_CONTROL: &str = "Cache-Control: no-cache\r\n";

/// Browsers shall believe the `Content-Type`.
const NO_SNIFFING: &str = "X-Content-Type-Options: nosniff\r\n";

/// A head without its final empty line, and the places in it that the run-time half needs to know.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) text: String,
    /// Where the fields begin that a partial response repeats.
    pub(crate) fields_at: usize,
    /// Where the fields begin that a 304 repeats.
    pub(crate) validators_at: usize,
}

/// What a head is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Representation<'a> {
    pub(crate) content_type: &'a str,
    /// `Content-Encoding`, but for identity.
    pub(crate) coding: Option<&'a str>,
    pub(crate) body_bytes: usize,
    pub(crate) etag: &'a str,
    /// Whether the file has several variants.
    pub(crate) varies: bool,
}

/// The head of a 200 response. Its order is drawn, and relied on, at `xenlet_fs_static::Variant`.
pub(crate) fn ok(of: Representation<'_>) -> Head {
    head(
        "200 OK",
        of,
        "Accept-Ranges: bytes\r\n",
        &format!("ETag: {}\r\n", of.etag),
    )
}

/// The head of a 404 response. What validators and ranges say is about the page that was asked for, so that they have
/// no place on the page sent instead of it.
pub(crate) fn not_found(of: Representation<'_>) -> Head {
    head("404 Not Found", of, "", "")
}

fn head(status: &str, of: Representation<'_>, ranges: &str, etag: &str) -> Head {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", of.body_bytes);
    let fields_at = text.len();
    text += &format!("Content-Type: {}\r\n", of.content_type);
    if let Some(coding) = of.coding {
        text += &format!("Content-Encoding: {coding}\r\n");
    }
    text += ranges;
    text += NO_SNIFFING;
    let validators_at = text.len();
    text += etag;
    if of.varies {
        text += "Vary: Accept-Encoding\r\n";
    }
    text += CACHE_CONTROL;
    Head {
        text,
        fields_at,
        validators_at,
    }
}

/// The head of a 301 response to `location`, which is percent-encoded.
pub(crate) fn redirect(location: &str) -> String {
    format!(
        "HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\nLocation: {location}\r\n{CACHE_CONTROL}"
    )
}

/// Percent-encodes a path for use in a URL (RFC 3986 §3.3): everything but unreserved characters and `/`. That takes in
/// the backslash, which browsers would read as another `/`, and every byte that could end a header line.
pub(crate) fn percent_encode(path: &str) -> String {
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(path, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HTML: Representation<'_> = Representation {
        content_type: "text/html; charset=utf-8",
        coding: Some("br"),
        body_bytes: 1042,
        etag: "\"0f343b0931126a20f133d67c\"",
        varies: true,
    };

    #[test]
    fn a_head_and_its_parts() {
        let Head {
            text,
            fields_at,
            validators_at,
        } = ok(HTML);
        assert_eq!(
            &text[..fields_at],
            "HTTP/1.1 200 OK\r\nContent-Length: 1042\r\n"
        );
        assert_eq!(
            &text[fields_at..validators_at],
            "Content-Type: text/html; charset=utf-8\r\nContent-Encoding: br\r\nAccept-Ranges: bytes\r\n\
             X-Content-Type-Options: nosniff\r\n"
        );
        assert_eq!(
            &text[validators_at..],
            "ETag: \"0f343b0931126a20f133d67c\"\r\nVary: Accept-Encoding\r\nCache-Control: no-cache\r\n"
        );
    }

    #[test]
    fn a_file_without_variants_has_no_coding_and_does_not_vary() {
        let text = ok(Representation {
            coding: None,
            varies: false,
            ..HTML
        })
        .text;
        assert!(
            !text.contains("Content-Encoding") && !text.contains("Vary"),
            "{text}"
        );
    }

    #[test]
    fn a_404_has_no_validator_and_no_ranges() {
        let text = not_found(HTML).text;
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
    fn locations_are_encoded() {
        assert_eq!(percent_encode("/a-b_c.d~e/"), "/a-b_c.d~e/");
        assert_eq!(percent_encode("/café 100%/"), "/caf%C3%A9%20100%25/");
        assert_eq!(percent_encode("/\\evil.example/"), "/%5Cevil.example/");
        assert_eq!(percent_encode("/a?b#c/"), "/a%3Fb%23c/");
        assert_eq!(percent_encode("/a\r\nX: y/"), "/a%0D%0AX%3A%20y/");
    }

    proptest! {
        #[test]
        fn an_encoded_path_decodes_to_itself_and_is_harmless(path in any::<String>()) {
            let encoded = percent_encode(&path);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"%/-._~".contains(&b)));
            let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8();
            prop_assert_eq!(decoded.as_deref(), Ok(path.as_str()));
        }
    }
}
