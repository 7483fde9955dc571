//! Keys and certificates of any bytes, as text and, behind their armour, as DER.

use std::fmt::Write;
use xenlet_kernel::hosted;
use xenlet_kernel::time::Duration;
use xenlet_tls::{Identities, Roots};

/// What can be in a file of keys.
const KINDS: [&str; 6] = [
    "CERTIFICATE",
    "PRIVATE KEY",
    "EC PRIVATE KEY",
    "RSA PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "X509 CRL",
];
const NOW: Duration = Duration::from_secs(1_792_000_000);

/// Reads keys and certificates that `data` says: as it is, or, by its first byte, as what is behind the armour of one or two
/// blocks.
///
/// # Panics
/// If reading does, or refuses without a word.
pub(crate) fn pem(data: &[u8]) {
    let (how, rest) = data.split_first().unwrap_or((&0, &[]));
    let text = match how % 8 {
        0 | 1 => rest.to_vec(),
        how => {
            let (len, rest) = rest.split_at(rest.len().min(2));
            let len = len
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte));
            let (first, second) = rest.split_at(rest.len().min(len % 2048));
            let kind = usize::from(how) - 2;
            [
                armoured("CERTIFICATE", first),
                armoured(KINDS[kind], second),
            ]
            .concat()
        }
    };
    hosted::test(async move || {
        for said in [
            Identities::from_pem(&text, NOW)
                .err()
                .map(|e| e.to_string()),
            Roots::from_pem(&text).err().map(|e| e.to_string()),
        ] {
            assert!(said.is_none_or(|said| !said.is_empty()));
        }
    });
}

/// `bytes` as a block of PEM.
fn armoured(kind: &str, bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {kind}-----\n");
    for line in bytes.chunks(48) {
        for three in line.chunks(3) {
            let bits = (0..3).fold(0, |bits, i| {
                bits << 8 | usize::from(*three.get(i).unwrap_or(&0))
            });
            for i in 0..4 {
                let digit = char::from(DIGITS[bits >> (18 - 6 * i) & 63]);
                text.push(if i <= three.len() { digit } else { '=' });
            }
        }
        text.push('\n');
    }
    let _ = writeln!(text, "-----END {kind}-----");
    text.into_bytes()
}
