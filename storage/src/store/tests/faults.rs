//! Requests that fail: what is concerned says so, everything else goes on.

use super::*;
use crate::store::Why;
use xenlet_blkfront::hosted::{Kind, Nth};

/// A store with one key, on a disk that fails as said from then on. The first flush is that of opening it.
async fn on_faults(faults: Faults) -> (Store<MediumDisk>, Medium) {
    let medium = Medium::new(256 * BLOCK as u64);
    let store = Store::format(medium.disk(Faults::default()), SMALL)
        .await
        .unwrap();
    put(&store, b"old", b"old", None).await.unwrap();
    drop(store);
    (
        Store::open(medium.disk(faults), SMALL).await.unwrap(),
        medium,
    )
}

fn nth(kind: Kind, number: u64) -> Faults {
    Faults {
        fail: Some(Nth::of(kind, number)),
        ..Faults::default()
    }
}

#[test]
fn a_write_that_fails_is_its_blobs_alone() {
    hosted::test(async || {
        let (store, _) = on_faults(nth(Kind::Write, 0)).await;
        let failed = put(&store, b"new", b"", Some(&junk(1, 60_000))).await;
        assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
        for _ in 0..20 {
            xenlet_kernel::run::yield_now().await;
        }
        put(&store, b"new", b"", Some(&junk(1, 60_000)))
            .await
            .unwrap();
        assert_sound(&store).await;
    });
}

#[test]
fn a_node_or_a_flush_that_fails_is_its_group_alone() {
    hosted::test(async || {
        for faults in [nth(Kind::Write, 0), nth(Kind::Flush, 1)] {
            let (store, medium) = on_faults(faults).await;
            let before = store.stats().used_bytes;
            let failed = put(&store, b"new", b"", None).await;
            assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
            assert_eq!(store.get(b"new").await, Ok(None));
            assert_eq!(store.stats().used_bytes, before);
            put(&store, b"new", b"2", None).await.unwrap();
            assert_sound(&store).await;
            medium.cut(1);
            let store = Store::open(medium.disk(Faults::default()), SMALL)
                .await
                .unwrap();
            assert_eq!(store.get(b"new").await.unwrap().unwrap().value, b"2");
        }
    });
}

#[test]
fn a_blob_that_a_failed_flush_may_have_lost_is_refused() {
    hosted::test(async || {
        let (store, _) = on_faults(nth(Kind::Flush, 1)).await;
        let mut writer = store.blob_writer(None).unwrap();
        writer.write(&junk(1, 20_000)).await.unwrap();
        let blob = writer.finish().await.unwrap();
        assert!(put(&store, b"other", b"", None).await.is_err());
        let mut transaction = store.transaction();
        transaction.put_blob(b"new", b"", blob).unwrap();
        assert_eq!(transaction.commit().await, Err(Error::Lost));
        assert_eq!(store.get(b"new").await, Ok(None));
        assert_sound(&store).await;
    });
}

#[test]
fn what_a_destroyed_guest_left_in_the_disks_cache_stays_once_it_is_seen() {
    hosted::test(async || {
        let (store, medium) = on_faults(Faults::default()).await;
        let before = medium.bytes();
        put(&store, b"new", b"", None).await.unwrap();
        let after = medium.bytes();
        for seed in 0..20 {
            let medium = Medium::from_bytes(&before);
            for (sector, bytes) in (0..).step_by(8).zip(after.chunks(BLOCK)) {
                medium.write(sector, bytes).unwrap();
            }
            let store = Store::open(medium.disk(Faults::default()), SMALL).await;
            assert!(store.unwrap().get(b"new").await.unwrap().is_some());
            medium.cut(seed);
            let store = Store::open(medium.disk(Faults::default()), SMALL).await;
            assert!(store.unwrap().get(b"new").await.unwrap().is_some());
        }
    });
}

#[test]
fn superblocks_that_can_not_be_read_now_are_not_called_damaged() {
    hosted::test(async || {
        let (store, medium) = on_faults(Faults::default()).await;
        drop(store);
        for seed in 0..200 {
            let faults = Faults {
                seed,
                fail_one_in: 2,
                ..Faults::default()
            };
            if let Err(e) = Store::open(medium.disk(faults), SMALL).await {
                assert!(matches!(e, Error::Io { .. }), "{seed}: {e}");
            }
        }
    });
}

