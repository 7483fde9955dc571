//! How uploads are kept in the store: two keys each, put and deleted together.
//!
//! ```text
//!   u ┊ number (8 bytes, big-endian)  ─►  SHA-256 (32 bytes) ┊ name, and the content as the blob
//!   n ┊ name                          ─►  number
//! ```
//!
//! Numbers grow with every upload, so the order of the keys `u…` is the order in which uploads were acknowledged.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;

/// What a key that leads to an upload begins with.
const UPLOAD: u8 = b'u';
/// What a key that leads to an upload's number begins with.
const NAME: u8 = b'n';

/// Bytes of a SHA-256.
pub(crate) const DIGEST: usize = 32;

/// All keys of uploads.
pub(crate) const ALL: (Bound<&[u8]>, Bound<&[u8]>) =
    (Bound::Included(&[UPLOAD]), Bound::Excluded(&[UPLOAD + 1]));

/// The keys of uploads behind `key`, which is one of them.
pub(crate) fn after(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Excluded(key), ALL.1)
}

/// The key of the upload with this number.
pub(crate) fn upload_key(number: u64) -> [u8; 9] {
    let mut key = [UPLOAD; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number that an upload's key is of.
pub(crate) fn number_of_key(key: &[u8]) -> Option<u64> {
    number(key.strip_prefix(&[UPLOAD])?)
}

/// The key of the number of the upload with this name.
pub(crate) fn name_key(name: &str) -> Vec<u8> {
    [&[NAME], name.as_bytes()].concat()
}

/// The number that is stored under a name's key.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// What is known of an upload beside its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its name.
    pub(crate) name: String,
    /// The SHA-256 of its content.
    pub(crate) sha256: [u8; DIGEST],
}

impl Record {
    /// As it is stored.
    pub(crate) fn encode(name: &str, sha256: &[u8; DIGEST]) -> Vec<u8> {
        [sha256, name.as_bytes()].concat()
    }

    /// What was stored, if it is a record.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let (sha256, name) = value.split_first_chunk()?;
        let name = core::str::from_utf8(name).ok()?;
        crate::name::check(name).ok()?;
        Some(Self {
            name: name.into(),
            sha256: *sha256,
        })
    }

    /// The SHA-256 in hexadecimal digits.
    pub(crate) fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }

    /// The entity tag, with its quotes.
    pub(crate) fn tag(&self) -> String {
        format!("\"{}\"", self.sha256_hex())
    }
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ops::RangeBounds;
    use proptest::prelude::*;

    #[test]
    fn digits() {
        assert_eq!(hex(&[0, 0x1f, 0xa9, 0xff]), "001fa9ff");
    }

    proptest! {
        #[test]
        fn what_is_stored_is_found(name in "[^/\\\\\\pC]{1,50}", sha256: [u8; DIGEST], number: u64) {
            prop_assume!(crate::name::check(&name).is_ok());
            let record = Record { name, sha256 };
            prop_assert_eq!(Record::decode(&Record::encode(&record.name, &sha256)), Some(record));
            prop_assert_eq!(number_of_key(&upload_key(number)), Some(number));
            prop_assert_eq!(super::number(&number.to_be_bytes()), Some(number));
        }

        #[test]
        fn keys_are_in_the_order_of_numbers(a: u64, b: u64) {
            prop_assert_eq!(upload_key(a).cmp(&upload_key(b)), a.cmp(&b));
            prop_assert!(RangeBounds::<[u8]>::contains(&ALL, &upload_key(a)[..]));
        }

        #[test]
        fn anything_may_be_stored(value in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(record) = Record::decode(&value) {
                prop_assert_eq!(Record::encode(&record.name, &record.sha256), value);
            }
        }
    }
}
