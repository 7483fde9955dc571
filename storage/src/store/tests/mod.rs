//! Tests of the store as a whole, on media that fail and lose power.

mod basic;
mod cuts;
mod faults;
mod flips;
mod model;

use super::{BLOCK, Error, Options, Store};
use std::collections::BTreeMap;
use xenlet_blkfront::BlockDevice;
use xenlet_blkfront::hosted::{Dice, Faults, Medium, MediumDisk};
use xenlet_kernel::hosted;

/// What a store should hold: by key, the value and the blob.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<Vec<u8>>)>;

/// Little memory, small requests: so that much happens with little.
const SMALL: Options = Options {
    cache_bytes: 0,
    request_bytes: 2 * BLOCK,
    requests: 3,
    read_only: false,
};

/// Runs `body` as a domain, with a new store on a disk of `blocks` blocks.
fn on_store(blocks: u64, body: impl AsyncFnOnce(Store<MediumDisk>, Medium) + Send + 'static) {
    hosted::test(async move || {
        let medium = Medium::new(blocks * BLOCK as u64);
        let store = Store::format(medium.disk(Faults::default()), SMALL).await;
        body(store.unwrap(), medium).await;
    });
}

/// `len` bytes that `seed` makes.
fn junk(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Dice::new(seed).fill(&mut bytes);
    bytes
}

/// Puts `value` and, if there is one, `blob` under `key`.
async fn put<D: BlockDevice + 'static>(
    store: &Store<D>,
    key: &[u8],
    value: &[u8],
    blob: Option<&[u8]>,
) -> Result<(), Error> {
    let mut transaction = store.transaction();
    match blob {
        None => transaction.put(key, value)?,
        Some(bytes) => {
            let mut writer = store.blob_writer(None)?;
            writer.write(bytes).await?;
            transaction.put_blob(key, value, writer.finish().await?)?;
        }
    }
    transaction.commit().await
}

async fn delete<D: BlockDevice + 'static>(store: &Store<D>, key: &[u8]) -> Result<(), Error> {
    let mut transaction = store.transaction();
    transaction.if_present(key)?;
    transaction.delete(key)?;
    transaction.commit().await
}

/// The whole blob under `key`.
async fn blob<D: BlockDevice + 'static>(
    store: &Store<D>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let Some((_, mut reader)) = store.blob(key).await? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    loop {
        let some = reader.fill_buf().await?;
        if some.is_empty() {
            assert_eq!(bytes.len() as u64, reader.len());
            return Ok(Some(bytes));
        }
        bytes.extend_from_slice(some);
        let len = some.len();
        reader.consume(len);
    }
}

/// All that is stored.
async fn everything<D: BlockDevice + 'static>(store: &Store<D>) -> Result<Model, Error> {
    let mut all = Model::new();
    for (key, entry) in store
        .range(
            (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded),
            usize::MAX,
        )
        .await?
    {
        let blob = blob(store, &key).await?;
        assert_eq!(
            blob.as_ref().map(|blob| blob.len() as u64),
            entry.blob_bytes
        );
        all.insert(key, (entry.value, blob));
    }
    Ok(all)
}

/// Whether all is sound, and nothing is taken that nothing refers to.
async fn assert_sound<D: BlockDevice + 'static>(store: &Store<D>) {
    let report = store.check(|_| {}).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(
        report.blocks * BLOCK as u64,
        store.stats().used_bytes,
        "space is lost"
    );
    assert_eq!(report.entries, store.stats().entries);
}
