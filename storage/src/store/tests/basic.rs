//! One thing after the other, on a disk without faults.

use super::*;
use crate::store::{Found, Why, identify};
use std::ops::Bound::{Excluded, Included, Unbounded};

#[test]
fn what_is_put_is_there_until_it_is_deleted() {
    on_store(64, async |store, medium| {
        assert_eq!(store.get(b"a").await, Ok(None));
        put(&store, b"a", b"1", None).await.unwrap();
        put(&store, b"b", b"2", Some(b"content")).await.unwrap();
        put(&store, b"c", b"3", Some(b"")).await.unwrap();
        for store in [
            store,
            Store::open(medium.disk(Faults::default()), SMALL)
                .await
                .unwrap(),
        ] {
            let a = store.get(b"a").await.unwrap().unwrap();
            assert_eq!((&a.value[..], a.blob_bytes), (&b"1"[..], None));
            assert_eq!(store.get(b"b").await.unwrap().unwrap().blob_bytes, Some(7));
            assert_eq!(blob(&store, b"b").await.unwrap().unwrap(), b"content");
            assert_eq!(blob(&store, b"c").await.unwrap().unwrap(), b"");
            assert_eq!(blob(&store, b"a").await.unwrap(), None);
            assert_sound(&store).await;
        }
        let store = Store::open(medium.disk(Faults::default()), SMALL)
            .await
            .unwrap();
        for key in [b"a", b"b", b"c"] {
            delete(&store, key).await.unwrap();
            assert_eq!(delete(&store, key).await, Err(Error::Missing));
        }
        assert_eq!((store.stats().used_bytes, store.stats().entries), (0, 0));
        assert_sound(&store).await;
    });
}

#[test]
fn many_keys_in_order_and_back() {
    on_store(4096, async |store, _| {
        let keys: Vec<Vec<u8>> = (0..3000_u32).map(|i| i.to_be_bytes().to_vec()).collect();
        for keys in keys.chunks(100) {
            let mut transaction = store.transaction();
            for key in keys {
                transaction.put(key, &junk(7, 100)).unwrap();
            }
            transaction.commit().await.unwrap();
        }
        assert_sound(&store).await;
        // Keys that ascend leave full leaves behind.
        assert!(store.stats().used_bytes < 3000 * 130, "{:?}", store.stats());
        let all = store.range((Unbounded, Unbounded), 5000).await.unwrap();
        assert!(all.iter().map(|(key, _)| key).eq(&keys));
        let some = store
            .range((Excluded(&keys[10]), Included(&keys[700])), 600)
            .await
            .unwrap();
        assert!(some.iter().map(|(key, _)| key).eq(&keys[11..611]));
        let some = store
            .range((Included(&keys[2990]), Excluded(&keys[2995])), 600)
            .await
            .unwrap();
        assert!(some.iter().map(|(key, _)| key).eq(&keys[2990..2995]));
        for (range, last) in [
            ((Unbounded, Unbounded), Some(2999)),
            ((Unbounded, Excluded(&keys[1500][..])), Some(1499)),
            ((Unbounded, Included(&keys[1500][..])), Some(1500)),
            (
                (Included(&keys[5][..]), Included(&keys[1500][..])),
                Some(1500),
            ),
            ((Excluded(&keys[5][..]), Included(&keys[5][..])), None),
            ((Unbounded, Excluded(&keys[0][..])), None),
        ] {
            let found = store.last(range).await.unwrap().map(|(key, _)| key);
            assert_eq!(found, last.map(|i: usize| keys[i].clone()));
        }
        for keys in keys.chunks(100) {
            let mut transaction = store.transaction();
            for key in keys {
                transaction.delete(key).unwrap();
            }
            transaction.commit().await.unwrap();
        }
        assert_eq!(store.stats().used_bytes, 0);
    });
}

#[test]
fn a_blob_is_read_from_anywhere() {
    on_store(4096, async |store, _| {
        // Runs in the entry, and so many that they are in a chain.
        for blocks in [1, 31, 700, 2600] {
            let bytes = junk(blocks, blocks as usize * BLOCK - 5);
            put(&store, b"blob", b"", Some(&bytes)).await.unwrap();
            assert_eq!(blob(&store, b"blob").await.unwrap().unwrap(), bytes);
            let (_, mut reader) = store.blob(b"blob").await.unwrap().unwrap();
            let mut dice = Dice::new(blocks);
            for _ in 0..50 {
                let offset = dice.below(bytes.len() as u64 + 10);
                let mut into = vec![0; dice.below(20_000) as usize];
                let from = &bytes[bytes.len().min(offset as usize)..];
                let expected = &from[..from.len().min(into.len())];
                let len = reader.read_at(offset, &mut into).await.unwrap();
                assert_eq!(&into[..len], expected);
                reader.seek(offset);
                let len = reader.read(&mut into).await.unwrap();
                assert!(len > 0 || expected.is_empty());
                assert_eq!(into[..len], expected[..len]);
            }
            assert_sound(&store).await;
            delete(&store, b"blob").await.unwrap();
            drop(reader);
            assert_eq!(store.stats().used_bytes, 0);
        }
    });
}