#[test]
fn a_superblock_is_tried_again() {
    hosted::test(async || {
        // One node, then the superblock's copies; the second flush is after them.
        for faults in [
            nth(Kind::Write, 1),
            nth(Kind::Write, 2),
            nth(Kind::Flush, 2),
        ] {
            let (store, medium) = on_faults(faults).await;
            put(&store, b"new", b"", None).await.unwrap();
            medium.cut(1);
            let store = Store::open(medium.disk(Faults::default()), SMALL)
                .await
                .unwrap();
            assert!(store.get(b"new").await.unwrap().is_some());
            assert_sound(&store).await;
        }
    });
}

/// A disk on which writes to superblocks fail, from when it is told to.
struct NoSuperblocks(MediumDisk, std::cell::Cell<bool>);

impl BlockDevice for &'static NoSuperblocks {
    fn geometry(&self) -> xenlet_blkfront::Geometry {
        self.0.geometry()
    }

    async fn read(
        &self,
        sector: u64,
        pages: xenlet_kernel::page::Pages,
    ) -> (
        xenlet_kernel::page::Pages,
        Result<(), xenlet_blkfront::IoError>,
    ) {
        self.0.read(sector, pages).await
    }

    async fn write(
        &self,
        sector: u64,
        pages: xenlet_kernel::page::Pages,
    ) -> (
        xenlet_kernel::page::Pages,
        Result<(), xenlet_blkfront::IoError>,
    ) {
        if self.1.get() && sector < 16 {
            return (pages, Err(xenlet_blkfront::IoError::Failed));
        }
        self.0.write(sector, pages).await
    }

    async fn flush(&self) -> Result<(), xenlet_blkfront::IoError> {
        self.0.flush().await
    }

    async fn discard(&self, _: u64, _: u64) -> Result<(), xenlet_blkfront::IoError> {
        Ok(())
    }
}

#[test]
fn after_a_commit_of_which_nothing_is_known_nothing_is_written() {
    hosted::test(async || {
        let medium = Medium::new(256 * BLOCK as u64);
        let disk = NoSuperblocks(medium.disk(Faults::default()), std::cell::Cell::new(false));
        let disk: &'static NoSuperblocks = Box::leak(Box::new(disk));
        let store = Store::format(disk, SMALL).await.unwrap();
        put(&store, b"old", b"old", None).await.unwrap();
        let mut writer = store.blob_writer(None).unwrap();
        disk.1.set(true);
        assert_eq!(put(&store, b"new", b"", None).await, Err(Error::Unsure));
        let read_only = Error::ReadOnly(Why::Unsure);
        disk.1.set(false);
        assert_eq!(put(&store, b"new", b"", None).await, Err(read_only));
        assert_eq!(store.blob_writer(None).err(), Some(read_only));
        assert_eq!(writer.write(&[1]).await, Err(read_only));
        assert_eq!(store.get(b"old").await.unwrap().unwrap().value, b"old");
        let again = Store::open(disk, SMALL).await.unwrap();
        put(&again, b"new", b"", None).await.unwrap();
        assert_sound(&again).await;
    });
}

#[test]
fn a_read_that_fails_is_an_error_once() {
    hosted::test(async || {
        let medium = Medium::new(256 * BLOCK as u64);
        let store = Store::format(medium.disk(Faults::default()), SMALL)
            .await
            .unwrap();
        let bytes = junk(1, 30 * BLOCK);
        put(&store, b"blob", b"", Some(&bytes)).await.unwrap();
        drop(store);
        // Opening reads the superblocks and the tree; what is after that is the blob.
        for number in 0..30 {
            let disk = medium.disk(nth(Kind::Read, number));
            let mut failed = 0;
            let mut fails = |e: Error| {
                assert!(matches!(e, Error::Io { .. }), "{e}");
                failed += 1;
            };
            let store = match Store::open(disk.clone(), SMALL).await {
                Ok(store) => store,
                Err(e) => {
                    fails(e);
                    Store::open(disk, SMALL).await.unwrap()
                }
            };
            for _ in 0..3 {
                match blob(&store, b"blob").await {
                    Ok(found) => assert!(found == Some(bytes.clone())),
                    Err(e) => fails(e),
                }
            }
            assert!(failed <= 1, "{failed} times, number {number}");
        }
    });
}
