//! Made-up content of any length that is never held whole: written from a seed, and compared with it again.

use std::io::{self, Read};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// The content of a seed: a stream of blocks that look random, no two of which are the same, whatever their seeds.
#[derive(Clone, Debug)]
pub(super) struct Content {
    seed: u64,
    bytes: u64,
    at: u64,
    /// The block that is being read.
    block: [u8; BLOCK],
}

const BLOCK: usize = 4096;
/// Bytes read at a time.
const PART: usize = 64 * 1024;

impl Content {
    pub(super) fn new(seed: u64, bytes: u64) -> Self {
        let mut block = [0; BLOCK];
        let mut state = seed;
        for word in block.chunks_exact_mut(8) {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word.copy_from_slice(&(mixed ^ (mixed >> 27)).to_le_bytes());
        }
        Self {
            seed,
            bytes,
            at: 0,
            block,
        }
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its SHA-256, as a server writes it.
    pub(super) fn sha256(mut self) -> String {
        let mut hash = Sha256::new();
        let mut part = vec![0; PART];
        // Reading from here can't fail.
        while let Ok(count @ 1..) = self.read(&mut part) {
            hash.update(&part[..count]);
        }
        let digest = hash.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads `stream` to its end and compares it with this.
    ///
    /// # Errors
    /// If it breaks, differs, or is shorter or longer.
    pub(super) fn same(mut self, stream: &mut dyn Read) -> Result<()> {
        let mut got = vec![0; PART];
        let mut wanted = vec![0; PART];
        let mut at = 0_u64;
        loop {
            let count = stream
                .read(&mut got)
                .with_context(|| format!("the content broke off after {at} bytes"))?;
            if count == 0 {
                ensure!(
                    at == self.bytes,
                    "it ends after {at} of {} bytes",
                    self.bytes
                );
                return Ok(());
            }
            let end = at + u64::try_from(count)?;
            ensure!(end <= self.bytes, "it is longer than {} bytes", self.bytes);
            self.read_exact(&mut wanted[..count])?;
            if got[..count] != wanted[..count] {
                let differs = got
                    .iter()
                    .zip(&wanted)
                    .position(|(got, wanted)| got != wanted);
                let byte = at + u64::try_from(differs.unwrap_or(0))?;
                bail!("it differs from what was sent at byte {byte}");
            }
            at = end;
        }
    }
}

impl Read for Content {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let number = self.at / BLOCK as u64;
        let offset = usize::try_from(self.at % BLOCK as u64).map_err(io::Error::other)?;
        self.block[..8].copy_from_slice(&self.seed.to_le_bytes());
        self.block[8..16].copy_from_slice(&number.to_le_bytes());
        let left = usize::try_from(self.bytes - self.at).unwrap_or(usize::MAX);
        let count = to.len().min(left).min(BLOCK - offset);
        to[..count].copy_from_slice(&self.block[offset..offset + count]);
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_any_length_are_one_stream() {
        let mut whole = Vec::new();
        Content::new(1, 10_000).read_to_end(&mut whole).unwrap();
        assert_eq!(whole.len(), 10_000);
        let mut content = Content::new(1, 10_000);
        let mut parts = vec![0; 10_000];
        for part in parts.chunks_mut(77) {
            content.read_exact(part).unwrap();
        }
        assert!(whole == parts);
        assert_ne!(whole[..BLOCK], whole[BLOCK..2 * BLOCK]);
        Content::new(1, 10_000).same(&mut whole.as_slice()).unwrap();
    }

    #[test]
    fn whatever_differs_is_told() {
        let mut bytes = Vec::new();
        Content::new(1, 5000).read_to_end(&mut bytes).unwrap();
        let told = |bytes: &[u8]| {
            let error = Content::new(1, 5000).same(&mut &*bytes).unwrap_err();
            error.to_string()
        };
        assert!(told(&bytes[..4999]).contains("4999 of 5000"));
        assert!(told(&[&bytes[..], b"x"].concat()).contains("longer"));
        bytes[4097] ^= 1;
        assert!(told(&bytes).contains("byte 4097"));
    }

    #[test]
    fn the_hash_is_of_the_content() {
        let empty = Content::new(5, 0).sha256();
        assert!(empty.starts_with("e3b0c442") && empty.len() == 64);
        assert_ne!(Content::new(1, 9).sha256(), Content::new(2, 9).sha256());
    }
}
