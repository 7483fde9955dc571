//! The command line: words `key=value` or bare `key`, separated by blanks.
//!
//! On Xen it is the `extra` of the guest's configuration (a `cmd_line` of `start_info`, at most 1024 bytes); on the
//! host's targets it is the process's arguments.

use alloc::string::String;
use core::cell::OnceCell;

local! {
    static LINE: OnceCell<&'static str> = OnceCell::new();
}

/// The whole line.
pub fn line() -> &'static str {
    LINE.with(|l| *l.get_or_init(|| String::leak(crate::platform::command_line())))
}

/// The value of the last word `key=value`; the empty string for a bare `key`; `None` when there is neither.
pub fn get(key: &str) -> Option<&'static str> {
    find(line(), key)
}

/// The value of `key` as a `T`.
///
/// # Errors
/// One line that names the word, when it is there and is not a `T`.
pub fn parse<T: core::str::FromStr>(key: &str) -> Result<Option<T>, String> {
    match get(key) {
        None => Ok(None),
        Some(value) => value.parse().map(Some).map_err(|_| {
            alloc::format!("command line: {key}={value} is not a valid value for {key}")
        }),
    }
}

/// Whether there is the word `key`, which takes no value.
///
/// # Errors
/// One line that names it, when it has one.
pub fn flag(key: &str) -> Result<bool, String> {
    match get(key) {
        None => Ok(false),
        Some("") => Ok(true),
        Some(value) => Err(alloc::format!(
            "command line: {key}={value}: it is `{key}`, or left out"
        )),
    }
}

fn find<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_ascii_whitespace().rev().find_map(|word| {
        let (k, v) = word.split_once('=').unwrap_or((word, ""));
        (k == key).then_some(v)
    })
}

#[cfg(test)]
mod tests {
    use super::find;
    use proptest::prelude::*;

    #[test]
    fn words() {
        let line = "  ip=10.0.0.2/24 gw=10.0.0.1\tquiet ip=10.0.0.3/24 empty= url=a=b ";
        assert_eq!(find(line, "ip"), Some("10.0.0.3/24"), "the last one counts");
        assert_eq!(find(line, "quiet"), Some(""));
        assert_eq!(find(line, "empty"), Some(""));
        assert_eq!(find(line, "url"), Some("a=b"));
        assert_eq!(find(line, "i"), None);
        assert_eq!(find("", "ip"), None);
        assert_eq!(find("=x", ""), Some("x"));
    }

    proptest! {
        /// Any line has words; what is found is a value of the last word with that key.
        #[test]
        fn any_line(line in "[ -~\t\u{a0}-\u{ff}]{0,200}", key in "[a-z_]{1,5}") {
            let found = find(&line, &key);
            let all: Vec<_> = line.split_ascii_whitespace().filter_map(|word| match word.split_once('=') {
                Some((k, v)) => (k == key).then_some(v),
                None => (word == key).then_some(""),
            }).collect();
            prop_assert_eq!(found, all.last().copied());
        }

        #[test]
        fn what_is_written_is_found(words in prop::collection::vec(("[a-z]{1,3}", "[!-~]{0,8}"), 0..12), key in "[a-z]{1,3}") {
            let line: String = words.iter().map(|(k, v)| format!("{k}={v} ")).collect();
            let expected = words.iter().rev().find(|(k, _)| *k == key).map(|(_, v)| v.as_str());
            prop_assert_eq!(find(&line, &key), expected);
        }
    }
}