#[test]
fn a_reader_keeps_its_blob_and_nothing_else() {
    on_store(256, async |store, _| {
        let (one, two) = (junk(1, 50 * BLOCK), junk(2, 60 * BLOCK));
        put(&store, b"one", b"", Some(&one)).await.unwrap();
        put(&store, b"two", b"", Some(&two)).await.unwrap();
        let (_, mut reader) = store.blob(b"one").await.unwrap().unwrap();
        let used = store.stats().used_bytes;
        delete(&store, b"two").await.unwrap();
        assert!(store.stats().used_bytes < used - 60 * BLOCK as u64);
        delete(&store, b"one").await.unwrap();
        assert_eq!(store.stats().used_bytes, 52 * BLOCK as u64);
        // All that is free is written over.
        put(&store, b"new", b"", Some(&junk(3, 150 * BLOCK)))
            .await
            .unwrap();
        let mut into = vec![0; one.len()];
        assert_eq!(reader.read_at(0, &mut into).await, Ok(one.len()));
        assert_eq!(into, one);
        drop(reader);
        assert_sound(&store).await;
    });
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    on_store(256, async |store, _| {
        for expected in [None, Some(400_000)] {
            let mut writer = store.blob_writer(expected).unwrap();
            writer.write(&junk(1, 300_000)).await.unwrap();
            drop(writer);
            let mut writer = store.blob_writer(expected).unwrap();
            writer.write(&junk(1, 400_000)).await.unwrap();
            drop(writer.finish().await.unwrap());
        }
        for _ in 0..20 {
            xenlet_kernel::run::yield_now().await;
        }
        assert_eq!(store.stats().used_bytes, 0);
        assert_eq!(store.free_bytes(), (256 - 4 - 16) * BLOCK as u64);
    });
}

#[test]
fn blocks_of_a_dropped_writer_are_not_used_while_it_still_writes() {
    for seed in 0..30 {
        hosted::test(async move || {
            let medium = Medium::new(64 * BLOCK as u64);
            let faults = Faults {
                seed,
                ..Faults::default()
            };
            let store = Store::format(medium.disk(faults), SMALL).await.unwrap();
            // It takes all that there is, sends its first blocks, and is gone.
            let mut writer = store.blob_writer(Some(54 * BLOCK as u64)).unwrap();
            writer.write(&vec![0; 6 * BLOCK + 1]).await.unwrap();
            drop(writer);
            let bytes = junk(seed, 6 * BLOCK);
            while put(&store, b"blob", b"", Some(&bytes)).await == Err(Error::Full) {
                xenlet_kernel::run::yield_now().await;
            }
            assert!(blob(&store, b"blob").await == Ok(Some(bytes)));
        });
    }
}

#[test]
fn a_length_that_is_known_is_kept() {
    on_store(256, async |store, _| {
        assert_eq!(store.blob_writer(Some(1 << 20)).err(), Some(Error::Full));
        let mut first = store.blob_writer(Some(500_000)).unwrap();
        // What the first was promised nobody else gets.
        assert_eq!(store.blob_writer(Some(600_000)).err(), Some(Error::Full));
        let mut greedy = store.blob_writer(None).unwrap();
        let failed = greedy.write(&vec![0; 1 << 20]).await;
        assert_eq!(failed, Err(Error::Full));
        assert_eq!(greedy.finish().await.err(), Some(Error::Full));
        first.write(&vec![0; 500_000]).await.unwrap();
        assert_eq!(
            first.write(&[0]).await,
            Err(Error::TooLong { expected: 500_000 })
        );
    });
}

#[test]
fn a_full_disk_lets_delete_and_goes_on() {
    on_store(128, async |store, _| {
        let mut count = 0_u32;
        loop {
            match put(
                &store,
                &count.to_be_bytes(),
                &junk(1, 1000),
                Some(&junk(2, 9000)),
            )
            .await
            {
                Ok(()) => count += 1,
                Err(e) => break assert_eq!(e, Error::Full),
            }
        }
        assert!(count > 15, "{count}");
        assert_sound(&store).await;
        // Small things, until not even those.
        let mut small = 1000_u32;
        while put(&store, &small.to_be_bytes(), &junk(1, 1000), None)
            .await
            .is_ok()
        {
            small += 1;
        }
        for i in 0..count {
            delete(&store, &i.to_be_bytes()).await.unwrap();
        }
        for i in 1000..small {
            delete(&store, &i.to_be_bytes()).await.unwrap();
        }
        assert_eq!(store.stats().used_bytes, 0);
    });
}

