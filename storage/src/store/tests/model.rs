//! The store beside a map in memory.

use super::*;
use proptest::prelude::*;
use std::ops::Bound;

#[derive(Clone, Debug)]
enum Op {
    Put(u8, u16, Option<u32>),
    Delete(u8),
    Reopen,
    Check,
}

fn ops() -> impl Strategy<Value = Vec<Vec<Op>>> {
    let op = prop_oneof![
        6 => (any::<u8>(), 0..1025_u16, prop::option::weighted(0.3, 0..60_000_u32))
            .prop_map(|(key, value, blob)| Op::Put(key, value, blob)),
        4 => any::<u8>().prop_map(Op::Delete),
        1 => Just(Op::Reopen),
        1 => Just(Op::Check),
    ];
    prop::collection::vec(prop::collection::vec(op, 1..8), 1..40)
}

/// A key of 1 to 255 bytes.
fn key(n: u8) -> Vec<u8> {
    let mut key = vec![n; 1 + usize::from(n) * 37 % 255];
    if let Some(last) = key.last_mut() {
        *last = n ^ 0x5a;
    }
    key[0] = n;
    key
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    /// Each inner list is what is done at once: its transactions are committed together.
    #[test]
    fn as_a_map(groups in ops()) {
        on_store(2048, async |store, medium| {
            let mut store = store;
            let mut model = Model::new();
            for group in groups {
                let mut commits = Vec::new();
                for (n, op) in group.into_iter().enumerate() {
                    let mut transaction = store.transaction();
                    match op {
                        Op::Put(k, value, blob) => {
                            let value = junk(n as u64, usize::from(value));
                            let blob = blob.map(|len| junk(len.into(), len as usize));
                            match &blob {
                                None => transaction.put(&key(k), &value).unwrap(),
                                Some(blob) => {
                                    let mut writer = store.blob_writer(Some(blob.len() as u64)).unwrap();
                                    writer.write(blob).await.unwrap();
                                    let blob = writer.finish().await.unwrap();
                                    transaction.put_blob(&key(k), &value, blob).unwrap();
                                }
                            }
                            model.insert(key(k), (value, blob));
                        }
                        Op::Delete(k) => {
                            transaction.delete(&key(k)).unwrap();
                            model.remove(&key(k));
                        }
                        Op::Reopen => {
                            for commit in commits.drain(..) {
                                let commit: xenlet_kernel::run::JoinHandle<_> = commit;
                                assert_eq!(commit.await, Ok(()));
                            }
                            store = Store::open(medium.disk(Faults::default()), SMALL).await.unwrap();
                            continue;
                        }
                        Op::Check => {
                            assert_sound_after(&store, &mut commits).await;
                            continue;
                        }
                    }
                    commits.push(xenlet_kernel::run::spawn(transaction.commit()));
                }
                for commit in commits {
                    assert_eq!(commit.await, Ok(()));
                }
                for (key, (value, blob)) in &model {
                    let entry = store.get(key).await.unwrap().unwrap();
                    assert_eq!(&entry.value, value);
                    assert_eq!(entry.blob_bytes, blob.as_ref().map(|blob| blob.len() as u64));
                }
            }
            assert_eq!(everything(&store).await.unwrap(), model);
            assert_sound(&store).await;
            for n in [0, 100, 255] {
                let key = key(n);
                let range = (Bound::Excluded(&key[..]), Bound::Unbounded);
                let found: Vec<_> = store.range(range, 3).await.unwrap().into_iter().map(|(key, _)| key).collect();
                let expected: Vec<_> = model.range::<[u8], _>(range).take(3).map(|(key, _)| key.clone()).collect();
                assert_eq!(found, expected);
                let range = (Bound::Unbounded, Bound::Excluded(&key[..]));
                let found = store.last(range).await.unwrap().map(|(key, _)| key);
                assert_eq!(found.as_ref(), model.range::<[u8], _>(range).next_back().map(|(key, _)| key));
            }
        });
    }
}

async fn assert_sound_after<D: BlockDevice + 'static>(
    store: &Store<D>,
    commits: &mut Vec<xenlet_kernel::run::JoinHandle<Result<(), Error>>>,
) {
    for commit in commits.drain(..) {
        assert_eq!(commit.await, Ok(()));
    }
    assert_sound(store).await;
}
