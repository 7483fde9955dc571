//! Header field lines (RFC 9112 §5) and the lists in their values (RFC 9110 §5.6.1).

use alloc::vec::Vec;

/// Where a field's name and value lie in the head that has it. A head is shorter than 64 KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    name: (u16, u16),
    value: (u16, u16),
}

impl Field {
    /// Notes where `name` and `value`, parts of `head`, lie; `None` if that is beyond 64 KiB.
    pub(crate) fn locate(head: &[u8], name: &[u8], value: &[u8]) -> Option<Field> {
        let place = |part: &[u8]| {
            let start = offset(head, part);
            Some((
                u16::try_from(start).ok()?,
                u16::try_from(start + part.len()).ok()?,
            ))
        };
        Some(Field {
            name: place(name)?,
            value: place(value)?,
        })
    }

    /// Whether this is its name, in any case.
    pub(crate) fn is(self, head: &[u8], name: &str) -> bool {
        usize::from(self.name.1 - self.name.0) == name.len()
            && slice(head, self.name).eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value, without the white space around it.
    pub(crate) fn value(self, head: &[u8]) -> &[u8] {
        slice(head, self.value)
    }
}

fn slice(head: &[u8], (start, end): (u16, u16)) -> &[u8] {
    &head[usize::from(start)..usize::from(end)]
}

/// Where `part` begins in `whole`, which it is a part of.
pub(crate) fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
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

/// Appends the line of a field that [may be sent](is_sendable).
pub(crate) fn append(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
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

    #[test]
    fn fields_are_found_where_they_lie() {
        let head = b"Host: a:80
Empty:
";
        let host = Field::locate(head, &head[0..4], &head[6..10]).unwrap();
        assert!(host.is(head, "hOST") && !host.is(head, "Hos") && !host.is(head, "Hast"));
        assert_eq!(host.value(head), b"a:80");
        let empty = Field::locate(head, &head[12..17], &head[18..18]).unwrap();
        assert_eq!(empty.value(head), b"");
        let large = [0; 70_000];
        assert!(Field::locate(&large, &large[65_000..65_500], &large[65_530..65_540]).is_none());
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
