//! A certificate that nobody vouches for, to try things out: a P-256 key made at start, for these names.

use crate::der::{self, Date, encode};
use crate::identity::{Identities, KeyError};
use crate::start::{self, StartError};
use alloc::vec::Vec;
use core::net::IpAddr;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use xenlet_kernel::entropy;

/// For how long it is valid: from a day ago, for those whose clocks are late.
const DAY_SECS: u64 = 24 * 3600;
const VALID_SECS: u64 = 365 * DAY_SECS;

/// `ecdsa-with-SHA256` (RFC 5758 §3.2), as an `AlgorithmIdentifier`'s content.
const ECDSA_SHA256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
/// `id-ecPublicKey` on `prime256v1` (RFC 5480 §2.1.1), likewise.
const P256: &[u8] = &[
    0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, // id-ecPublicKey
    0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, // prime256v1
];
/// The extensions' names (RFC 5280 §4.2.1): `id-ce`, and a number.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const EXT_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
/// `id-kp-serverAuth`.
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

/// Makes a key and a certificate for it, for domains and IP addresses.
///
/// # Errors
/// Without entropy, or with a clock that is plainly wrong.
pub fn selfsigned(names: &[&str]) -> Result<Identities, StartError> {
    let now = start::check()?;
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| StartError::NoKey)?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random);
    let pair = pair.map_err(|_| StartError::NoKey)?;
    let secs = now.as_secs();
    let valid = Date::from_unix(secs - DAY_SECS)..Date::from_unix(secs + VALID_SECS);
    let mut serial = [0; 16];
    entropy::fill(&mut serial).map_err(StartError::NoEntropy)?;
    // A positive number without zeros before it.
    serial[0] = serial[0] & 0x7f | 0x40;
    let content = to_be_signed(names, pair.public_key().as_ref(), &valid, &serial);
    let signature = pair
        .sign(&random, &content)
        .map_err(|_| StartError::NoKey)?;
    let certificate = encode(
        der::SEQUENCE,
        &[
            &content,
            &encode(der::SEQUENCE, &[ECDSA_SHA256]),
            &bit_string(signature.as_ref()),
        ],
    );
    Identities::from_der(key.as_ref(), &certificate).map_err(|_: KeyError| StartError::NoKey)
}

/// `TBSCertificate` of RFC 5280 §4.1.
fn to_be_signed(
    names: &[&str],
    public_key: &[u8],
    valid: &core::ops::Range<Date>,
    serial: &[u8],
) -> Vec<u8> {
    let name = common_name(names.first().copied().unwrap_or("xenlet"));
    let validity =
        [valid.start, valid.end].map(|date| encode(der::UTC_TIME, &[date.utc().as_bytes()]));
    let public_key = [encode(der::SEQUENCE, &[P256]), bit_string(public_key)];
    encode(
        der::SEQUENCE,
        &[
            &encode(der::CONTEXT_0, &[&encode(der::INTEGER, &[&[2]])]),
            &encode(der::INTEGER, &[serial]),
            &encode(der::SEQUENCE, &[ECDSA_SHA256]),
            &name,
            &encode(der::SEQUENCE, &[&validity[0], &validity[1]]),
            &name,
            &encode(der::SEQUENCE, &[&public_key[0], &public_key[1]]),
            &encode(
                der::CONTEXT_3,
                &[&encode(der::SEQUENCE, &[&extensions(names)])],
            ),
        ],
    )
}

/// A `Name` of one part.
fn common_name(name: &str) -> Vec<u8> {
    let part = [
        encode(der::OID, &[der::COMMON_NAME]),
        encode(der::UTF8_STRING, &[name.as_bytes()]),
    ];
    let part = encode(der::SEQUENCE, &[&part[0], &part[1]]);
    encode(der::SEQUENCE, &[&encode(der::SET, &[&part])])
}

fn extensions(names: &[&str]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|name| general_name(name)).collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    [
        extension(SUBJECT_ALT_NAME, false, &encode(der::SEQUENCE, &names)),
        extension(BASIC_CONSTRAINTS, true, &encode(der::SEQUENCE, &[])),
        // digitalSignature: the first of the bits, of which seven are not used.
        extension(KEY_USAGE, true, &encode(der::BIT_STRING, &[&[7, 0x80]])),
        extension(
            EXT_KEY_USAGE,
            false,
            &encode(der::SEQUENCE, &[&encode(der::OID, &[SERVER_AUTH])]),
        ),
    ]
    .concat()
}

fn extension(oid: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = encode(der::BOOLEAN, &[&[0xff]]);
    let critical = if is_critical { &critical[..] } else { &[] };
    let (oid, value) = (
        encode(der::OID, &[oid]),
        encode(der::OCTET_STRING, &[value]),
    );
    encode(der::SEQUENCE, &[&oid, critical, &value])
}

/// A `GeneralName`: `dNSName [2]` or `iPAddress [7]`.
fn general_name(name: &str) -> Vec<u8> {
    match name.parse() {
        Ok(IpAddr::V4(address)) => encode(0x87, &[&address.octets()]),
        Ok(IpAddr::V6(address)) => encode(0x87, &[&address.octets()]),
        Err(_) => encode(0x82, &[name.as_bytes()]),
    }
}

fn bit_string(bytes: &[u8]) -> Vec<u8> {
    encode(der::BIT_STRING, &[&[0], bytes])
}
