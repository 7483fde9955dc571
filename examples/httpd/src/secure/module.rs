//! What is in the boot module: PEM, and lines between its sections.
//!
//! ```text
//! -----BEGIN PRIVATE KEY----- …     the server's key, and its certificate with those of its issuers
//! -----BEGIN CERTIFICATE----- …
//! token operator: 2f8c…             what somebody sends as `Authorization: Bearer 2f8c…`
//! clients:                          from here on: CAs whose clients are asked for a certificate
//! -----BEGIN CERTIFICATE----- …
//! ```
//!
//! Tokens are here, and not on the command line, which every domain of the host may read; their hashes are all that is kept.

use super::RULES;
use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;
use xenlet_http::access::Access;
use xenlet_tls::{Identities, Roots};

/// What to show, and whose clients' certificates to take; tokens go to `access`.
///
/// # Errors
/// One line, to follow what was read.
pub(super) fn read(
    text: &[u8],
    now: Duration,
    access: &mut Access,
) -> Result<(Identities, Option<Roots>), String> {
    let (own, clients) = split(text);
    let identities = Identities::from_pem(own, now).map_err(|why| why.to_string())?;
    let clients = match clients {
        // What reads and verifies certificates of clients is not part of an image whose rules ask for none.
        Some(clients) if const { RULES.ask_for_certificates() } => {
            let read = Roots::from_pem(clients);
            Some(read.map_err(|why| format!("what follows the line `clients:`: {why}"))?)
        }
        Some(_) => {
            return Err(String::from(
                "there are CAs for clients in it (`clients:`), and no access rule of this image asks for a certificate",
            ));
        }
        None => None,
    };
    tokens(text, access)?;
    Ok((identities, clients))
}

/// The tokens alone, for `access`.
///
/// # Errors
/// One line, to follow what was read.
pub(super) fn tokens(text: &[u8], access: &mut Access) -> Result<(), String> {
    for (number, line) in (1..).zip(lines(text)) {
        let Some(rest) = line.strip_prefix(b"token ") else {
            continue;
        };
        let colon = rest.iter().position(|byte| *byte == b':');
        let pair = colon.and_then(|at| Some((str::from_utf8(&rest[..at]).ok()?, &rest[at + 1..])));
        let Some((name, token)) = pair else {
            return Err(format!("line {number}: a token is `token NAME: TOKEN`"));
        };
        access
            .add_token(name.trim_ascii(), token.trim_ascii())
            .map_err(|why| format!("line {number}: the token {name:?}: {why}"))?;
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
