//! Header field lines (RFC 9112 §5) and the lists in their values (RFC 9110 §5.6.1).

/// Walks over the fields of a head that was checked: name and value of each line, in order.
///
/// `lines` are whole lines, each ending in CRLF.
pub(crate) fn fields(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    lines.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// Splits a value at its commas: elements without the white space around them, empty ones left out.
///
/// Not for values in which a comma can stand inside quotes.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether a name or value may be sent: no control character, and so no way to end the line early.
pub(crate) fn is_sendable(name: &str, value: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty()
        && name.bytes().all(is_token)
        && !value.bytes().any(|byte| byte.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn lines_are_split_and_trimmed() {
        let found: Vec<_> = fields(b"Host: a:80\r\nX:\t y \t\r\nEmpty:\r\n").collect();
        let expected: [(&[u8], &[u8]); 3] = [(b"Host", b"a:80"), (b"X", b"y"), (b"Empty", b"")];
        assert_eq!(found, expected);
    }

    #[test]
    fn lists_skip_the_empty() {
        let found: Vec<_> = list(b", a ,,b\t,").collect();
        assert_eq!(found, [b"a", b"b"]);
    }

    #[test]
    fn nothing_that_ends_a_line_is_sent() {
        assert!(is_sendable("X-Name", "a value, \"quoted\" é"));
        for (name, value) in [
            ("", "a"),
            ("a b", "c"),
            ("a:", "b"),
            ("a", "b\r\nc: d"),
            ("a", "b\n"),
            ("a", "\0"),
            ("a\r\n", ""),
        ] {
            assert!(!is_sendable(name, value), "{name:?}: {value:?}");
        }
    }
}
