//! All bodies in one file, each content once.

use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// SHA-256 of a body.
pub(crate) type Hash = [u8; 32];

/// Hashes a body.
pub(crate) fn hash(body: &[u8]) -> Hash {
    Sha256::digest(body).into()
}

/// The first `bytes` of a hash in hexadecimal.
pub(crate) fn hex(hash: &Hash, bytes: usize) -> String {
    hash.iter()
        .take(bytes)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A body's place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: usize,
    pub(crate) len: usize,
}

/// The file, as it grows.
#[derive(Debug, Default)]
pub(crate) struct Blob {
    bytes: Vec<u8>,
    places: HashMap<Hash, Place>,
}

impl Blob {
    /// Finds a place for `body`: that of the same content, if it is there already.
    pub(crate) fn add(&mut self, body: &[u8]) -> Place {
        *self.places.entry(hash(body)).or_insert_with(|| {
            let at = self.bytes.len();
            self.bytes.extend_from_slice(body);
            Place {
                at,
                len: body.len(),
            }
        })
    }

    /// What to write to the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
