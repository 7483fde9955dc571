//! Keys and certificates as files have them.

use crate::support::{Ca, NOW, YEARS, test};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use xenlet_tls::{Identities, KeyError, Roots, StartError, selfsigned};

fn read(text: &str) -> Result<Identities, KeyError> {
    Identities::from_pem(text.as_bytes(), NOW)
}

#[test]
fn kinds_of_keys_and_any_order() {
    let ca = Ca::new();
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let (certificate, key) = ca.issue_with(&["a.test"], YEARS, algorithm);
        for text in [
            format!("{certificate}{key}"),
            format!("{key}{certificate}{}", ca.pem),
            format!("a comment\n{certificate}\n{}\n{key}", ca.pem).replace('\n', "\r\n"),
        ] {
            assert_eq!(read(&text).unwrap().to_string(), "a.test until 2027-01-01");
        }
    }
    // No CA of the web signs those, and what they need is not in an image.
    let (certificate, key) = ca.issue_with(&["a.test"], YEARS, &PKCS_ED25519);
    assert_eq!(
        read(&(key + &certificate)).unwrap_err(),
        KeyError::BadKey(1)
    );
}

#[test]
fn what_is_wrong_is_said_in_a_line() {
    let ca = Ca::new();
    let (certificate, key) = ca.issue(&["a.test"], YEARS);
    let (_, other_key) = ca.issue(&["b.test"], YEARS);
    let (old, old_key) = ca.issue(&["a.test"], (2024, 2025));
    let (new, new_key) = ca.issue(&["a.test"], (2027, 2028));
    let damaged = certificate.replacen("\nMII", "\nMIX", 1);
    let lines = |text: &str| text.lines().count();
    for (text, line) in [
        (" \n".to_owned(), "it is empty"),
        ("hello".to_owned(), "it has neither a key nor a certificate"),
        (key.clone(), "there is no certificate in it"),
        (certificate.clone(), "there is no key in it"),
        (
            format!("{certificate}{other_key}"),
            "line 1: the first certificate belongs to none",
        ),
        (
            format!("{certificate}{key}{other_key}"),
            &*format!(
                "line {}: the key belongs to none",
                lines(&certificate) + lines(&key) + 1
            ),
        ),
        (
            format!("{old_key}{old}"),
            &*format!(
                "line {}: the certificate expired on 2025-01-01",
                lines(&old_key) + 1
            ),
        ),
        (
            format!("{new}{new_key}"),
            "line 1: the certificate is not valid before 2027-01-01",
        ),
        (
            format!("{damaged}{key}"),
            "line 1: the certificate is damaged, or not of version 3",
        ),
        (
            format!(
                "{certificate}{}",
                key.replace("PRIVATE", "ENCRYPTED PRIVATE")
            ),
            &*format!("line {}: the key is encrypted", lines(&certificate) + 1),
        ),
        (
            format!("{certificate}{}", key.replace("PRIVATE", "EC PRIVATE")),
            &*format!("line {}: the key can't be used", lines(&certificate) + 1),
        ),
        (
            format!("{}token operator: x\n{key}", certificate.trim_end()),
            &*format!(
                "line {}: the section ends as another one than it began as, or",
                lines(&certificate)
            ),
        ),
        (
            format!("{}{certificate}", key.trim_end()),
            &*format!(
                "line {}: the section ends as another one than it began as, or",
                lines(&key)
            ),
        ),
        (
            format!("{certificate}{}", &key[..80]),
            &*format!(
                "line {}: the section that begins here has no end",
                lines(&certificate) + 1
            ),
        ),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.starts_with(line), "{error}\n{line}");
        assert!(!error.contains('\n'));
    }
}

#[test]
fn what_nobody_vouches_for() {
    test(async || {
        let made = selfsigned(&["guest.test", "10.0.0.2"]).unwrap();
        assert_eq!(made.to_string(), "guest.test until 2027-10-14");
    });
    let config = xenlet_kernel::hosted::Config::default();
    let ended = xenlet_kernel::hosted::run(config, async || selfsigned(&["guest.test"]).map(drop));
    assert_eq!(ended.value.unwrap(), Err(StartError::NoClock));
}

#[test]
fn roots_are_certificates() {
    assert_eq!(Roots::from_pem(b"").unwrap_err(), KeyError::NoCertificate);
    assert_eq!(format!("{:?}", Ca::new().roots()), "Roots(1)");
}
