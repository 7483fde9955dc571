//! The entry for fuzzers: a disk that is not what was written, with checksums that are right.
//!
//! A checksum keeps what is wrong by chance from being looked at; what is wrong on purpose has the right one. So what
//! the data says is changed in a sound store, and then every checksum is made right again.

use super::checksum::Checksums;
use super::node::HEADER;
use super::superblock::places;
use super::{BLOCK, Error, Options, Store};
use crate::BlockDevice;
use alloc::vec::Vec;
use std::ops::Bound;
use std::sync::OnceLock;
use xenlet_blkfront::hosted::{Faults, Medium};
use xenlet_kernel::hosted;
use xxhash_rust::xxh3::xxh3_64;

/// Blocks of the disk.
const BLOCKS: u64 = 192;

const OPTIONS: Options = Options {
    cache_bytes: 0,
    request_bytes: 4 * BLOCK,
    requests: 2,
    read_only: false,
};

/// Changes a sound store as `data` says, makes its checksums right, and uses it.
///
/// Of `data`, the first byte decides whether checksums are made right; every six bytes after it are one change: in which of the
/// blocks in use, where, and what is there then.
///
/// # Panics
/// If the store does, or does not come to an end: that is what a fuzzer looks for.
pub fn fuzz(data: &[u8]) {
    let mut image = sample();
    let (seal, changes) = data
        .split_first()
        .map_or((false, data), |(first, rest)| (first % 8 > 0, rest));
    let used: Vec<usize> = (0..image.len() / BLOCK)
        .filter(|block| {
            image[block * BLOCK..][..BLOCK]
                .iter()
                .any(|&byte| byte != 0)
        })
        .collect();
    for change in changes.chunks_exact(6) {
        let block = used[usize::from(change[0]) % used.len()];
        // Most of what can be wrong is at the begin of a block.
        let at = usize::from(u16::from_le_bytes([change[1], change[2]])) % BLOCK;
        let at = if change[3] & 1 == 0 { at } else { at % 64 };
        let place = &mut image[block * BLOCK + at];
        *place = match change[4] % 4 {
            0 => change[5],
            1 => place.wrapping_add(1),
            2 => place.wrapping_sub(1),
            _ => *place ^ 1 << (change[5] % 8),
        };
    }
    if seal {
        Image(&mut image).seal();
    }
    try_out(&image);
}

/// Opens `image`, whatever it is, and uses what there is.
///
/// # Panics
/// As [`fuzz`].
pub fn try_out(image: &[u8]) {
    let medium = Medium::from_bytes(image);
    hosted::test(async move || {
        for read_only in [true, false] {
            let options = Options {
                read_only,
                ..OPTIONS
            };
            let Ok(store) = Store::open(medium.disk(Faults::default()), options).await else {
                continue;
            };
            use_it(store).await;
        }
    });
}

async fn use_it<D: BlockDevice + 'static>(store: Store<D>) {
    let report = store.check(|_| {}).await;
    assert!(report.is_ok(), "{report:?}");
    let mut from = Vec::new();
    // By key, as it is in order whatever is on the disk: as many as there can be in so many blocks.
    for _ in 0..BLOCKS * 400 {
        let range = (Bound::Excluded(&from[..]), Bound::Unbounded);
        let Ok(mut found) = store.range(range, 50).await else {
            break;
        };
        let Some((last, _)) = found.pop() else { break };
        assert!(last > from, "the order of keys");
        if let Ok(Some((_, mut reader))) = store.blob(&last).await {
            // A length from the disk can be anything; what can be read is what is there.
            for _ in 0..BLOCKS {
                let Ok(len) = reader.fill_buf().await.map(<[u8]>::len) else {
                    break;
                };
                reader.consume(len);
            }
        }
        from = last;
    }
    let last = store.last((Bound::Unbounded, Bound::Unbounded)).await;
    for key in [&b"0-key"[..], b"5", &from]
        .into_iter()
        .chain(last.iter().flatten().map(|(key, _)| &key[..]))
    {
        for put in [false, true] {
            let mut transaction = store.transaction();
            let added = if put {
                transaction.put(key, &[7; 900])
            } else {
                transaction.delete(key)
            };
            if added.is_ok() && transaction.commit().await.is_ok() {
                assert_eq!(store.get(key).await.map(|entry| entry.is_some()), Ok(put));
            }
        }
    }
}

/// A store with some of everything.
fn sample() -> Vec<u8> {
    static SAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let medium = Medium::new(BLOCKS * BLOCK as u64);
        let filled = hosted::test({
            let medium = medium.clone();
            async move || fill(medium).await
        });
        assert_eq!(filled, Ok(()));
        medium.bytes()
    };
    SAMPLE.get_or_init(make).clone()
}

