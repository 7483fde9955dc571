//! What the store's own work costs, on a disk that takes no time: `cargo bench -p xenlet-storage`.
//!
//! The disk is memory, without a ring or a driver. The least of many rounds counts: what else the machine does only
//! ever adds.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a run that fails says so by panicking")]

use std::time::{Duration, Instant};
use xenlet_blkfront::hosted::{Faults, Medium, MediumDisk};
use xenlet_kernel::hosted;
use xenlet_storage::store::{Options, Store};

const KEYS: u32 = 10_000;
const ROUNDS: u32 = 10;
/// Operations in a round.
const OPERATIONS: u32 = 1000;
const BLOB: usize = 1 << 20;

/// A key; with numbers that follow each other, keys that don't.
fn key(number: u32) -> [u8; 16] {
    let mut key = *b"a-name-of-______";
    // A prime that KEYS has not: no two are the same.
    let mixed = number * 7919 % KEYS;
    key[10..14].copy_from_slice(&mixed.to_be_bytes());
    key
}

struct Least(Duration);

impl Least {
    fn new() -> Self {
        Self(Duration::MAX)
    }

    fn since(&mut self, start: Instant) {
        self.0 = self.0.min(start.elapsed());
    }

    /// Prints what one of `count` took.
    fn report(self, name: &str, count: u32) {
        let each = self.0 / count;
        println!("{name}: {:.2} µs", each.as_secs_f64() * 1e6);
    }
}

async fn put(store: &Store<MediumDisk>, keys: impl Iterator<Item = u32>) {
    let mut transaction = store.transaction();
    for number in keys {
        transaction.put(&key(number), &[7; 64]).unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn gets(store: &Store<MediumDisk>) {
    let mut least = Least::new();
    for round in 0..ROUNDS {
        let start = Instant::now();
        for number in 0..OPERATIONS {
            let number = round * OPERATIONS + number;
            assert!(store.get(&key(number)).await.unwrap().is_some());
        }
        least.since(start);
    }
    least.report(&format!("get, one of {KEYS} keys"), OPERATIONS);
}

/// Commits of `size` puts each.
async fn commits(store: &Store<MediumDisk>, size: u32) {
    let mut least = Least::new();
    for round in 0..ROUNDS {
        let start = Instant::now();
        for commit in 0..OPERATIONS / size {
            let first = round * OPERATIONS + commit * size;
            put(store, first..first + size).await;
        }
        least.since(start);
    }
    least.report(&format!("put, {size} in a commit"), OPERATIONS);
}

async fn blobs(store: &Store<MediumDisk>) {
    let content = vec![7; BLOB];
    let (mut writes, mut reads) = (Least::new(), Least::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut writer = store.blob_writer(Some(BLOB as u64)).unwrap();
        writer.write(&content).await.unwrap();
        let blob = writer.finish().await.unwrap();
        let mut transaction = store.transaction();
        transaction.put_blob(b"blob", b"", blob).unwrap();
        transaction.commit().await.unwrap();
        writes.since(start);

        let start = Instant::now();
        let (_, mut reader) = store.blob(b"blob").await.unwrap().unwrap();
        let mut read = 0;
        loop {
            let count = reader.fill_buf().await.unwrap().len();
            if count == 0 {
                break;
            }
            reader.consume(count);
            read += count;
        }
        reads.since(start);
        assert_eq!(read, BLOB);
    }
    writes.report("a blob of 1 MiB, written and committed", 1);
    reads.report("a blob of 1 MiB, read", 1);
}

fn main() {
    hosted::test(async || {
        let faults = Faults {
            in_order: true,
            ..Faults::default()
        };
        let disk = Medium::new(64 << 20).disk(faults);
        let store = Store::format(disk, Options::default()).await.unwrap();
        put(&store, 0..KEYS).await;
        gets(&store).await;
        commits(&store, 1).await;
        commits(&store, 100).await;
        blobs(&store).await;
    });
}
