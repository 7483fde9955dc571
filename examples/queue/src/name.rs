//! Names of uploads, and how they are written in header fields.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

/// Bytes of the longest name.
pub(crate) const MAX: usize = 200;

/// Checks that an upload may be called `name`. What else a path can't have (zero bytes, `.` and `..`, what is not UTF-8,
/// an escaped slash), the request's target has been refused for.
///
/// # Errors
/// What is wrong with it, for people.
pub(crate) fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > MAX {
        Err("A name has 1 to 200 bytes.")
    } else if name.contains(['/', '\\']) || matches!(name, "." | "..") {
        Err("A name is one segment of a path: it has no slash or backslash, and is not . or ..")
    } else if name.chars().any(char::is_control) {
        Err("A name has no control characters.")
    } else {
        Ok(())
    }
}

/// The path of the upload called `name`, as it stands in a URL.
pub(crate) fn path(name: &str) -> String {
    escape("/uploads/", name)
}

/// The value of `Content-Disposition` by which a client saves the upload under its name (RFC 6266, RFC 8187).
pub(crate) fn disposition(name: &str) -> String {
    // Clients know what these mean between quotes; other names need the form that says how it is encoded.
    let plain = |byte: u8| byte == b' ' || is_unreserved(byte);
    if name.bytes().all(plain) {
        format!("attachment; filename=\"{name}\"")
    } else {
        escape("attachment; filename*=UTF-8''", name)
    }
}

/// `before` and the escaped `name`.
fn escape(before: &str, name: &str) -> String {
    let mut text = String::from(before);
    for byte in name.bytes() {
        if is_unreserved(byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The characters that mean themselves everywhere in a URL (RFC 3986 §2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        let longest = "n".repeat(MAX);
        for good in ["a", "report 1.pdf", "…", ".hidden", "a%2Fb", "\"", &longest] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let too_long = "n".repeat(MAX + 1);
        for bad in [
            "", ".", "..", "a/b", "a\\b", "a\nb", "\u{7f}", "\u{85}", &too_long,
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fields() {
        assert_eq!(path("a b/é"), "/uploads/a%20b%2F%C3%A9");
        assert_eq!(
            disposition("report 1.pdf"),
            "attachment; filename=\"report 1.pdf\""
        );
        assert_eq!(disposition("\"é"), "attachment; filename*=UTF-8''%22%C3%A9");
    }

    proptest! {
        /// Whatever the name, the values can be sent.
        #[test]
        fn values_are_printable(name in ".{1,60}") {
            for value in [path(&name), disposition(&name)] {
                prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", value);
            }
        }
    }
}
