//! A keyed hash of flows: SipHash-1-3, so that nobody can choose connections that all fall into one bucket.
//!
//! The function is Aumasson's and Bernstein's (<https://www.aumasson.jp/siphash/siphash.pdf>), for inputs of 12 and 20 bytes.

use super::packet::Flow;

/// The key: drawn once for each domain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key(u64, u64);

impl Key {
    /// A key of the domain's entropy.
    pub(crate) fn draw() -> Self {
        Self(
            xenlet_kernel::entropy::seed(),
            xenlet_kernel::entropy::seed(),
        )
    }

    /// The hash of a flow under this key.
    pub(crate) fn hash(&self, flow: &Flow) -> u64 {
        let [addresses, ports] = words(flow);
        self.siphash13(&[addresses, ports | 12 << 56])
    }

    /// The hash of a flow and two numbers more, in two halves.
    pub(crate) fn hash_with(&self, flow: &Flow, [first, second]: [u32; 2]) -> [u32; 2] {
        let [addresses, ports] = words(flow);
        let last = u64::from(second) | 20 << 56;
        let hash = self.siphash13(&[addresses, ports | u64::from(first) << 32, last]);
        let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
        [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes)
    }

    /// SipHash-1-3 of words that are already padded with their length.
    fn siphash13(&self, words: &[u64]) -> u64 {
        let mut v = [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        for &word in words {
            v[3] ^= word;
            round(&mut v);
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        for _ in 0..3 {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

/// A flow's numbers.
fn words(flow: &Flow) -> [u64; 2] {
    let addresses = u64::from(u32::from(flow.local)) | u64::from(u32::from(flow.remote)) << 32;
    [
        addresses,
        u64::from(flow.local_port) | u64::from(flow.remote_port) << 16,
    ]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::Key;

    /// Against the standard library's SipHash-1-3, which is what its `DefaultHasher` is with a key of zero.
    #[test]
    #[allow(clippy::unusual_byte_groupings, reason = "the input's own bytes")]
    fn it_is_siphash() {
        use std::hash::{DefaultHasher, Hasher};
        for bytes in [[0_u8; 12], [0xff; 12], *b"twelve bytes"] {
            let mut reference = DefaultHasher::new();
            reference.write(&bytes);
            let first = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let second = u64::from(u32::from_le_bytes(bytes[8..].try_into().unwrap()));
            assert_eq!(
                Key(0, 0).siphash13(&[first, second | 12 << 56]),
                reference.finish()
            );
        }
    }
}