async fn fill(medium: Medium) -> Result<(), Error> {
    let store = Store::format(medium.disk(Faults::default()), OPTIONS).await?;
    let put = async |key: &str, value: &[u8], blob: usize| {
        let mut transaction = store.transaction();
        let mut writer = store.blob_writer(None)?;
        writer.write(&alloc::vec![1; blob]).await?;
        if blob > 0 {
            transaction.put_blob(key.as_bytes(), value, writer.finish().await?)?;
        } else {
            transaction.put(key.as_bytes(), value)?;
        }
        transaction.commit().await
    };
    for i in 0..60 {
        put(
            &alloc::format!("{}-key-{i}", i % 10),
            &alloc::vec![2; i * 10],
            0,
        )
        .await?;
    }
    put("in two runs", b"value", 40 * BLOCK).await?;
    // With a free block only here and there, a blob has so many runs that they are in a chain.
    let mut count = 0;
    while put(&alloc::format!("small {count}"), b"", 10).await.is_ok() {
        count += 1;
    }
    for i in (0..count).step_by(2) {
        let mut transaction = store.transaction();
        transaction.delete(alloc::format!("small {i}").as_bytes())?;
        transaction.commit().await?;
    }
    put("in a chain", b"value", 32 * BLOCK).await
}

/// An image whose structure may be anything.
struct Image<'a>(&'a mut [u8]);

impl Image<'_> {
    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn set_u64(&mut self, at: usize, value: u64) {
        if let Some(place) = self.0.get_mut(at..at + 8) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Makes every checksum right, as far as it can be found from the superblocks.
    fn seal(&mut self) {
        for slot in 0..2 {
            for place in places(slot, BLOCKS) {
                let at = usize::try_from(place).unwrap_or(0) * BLOCK;
                let id = self.0[at + 16..at + 32]
                    .first_chunk()
                    .map_or(0, |id| u128::from_le_bytes(*id));
                if let Some(root) = self.u64(at + 48) {
                    let checksum = self.seal_block(Checksums::new(id), root, 8);
                    self.set_u64(at + 56, checksum);
                }
                let checksum = xxh3_64(&self.0[at..at + 504]);
                self.set_u64(at + 504, checksum);
            }
        }
    }

    /// Makes right what is below `block`, and says what its checksum is then.
    fn seal_block(&mut self, checksums: Checksums, block: u64, depth: u32) -> u64 {
        let begin = usize::try_from(block)
            .unwrap_or(usize::MAX)
            .saturating_mul(BLOCK);
        let Some(bytes) = self.0.get(begin..begin.saturating_add(BLOCK)) else {
            return 0;
        };
        let tag = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let count = usize::from(u16::from_le_bytes([bytes[6], bytes[7]]));
        // Pointers in this block: where the block's number is, and where the checksum.
        let mut pointers = Vec::new();
        let mut at = begin + HEADER;
        match &tag {
            b"tree" | b"leaf" => {
                for _ in 0..count.min(400) {
                    let Some(&len) = self.0.get(at) else { break };
                    at += 1 + usize::from(len);
                    if &tag == b"tree" {
                        pointers.push((at, at + 8));
                        at += 16;
                        continue;
                    }
                    let Some(&[low, high]) = self.0.get(at..).and_then(|bytes| bytes.first_chunk())
                    else {
                        break;
                    };
                    at += 2 + usize::from(u16::from_le_bytes([low, high]));
                    match self.0.get(at) {
                        Some(1) => {
                            let runs =
                                usize::from(self.0.get(at + 9).copied().unwrap_or(0)).min(20);
                            pointers.extend(
                                (0..runs).map(|run| (at + 10 + run * 20, at + 22 + run * 20)),
                            );
                            at += 10 + runs * 20;
                        }
                        Some(2) => {
                            pointers.push((at + 9, at + 17));
                            at += 25;
                        }
                        _ => at += 1,
                    }
                }
            }
            b"runs" => {
                pointers.push((at, at + 8));
                pointers.extend(
                    (0..count.min(203)).map(|run| (at + 16 + run * 20, at + 28 + run * 20)),
                );
            }
            b"sums" => {
                for index in 0..count.min(510) {
                    let data = begin + (index + 1) * BLOCK;
                    if let Some(bytes) = self.0.get(data..data + BLOCK) {
                        let checksum = checksums.of(block + 1 + index as u64, bytes);
                        self.set_u64(at + index * 8, checksum);
                    }
                }
            }
            _ => {}
        }
        for (to, checksum) in pointers {
            if let Some(to) = self.u64(to).filter(|&to| depth > 0 && to != 0) {
                let sealed = self.seal_block(checksums, to, depth - 1);
                self.set_u64(checksum, sealed);
            }
        }
        self.0
            .get(begin..begin + BLOCK)
            .map_or(0, |bytes| checksums.of(block, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sealing_what_is_sound_changes_nothing() {
        let image = sample();
        let mut sealed = image.clone();
        Image(&mut sealed).seal();
        assert!(image == sealed);
        let kinds: Vec<_> = image
            .chunks(BLOCK)
            .map(|block| block[..4].to_vec())
            .collect();
        for kind in [b"tree", b"leaf", b"runs", b"sums"] {
            assert!(
                kinds.iter().any(|found| found == kind),
                "{kind:?} is missing"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
        #[test]
        fn any_change_is_survived(data in prop::collection::vec(any::<u8>(), 0..40)) {
            fuzz(&data);
        }

        #[test]
        fn any_image_is_survived(junk in prop::collection::vec(any::<u8>(), 0..2000), begin in any::<bool>()) {
            let mut image = vec![0; 64 * BLOCK];
            image[..junk.len()].copy_from_slice(&junk);
            if begin {
                image[..8].copy_from_slice(super::super::MAGIC);
            }
            try_out(&image);
        }
    }
}