#[test]
fn conditions_decide_at_the_commit() {
    on_store(64, async |store, _| {
        let both = [1, 2].map(|value| {
            let mut transaction = store.transaction();
            transaction.if_absent(b"name").unwrap();
            transaction.put(b"name", &[value]).unwrap();
            xenlet_kernel::run::spawn(transaction.commit())
        });
        let mut results = Vec::new();
        for one in both {
            results.push(one.await);
        }
        assert_eq!(results, [Ok(()), Err(Error::Exists)]);
        assert_eq!(store.get(b"name").await.unwrap().unwrap().value, [1]);
    });
}

#[test]
fn limits_of_keys_and_values() {
    on_store(64, async |store, _| {
        let mut transaction = store.transaction();
        assert_eq!(transaction.put(b"", b""), Err(Error::KeyLength(0)));
        assert_eq!(transaction.put(&[0; 256], b""), Err(Error::KeyLength(256)));
        assert_eq!(
            transaction.put(b"k", &[0; 1025]),
            Err(Error::ValueLength(1025))
        );
        transaction.put(&[255; 255], &[7; 1024]).unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(
            store.get(&[255; 255]).await.unwrap().unwrap().value,
            [7; 1024]
        );
        assert_eq!(store.get(&[255; 300]).await.unwrap(), None);
        let all = store
            .range((Excluded(&[255; 255]), Unbounded), 10)
            .await
            .unwrap();
        assert!(all.is_empty());
    });
}

#[test]
fn a_buffer_that_is_asked_for_need_not_be_filled() {
    on_store(256, async |store, medium| {
        // Nothing at all, then as much as fills a request, then a run.
        for (number, len) in (0..).zip([0, 2 * BLOCK, 32 * BLOCK]) {
            let bytes = junk(number, len);
            let used = store.stats().used_bytes;
            put(&store, b"key", b"", Some(&bytes)).await.unwrap();
            let taken = store.stats().used_bytes - used;
            delete(&store, b"key").await.unwrap();

            let used = store.stats().used_bytes;
            let mut writer = store.blob_writer(None).unwrap();
            writer.write(&bytes).await.unwrap();
            assert!(!writer.spare().await.unwrap().is_empty());
            let mut transaction = store.transaction();
            let blob = writer.finish().await.unwrap();
            transaction.put_blob(b"key", b"", blob).unwrap();
            transaction.commit().await.unwrap();
            assert_eq!(store.stats().used_bytes - used, taken, "{len} bytes");

            let again = Store::open(medium.disk(Faults::default()), SMALL).await;
            let (_, mut reader) = again.unwrap().blob(b"key").await.unwrap().unwrap();
            let mut read = vec![0; len + 1];
            assert_eq!(reader.read_at(0, &mut read).await, Ok(len));
            assert_eq!(read[..len], bytes);
            delete(&store, b"key").await.unwrap();
        }
    });
}

#[test]
fn only_what_is_ours_is_opened() {
    hosted::test(async || {
        let open = async |medium: &Medium| {
            let before = medium.bytes();
            let opened = Store::open_or_format_blank(medium.disk(Faults::default()), SMALL).await;
            assert!(opened.is_ok() || before == medium.bytes(), "it was written");
            opened.map(|store| store.stats().generation)
        };
        let size = 64 * BLOCK;
        let mut bytes = vec![0; size];
        bytes[1080] = 0x53;
        bytes[1081] = 0xef;
        let ext4 = Medium::from_bytes(&bytes);
        let name = Found::Other("an ext2, ext3 or ext4 filesystem");
        assert_eq!(identify(&ext4.disk(Faults::default())).await, Ok(name));
        assert_eq!(open(&ext4).await, Err(Error::NotAStore(name)));
        let mut bytes = vec![0; size];
        bytes[size - 1] = 1;
        let other = Medium::from_bytes(&bytes);
        assert_eq!(open(&other).await, Err(Error::NotAStore(Found::Unknown)));
        assert_eq!(
            open(&Medium::new(31 * 4096)).await,
            Err(Error::TooSmall { bytes: 31 * 4096 })
        );
        let blank = Medium::new(size as u64);
        let found = Store::open(blank.disk(Faults::default()), SMALL)
            .await
            .err();
        assert_eq!(found, Some(Error::NotAStore(Found::Blank)));
        assert_eq!(open(&blank).await, Ok(1));
        assert_eq!(
            identify(&blank.disk(Faults::default())).await,
            Ok(Found::Store)
        );
        let cut = Medium::from_bytes(&blank.bytes()[..size - BLOCK]);
        let truncated = Error::Truncated {
            needs: size as u64,
            bytes: (size - BLOCK) as u64,
        };
        assert_eq!(open(&cut).await, Err(truncated));
        // A disk that has grown is what it was.
        let grown = Medium::from_bytes(&[blank.bytes(), vec![0; 9 * BLOCK + 512]].concat());
        assert_eq!(open(&grown).await, Ok(1));
        let read_only = blank.read_only();
        let store = Store::open(read_only.disk(Faults::default()), SMALL)
            .await
            .unwrap();
        assert_eq!(
            put(&store, b"a", b"", None).await,
            Err(Error::ReadOnly(Why::Disk))
        );
    });
}
