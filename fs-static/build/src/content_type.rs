//! What a file is, told by its name.

/// The value of `Content-Type` for a file of that name and content.
///
/// Text says that it is UTF-8 where it is. Where it is not we don't know what it is, and leave it to the browser.
/// JSON says nothing: it is always UTF-8 (RFC 8259 §8.1).
pub(crate) fn content_type(path: &str, body: &[u8]) -> String {
    let essence = essence(path);
    if is_text(essence) && str::from_utf8(body).is_ok() {
        format!("{essence}; charset=utf-8")
    } else {
        essence.to_owned()
    }
}

/// The type of a file of that name, which says nothing of what it is coded in.
pub(crate) fn essence(path: &str) -> &'static str {
    match mime_guess::from_path(path).first_raw() {
        // RFC 9239 §6.
        Some("application/javascript") => "text/javascript",
        Some(essence) => essence,
        None => "application/octet-stream",
    }
}

/// Whether files of that type are text, whose coding is to be told.
pub(crate) fn is_text(essence: &str) -> bool {
    essence.starts_with("text/") || essence.ends_with("+xml") || essence == "application/xml"
}

/// Whether files of that type are compressed by their nature, so that trying again would only cost time.
pub(crate) fn is_compressed(content_type: &str) -> bool {
    let (kind, subtype) = content_type.split_once('/').unwrap_or_default();
    match kind {
        "video" => true,
        "audio" => !matches!(subtype, "wav" | "x-wav" | "midi" | "aiff" | "x-aiff"),
        "image" => matches!(
            subtype,
            "png" | "apng" | "jpeg" | "gif" | "webp" | "avif" | "heic" | "heif" | "jxl"
        ),
        "font" => matches!(subtype, "woff" | "woff2"),
        "application" => matches!(
            subtype,
            "zip"
                | "gzip"
                | "zstd"
                | "x-bzip"
                | "x-bzip2"
                | "x-xz"
                | "x-7z-compressed"
                | "x-rar-compressed"
                | "vnd.rar"
                | "java-archive"
                | "epub+zip"
                | "font-woff"
                | "font-woff2"
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_sites_are_made_of() {
        let utf8 = |name| content_type(name, b"x");
        assert_eq!(utf8("/a/index.html"), "text/html; charset=utf-8");
        assert_eq!(utf8("/INDEX.HTML"), "text/html; charset=utf-8");
        assert_eq!(utf8("/style.css"), "text/css; charset=utf-8");
        assert_eq!(utf8("/app.js"), "text/javascript; charset=utf-8");
        assert_eq!(utf8("/app.mjs"), "text/javascript; charset=utf-8");
        assert_eq!(utf8("/draw.svg"), "image/svg+xml; charset=utf-8");
        assert_eq!(utf8("/feed.xml"), "text/xml; charset=utf-8");
        assert_eq!(utf8("/robots.txt"), "text/plain; charset=utf-8");
        assert_eq!(utf8("/data.json"), "application/json");
        assert_eq!(utf8("/site.webmanifest"), "application/manifest+json");
        assert_eq!(utf8("/app.wasm"), "application/wasm");
        assert_eq!(utf8("/favicon.ico"), "image/x-icon");
        assert_eq!(utf8("/a.png"), "image/png");
        assert_eq!(utf8("/a.webp"), "image/webp");
        assert_eq!(utf8("/a.avif"), "image/avif");
        assert_eq!(utf8("/a.woff2"), "font/woff2");
        assert_eq!(utf8("/a.pdf"), "application/pdf");
        assert_eq!(utf8("/LICENSE"), "application/octet-stream");
    }

    #[test]
    fn text_that_is_not_utf8_is_not_said_to_be() {
        assert_eq!(content_type("/latin1.html", b"caf\xe9"), "text/html");
    }

    #[test]
    fn what_is_compressed_already() {
        for name in [
            "/a.png", "/a.jpg", "/a.gif", "/a.webp", "/a.avif", "/a.woff", "/a.woff2", "/a.zip",
            "/a.gz",
        ] {
            assert!(is_compressed(&content_type(name, b"x")), "{name}");
        }
        for name in [
            "/a.mp4", "/a.webm", "/a.mp3", "/a.ogg", "/a.7z", "/a.bz2", "/a.xz", "/a.jar",
            "/a.epub",
        ] {
            assert!(is_compressed(&content_type(name, b"x")), "{name}");
        }
        for name in [
            "/a.html", "/a.css", "/a.js", "/a.svg", "/a.ico", "/a.wasm", "/a.ttf", "/a.bmp", "/a",
            "/a.wav",
        ] {
            assert!(!is_compressed(&content_type(name, b"x")), "{name}");
        }
    }
}
