//! The request target: RFC 9112 §3.2, decoded once and in place.

use core::ops::Range;

/// Where a target's parts lie in the bytes it was decoded in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The decoded path. It is UTF-8, starts with `/` (or is the `*` of `OPTIONS *`), and has no segment `.` or `..`.
    pub(crate) path: Range<usize>,
    /// What followed the `?`, as it was sent.
    pub(crate) query: Option<Range<usize>>,
}

/// Splits a target in origin, absolute or asterisk form, and decodes its path in place.
///
/// # Errors
///
/// What is wrong with it. The bytes may then be half decoded.
pub(crate) fn decode(target: &mut [u8]) -> Result<Target, &'static str> {
    if is_plain(target) {
        return Ok(Target {
            path: 0..target.len(),
            query: None,
        });
    }
    if target == b"*" {
        return Ok(Target {
            path: 0..1,
            query: None,
        });
    }
    if target.contains(&b'#') {
        return Err("the request target has a fragment");
    }
    let start = path_start(target)?;
    let question = target[start..]
        .iter()
        .position(|&byte| byte == b'?')
        .map(|at| start + at);
    let end = question.unwrap_or(target.len());
    let query = question.map(|at| at + 1..target.len());
    if start == end {
        // `http://host` and `http://host?query`: the path is `/` (RFC 9110 §4.2.3). The byte before it is the
        // authority's last, which nobody needs any more.
        target[start - 1] = b'/';
        return Ok(Target {
            path: start - 1..start,
            query,
        });
    }
    let path = start..start + decode_escapes(&mut target[start..end])?;
    check_path(&target[path.clone()])?;
    Ok(Target { path, query })
}

/// Whether the target is a path of which nothing needs a second look: the usual case, in one pass. A segment that
/// starts with a dot does get one.
fn is_plain(target: &[u8]) -> bool {
    let mut after_slash = false;
    target.first() == Some(&b'/')
        && target.iter().all(|&byte| {
            let plain = byte.is_ascii_alphanumeric()
                || matches!(byte, b'/' | b'-' | b'_')
                || (byte == b'.' && !after_slash);
            after_slash = byte == b'/';
            plain
        })
}

/// Where the path begins: at once in origin form, behind `http://authority` in absolute form.
fn path_start(target: &[u8]) -> Result<usize, &'static str> {
    if target.first() == Some(&b'/') {
        return Ok(0);
    }
    let authority = ["http://", "https://"]
        .iter()
        .find(|scheme| {
            target
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
        })
        .ok_or("the request target is neither a path nor an http URL")?
        .len();
    let length = target[authority..]
        .iter()
        .take_while(|&&byte| byte != b'/' && byte != b'?')
        .count();
    match length {
        0 => Err("the request target names no host"),
        _ => Ok(authority + length),
    }
}

/// Replaces each `%XX` by its byte and returns the length that is left. Decoded once: `%252e` becomes `%2e`.
fn decode_escapes(path: &mut [u8]) -> Result<usize, &'static str> {
    let Some(first) = path.iter().position(|&byte| byte == b'%') else {
        return Ok(path.len());
    };
    let (mut from, mut to) = (first, first);
    while from < path.len() {
        path[to] = match path[from] {
            b'%' => {
                let escape = path
                    .get(from + 1..from + 3)
                    .ok_or("the path ends in the middle of an escape")?;
                from += 2;
                match hex(escape[0]).zip(hex(escape[1])) {
                    Some((high, low)) => match high << 4 | low {
                        // Data that must not act as a separator: no path that means this can be told from one.
                        b'/' => return Err("the path has an escaped slash"),
                        byte => byte,
                    },
                    None => {
                        return Err("the path has an escape that is not two hexadecimal digits");
                    }
                }
            }
            byte => byte,
        };
        from += 1;
        to += 1;
    }
    Ok(to)
}

fn hex(digit: u8) -> Option<u8> {
    // A hexadecimal digit's value is below 16: nothing is cut off.
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Refuses what no path of a tree can be.
fn check_path(path: &[u8]) -> Result<(), &'static str> {
    if path.contains(&0) {
        return Err("the path has a zero byte");
    }
    if core::str::from_utf8(path).is_err() {
        return Err("the path is not UTF-8");
    }
    if path
        .split(|&byte| byte == b'/')
        .any(|segment| segment == b"." || segment == b"..")
    {
        return Err("the path has a dot segment");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use proptest::prelude::*;

    fn decoded(target: &str) -> Result<(String, Option<String>), &'static str> {
        let mut bytes = target.as_bytes().to_vec();
        let target = decode(&mut bytes)?;
        let text = |range: Range<usize>| core::str::from_utf8(&bytes[range]).unwrap().to_string();
        Ok((text(target.path), target.query.map(text)))
    }

    #[test]
    fn good_targets() {
        let table = [
            ("/", "/", None),
            ("*", "*", None),
            ("/a/b.html", "/a/b.html", None),
            ("/a?", "/a", Some("")),
            ("/a%20b?c=%20?d", "/a b", Some("c=%20?d")),
            ("/%C3%A9%2e", "/é.", None),
            ("/é", "/é", None),
            ("/%252e%252e", "/%2e%2e", None),
            ("/...", "/...", None),
            ("//x", "//x", None),
            ("http://h", "/", None),
            ("HTTP://h:80/a", "/a", None),
            ("https://h?q", "/", Some("q")),
            ("http://h/?q", "/", Some("q")),
        ];
        for (target, path, query) in table {
            assert_eq!(
                decoded(target),
                Ok((path.to_string(), query.map(str::to_string))),
                "{target}"
            );
        }
    }

    #[test]
    fn bad_targets() {
        let table = [
            "",
            "a",
            "**",
            "ftp://h/a",
            "http://",
            "http:///a",
            "http:/a",
            "/a#b",
            "/%",
            "/%4",
            "/%g0",
            "/%+1",
            "/%00",
            "/a%2Fb",
            "/a%2fb",
            "/..",
            "/../a",
            "/a/..",
            "/a/../b",
            "/%2e%2e/a",
            "/.%2E",
            "/a/./b",
            "/.",
            "/%ff",
            "host:80",
        ];
        for target in table {
            assert!(decoded(target).is_err(), "{target}");
        }
    }

    proptest! {
        #[test]
        fn any_path_survives_escaping(path in "(/[^/\0]{0,8}){1,4}") {
            prop_assume!(path.split('/').all(|segment| segment != "." && segment != ".."));
            let escaped: String = path
                .bytes()
                .map(|byte| if byte == b'/' { "/".to_string() } else { alloc::format!("%{byte:02x}") })
                .collect();
            prop_assert_eq!(decoded(&escaped), Ok((path, None)));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(mut bytes: alloc::vec::Vec<u8>) {
            if let Ok(target) = decode(&mut bytes) {
                let path = core::str::from_utf8(&bytes[target.path]).unwrap();
                prop_assert!(path == "*" || path.starts_with('/'));
                prop_assert!(path.split('/').all(|segment| segment != ".." && segment != "."));
            }
        }
    }
}
