//! Reading what may be anything: little-endian numbers and slices, none of them beyond the end.

use super::MAX_KEY;

/// What is left to be read. Everything gives `None` at the end.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (now, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(now)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (now, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*now)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// Whether nothing but zeros is left.
    pub(super) fn rest_is_zero(&self) -> bool {
        self.0.iter().all(|&byte| byte == 0)
    }
}

/// A key by value: what bounds a part of the tree.
#[derive(Clone, Copy)]
pub(super) struct Key {
    len: u8,
    bytes: [u8; MAX_KEY],
}

impl Key {
    /// The first [`MAX_KEY`] bytes of `bytes`; no key that is read from a node has more.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut key = Self {
            len: u8::try_from(bytes.len()).unwrap_or(u8::MAX),
            bytes: [0; MAX_KEY],
        };
        for (to, from) in key.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        key
    }
}

impl core::ops::Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.escape_ascii())
    }
}
