//! What is in the file.

use crate::{Identities, Roots};
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::time::Duration;

/// What to show, and whose clients' certificates to take; `token` takes the tokens, by name.
///
/// # Errors
/// One line, to follow where the file is.
pub(super) fn read<const CLIENTS: bool, E: fmt::Display>(
    text: &[u8],
    now: Duration,
    token: impl FnMut(&str, &[u8]) -> Result<(), E>,
) -> Result<(Identities, Option<Roots>), String> {
    let identities = own(text, now)?;
    let clients = match split(text).1 {
        Some(clients) if CLIENTS => {
            let read = Roots::from_pem(clients);
            Some(read.map_err(|why| format!("what follows the line `clients:`: {why}"))?)
        }
        Some(_) => {
            return Err(String::from(
                "there are CAs for clients in it (`clients:`), and this image has no use for their certificates",
            ));
        }
        None => None,
    };
    tokens(text, token)?;
    Ok((identities, clients))
}

/// What to show alone.
///
/// # Errors
/// As [`read`].
pub(super) fn own(text: &[u8], now: Duration) -> Result<Identities, String> {
    Identities::from_pem(split(text).0, now).map_err(|why| why.to_string())
}

/// The tokens alone.
///
/// # Errors
/// One line, to follow where the file is.
pub(super) fn tokens<E: fmt::Display>(
    text: &[u8],
    mut token: impl FnMut(&str, &[u8]) -> Result<(), E>,
) -> Result<(), String> {
    for (number, line) in (1..).zip(lines(text)) {
        let Some(rest) = line.strip_prefix(b"token ") else {
            continue;
        };
        let colon = rest.iter().position(|byte| *byte == b':');
        let pair = colon.and_then(|at| Some((str::from_utf8(&rest[..at]).ok()?, &rest[at + 1..])));
        let Some((name, value)) = pair else {
            return Err(format!("line {number}: a token is `token NAME: TOKEN`"));
        };
        // Without the name: who has it the wrong way round has the secret there.
        token(name.trim_ascii(), value.trim_ascii())
            .map_err(|why| format!("line {number}: the token: {why}"))?;
    }
    Ok(())
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}

/// What is before the line `clients:`, and what follows it.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut at = 0;
    for line in text.split(|byte| *byte == b'\n') {
        let end = at + line.len();
        if line.trim_ascii() == b"clients:" {
            return (&text[..at], Some(text.get(end + 1..).unwrap_or_default()));
        }
        at = end + 1;
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn the_line_that_separates() {
        assert_eq!(split(b"a\nb\n"), (&b"a\nb\n"[..], None));
        assert_eq!(split(b"a\nclients:\nb"), (&b"a\n"[..], Some(&b"b"[..])));
        assert_eq!(split(b"a\n clients:\r\nb"), (&b"a\n"[..], Some(&b"b"[..])));
        assert_eq!(split(b"clients:"), (&b""[..], Some(&b""[..])));
        assert_eq!(split(b"no clients:\n"), (&b"no clients:\n"[..], None));
        assert_eq!(split(b""), (&b""[..], None));
    }
}
