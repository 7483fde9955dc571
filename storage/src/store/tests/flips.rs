//! What is flipped on the disk, one byte at a time: an error that says so, or the right data, and a check finds it.

use super::*;
use std::ops::Bound::Unbounded;

/// What a store on `image` gives: each key's content, or that it can't be had.
async fn contents(
    image: &[u8],
    options: Options,
) -> Option<Result<BTreeMap<Vec<u8>, Option<Contents>>, Error>> {
    let medium = Medium::from_bytes(image);
    let store = Store::open(medium.disk(Faults::default()), options)
        .await
        .ok()?;
    let all = match store.range((Unbounded, Unbounded), 1000).await {
        Ok(all) => all,
        Err(e) => return Some(Err(e)),
    };
    let mut found = BTreeMap::new();
    for (key, entry) in all {
        let blob = blob(&store, &key).await;
        found.insert(key, blob.ok().map(|blob| (entry.value, blob)));
    }
    Some(Ok(found))
}

type Contents = (Vec<u8>, Option<Vec<u8>>);

/// A store of which the last commit is the last thing that happened, and which of its blocks are in use.
fn image() -> (Vec<u8>, Model, Vec<usize>) {
    let medium = Medium::new(300 * BLOCK as u64);
    let (model, used_bytes) = hosted::test({
        let medium = medium.clone();
        async move || {
            let store = Store::format(medium.disk(Faults::default()), SMALL)
                .await
                .unwrap();
            for i in 0..40_u64 {
                let content = junk(i, (i * i * 10) as usize);
                let content = (i % 2 == 0).then_some(&content[..]);
                put(
                    &store,
                    format!("key {i}").as_bytes(),
                    &junk(i, 300),
                    content,
                )
                .await
                .unwrap();
            }
            assert_sound(&store).await;
            (everything(&store).await.unwrap(), store.stats().used_bytes)
        }
    });
    let bytes = medium.bytes();
    let used = (0..300).filter(|&block| {
        let mut flipped = bytes.clone();
        flipped[block * BLOCK + 100] ^= 1;
        !is_sound(&flipped)
    });
    let used: Vec<_> = used.collect();
    // A byte in the superblocks, in the tree, and in blobs and their checksums is missed by a check nowhere.
    assert_eq!(used.len() as u64, used_bytes / BLOCK as u64 + 4);
    (bytes, model, used)
}

/// What a check says.
fn is_sound(image: &[u8]) -> bool {
    let medium = Medium::from_bytes(image);
    hosted::test(async move || {
        let options = Options {
            read_only: true,
            ..SMALL
        };
        match Store::open(medium.disk(Faults::default()), options).await {
            Ok(store) => store.check(|_| {}).await.unwrap().is_sound(),
            Err(_) => false,
        }
    })
}

#[test]
fn no_flipped_byte_is_ever_data() {
    let (image, model, used) = image();
    let mut dice = Dice::new(1);
    for round in 0..600 {
        let block = used[dice.below(used.len() as u64) as usize];
        // Of a superblock only the first sector counts, and of it every byte.
        let is_superblock = [0, 1, 298, 299].contains(&block);
        let at = dice.below(if is_superblock { 512 } else { BLOCK as u64 }) as usize;
        let mut flipped = image.clone();
        flipped[block * BLOCK + at] ^= 1 << dice.below(8);
        if round % 5 == 0 {
            assert!(!is_sound(&flipped), "block {block}, byte {at}: not found");
        }
        let model = model.clone();
        hosted::test(async move || {
            for read_only in [false, true] {
                let options = Options { read_only, ..SMALL };
                match contents(&flipped, options).await {
                    // A superblock has a copy; opened for reading alone, what is not damaged is there.
                    None => assert!(!is_superblock && !read_only, "block {block}, byte {at}"),
                    Some(Err(e)) => assert!(matches!(e, Error::Corrupt { .. }), "{e}"),
                    Some(Ok(found)) => {
                        assert!(found.keys().eq(model.keys()), "block {block}, byte {at}");
                        for (key, found) in found {
                            assert!(
                                found.is_none_or(|found| found == model[&key]),
                                "block {block}, byte {at}"
                            );
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn both_copies_of_a_superblock_gone_is_said() {
    let (image, ..) = image();
    for slot in [0, 1] {
        let mut damaged = image.clone();
        damaged[slot * BLOCK + 45] ^= 1;
        damaged[(298 + slot) * BLOCK + 200] ^= 1;
        hosted::test(async move || {
            let medium = Medium::from_bytes(&damaged);
            let opened = Store::open(medium.disk(Faults::default()), SMALL)
                .await
                .err();
            let blocks = [slot as u64, 298 + slot as u64];
            assert_eq!(opened, Some(Error::Superblocks { blocks }));
            assert!(medium.bytes() == damaged, "it was written");
        });
    }
}

#[test]
fn a_damaged_superblock_is_made_good() {
    let (image, ..) = image();
    for block in [0, 1, 298, 299] {
        let mut damaged = image.clone();
        damaged[block * BLOCK..][..512].fill(0xee);
        let image = image.clone();
        hosted::test(async move || {
            let medium = Medium::from_bytes(&damaged);
            drop(
                Store::open(medium.disk(Faults::default()), SMALL)
                    .await
                    .unwrap(),
            );
            assert!(medium.bytes() == image);
        });
    }
}

#[test]
fn a_check_names_what_is_damaged() {
    hosted::test(async || {
        let medium = Medium::new(256 * BLOCK as u64);
        let store = Store::format(medium.disk(Faults::default()), SMALL)
            .await
            .unwrap();
        for key in [b"a", b"b", b"c"] {
            put(&store, key, b"", Some(&junk(u64::from(key[0]), 20 * BLOCK)))
                .await
                .unwrap();
        }
        drop(store);
        let mut bytes = medium.bytes();
        let content = junk(u64::from(b'b'), 20 * BLOCK);
        for index in [3, 4, 17] {
            let wanted = &content[index * BLOCK..][..BLOCK];
            let block = bytes
                .chunks(BLOCK)
                .position(|block| block == wanted)
                .unwrap();
            bytes[block * BLOCK] ^= 1;
        }
        let medium = Medium::from_bytes(&bytes);
        let store = Store::open(medium.disk(Faults::default()), SMALL)
            .await
            .unwrap();
        let report = store.check(|_| {}).await.unwrap();
        assert_eq!((report.entries, report.blobs, report.damaged), (3, 3, 3));
        for problem in &report.problems {
            assert_eq!(problem.key.as_deref(), Some(&b"b"[..]));
            assert_eq!(problem.what, "a blob's content");
        }
        assert!(matches!(
            blob(&store, b"b").await,
            Err(Error::Corrupt { .. })
        ));
        assert!(blob(&store, b"c").await.is_ok());
        // It can be deleted, and then all is sound.
        delete(&store, b"b").await.unwrap();
        assert_sound(&store).await;
    });
}
