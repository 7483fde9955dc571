//! The medium: its cache, its cuts, and the disk without a ring.

use super::*;
use crate::block::BlockDevice;
use crate::hosted::{Faults, Kind, Nth};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use xenlet_kernel::page::Pages;
use xenlet_kernel::run::spawn;
use xenlet_kernel::{hosted, time};

fn sector(medium: &Medium, at: u64) -> Vec<u8> {
    let mut bytes = vec![0; medium.geometry().sector_size];
    medium.read(at, &mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_flushed_stays_and_the_rest_is_lost_kept_or_torn() {
    let mut seen = BTreeSet::new();
    for seed in 0..500 {
        let medium = Medium::new(1 << 30);
        medium.write(0, &[1; 4 * SECTOR]).unwrap();
        medium.flush().unwrap();
        medium.write(0, &[2; 4 * SECTOR]).unwrap();
        medium.write(2, &[3; 4 * SECTOR]).unwrap();
        assert_eq!(
            medium.bytes_at(0, 6),
            [2, 2, 3, 3, 3, 3],
            "reads see the newest"
        );
        medium.cut(seed);
        let left = medium.bytes_at(0, 6);
        assert!(left[..2].iter().all(|b| [1, 2].contains(b)));
        assert!(left[2..4].iter().all(|b| [1, 2, 3].contains(b)));
        assert!(left[4..].iter().all(|b| [0, 3].contains(b)));
        medium.cut(seed + 1);
        assert_eq!(medium.bytes_at(0, 6), left, "what is left is there to stay");
        seen.insert(left);
    }
    let all = [
        ([1, 1, 1, 1, 0, 0], "all lost"),
        ([2, 2, 3, 3, 3, 3], "all kept"),
        ([2, 2, 2, 2, 0, 0], "the second lost"),
        ([1, 1, 3, 3, 3, 3], "the first lost"),
        ([1, 2, 1, 2, 0, 0], "torn, not by a prefix"),
    ];
    for (left, what) in all {
        assert!(seen.contains(left.as_slice()), "never: {what}");
    }
}

impl Medium {
    /// The first byte of each sector, which is the same throughout.
    fn bytes_at(&self, at: u64, sectors: u64) -> Vec<u8> {
        (at..at + sectors)
            .map(|at| {
                let bytes = sector(self, at);
                assert!(bytes.iter().all(|b| *b == bytes[0]), "sectors are whole");
                bytes[0]
            })
            .collect()
    }
}

#[test]
fn sectors_of_4096_bytes_are_never_torn() {
    for seed in 0..200 {
        let medium = Medium::new((1 << 20) + 3000).with_sector_size(4096);
        assert_eq!(medium.geometry().bytes(), 1 << 20);
        medium.write(8, &[1; 4 * 4096]).unwrap();
        medium.cut(seed);
        for at in [8, 16, 24, 32] {
            let bytes = sector(&medium, at);
            assert!(bytes.iter().all(|b| *b == bytes[0]));
        }
        let misaligned = medium.write(1, &[0; 4096]);
        assert_eq!(
            misaligned,
            Err(IoError::Misaligned {
                sector: 1,
                len: 4096
            })
        );
        let beyond = medium.read(256 * 8, &mut [0; 4096]);
        assert!(matches!(beyond, Err(IoError::OutOfRange { .. })));
    }
}

#[test]
fn a_full_cache_writes_its_oldest_out() {
    let medium = Medium::new(1 << 20);
    medium.state().room = 2 * SECTOR;
    for value in 1..=4_u8 {
        medium.write(u64::from(value), &[value; SECTOR]).unwrap();
    }
    assert_eq!(medium.bytes_at(1, 4), [1, 2, 3, 4]);
    // Seed after seed, the first two are always there.
    medium.cut(0);
    assert_eq!(medium.bytes_at(1, 2), [1, 2]);
}

#[test]
fn a_file_is_written_at_once_and_odd_tails_are_left_alone() {
    let path = std::env::temp_dir().join(format!("xenlet-medium-{}", std::process::id()));
    std::fs::write(&path, vec![9; 3 * SECTOR + 100]).unwrap();
    let medium = Medium::open(&path, false).unwrap();
    assert_eq!(medium.geometry().sectors, 3);
    medium.write(1, &[1; SECTOR]).unwrap();
    let mut dice = Dice::new(1);
    medium.discard(0, 3, &mut dice).unwrap();
    medium.flush().unwrap();
    medium.cut(1);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(medium.bytes(), bytes[..3 * SECTOR]);
    assert_eq!((bytes[SECTOR], bytes.len()), (1, 3 * SECTOR + 100));
    assert!(bytes[2 * SECTOR..].iter().all(|b| *b == 9));
}

#[test]
fn an_image_goes_out_and_in() {
    let mut bytes = vec![0; 10_000 / SECTOR * SECTOR];
    bytes[5000] = 7;
    let medium = Medium::from_bytes(&bytes);
    assert_eq!(medium.bytes(), bytes);
    assert!(Medium::new(0).bytes().is_empty());
}

proptest! {
    /// Whatever is done, what is read is what was written last; and a flush outlives every cut.
    #[test]
    fn as_a_model(
        size in prop::sample::select(vec![512_usize, 1024, 4096]),
        steps in prop::collection::vec((0..40_u64, 1..6_u64, any::<u8>(), 0..8_u8), 1..60),
        seed: u64,
    ) {
        let medium = Medium::new(48 * size as u64).with_sector_size(size);
        let unit = (size / SECTOR) as u64;
        let mut newest = vec![0; 48];
        let mut durable = newest.clone();
        // What each sector may be after a cut.
        let mut maybe: BTreeMap<u64, BTreeSet<u8>> = BTreeMap::new();
        for (at, count, value, what) in steps {
            if what == 0 {
                medium.flush().unwrap();
                durable.clone_from(&newest);
                maybe.clear();
                continue;
            }
            medium.write(at * unit, &vec![value; count as usize * size]).unwrap();
            for sector in at..at + count {
                newest[sector as usize] = value;
                maybe.entry(sector).or_default().insert(value);
            }
        }
        for sector in 0..48 {
            prop_assert_eq!(medium.bytes_at(sector * unit, 1)[0], newest[sector as usize]);
        }
        medium.cut(seed);
        for sector in 0..48 {
            let is = medium.bytes_at(sector * unit, 1)[0];
            let may = is == durable[sector as usize] || maybe.get(&sector).is_some_and(|may| may.contains(&is));
            prop_assert!(may, "sector {sector} is {is}");
        }
    }
}

fn pages(value: u8, len: usize) -> Pages {
    let mut pages = Pages::new(len).unwrap();
    pages.chunks_mut().for_each(|chunk| chunk.fill(value));
    pages
}

#[test]
fn requests_come_back_out_of_order_and_go_on_when_dropped() {
    hosted::test(async || {
        let medium = Medium::new(1 << 20);
        let disk = medium.disk(Faults {
            seed: 3,
            ..Faults::default()
        });
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..20_u8)
            .map(|i| {
                let (disk, order) = (disk.clone(), Rc::clone(&order));
                spawn(async move {
                    let (pages, done) = disk
                        .write(u64::from(i) * 10, pages(i, 5000 / 512 * 512))
                        .await;
                    done.unwrap();
                    assert_eq!(pages.chunks().next().unwrap()[0], i);
                    order.borrow_mut().push(i);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert!(!order.borrow().is_sorted());
        for i in 0..20_u8 {
            assert_eq!(
                disk.read(u64::from(i) * 10, Pages::new(512).unwrap())
                    .await
                    .0
                    .chunks()
                    .next()
                    .unwrap()[0],
                i
            );
        }
        let mut dropped = Box::pin(disk.write(900, pages(1, 512)));
        assert!(
            core::future::poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx)))
                .await
                .is_pending()
        );
        drop(dropped);
        time::sleep(time::Duration::from_millis(1)).await;
        assert_eq!(medium.bytes_at(900, 1), [1]);
    });
}

#[test]
fn a_request_fails_by_its_number() {
    hosted::test(async || {
        let medium = Medium::new(1 << 20);
        let fails = async |nth| {
            let disk = medium.disk(Faults {
                fail: Some(nth),
                ..Faults::default()
            });
            [
                disk.write(0, pages(1, 512)).await.1.is_err(),
                disk.read(0, pages(0, 512)).await.1.is_err(),
                disk.write(0, pages(1, 512)).await.1.is_err(),
                disk.flush().await.is_err(),
                disk.discard(0, 8).await.is_err(),
                disk.flush().await.is_err(),
            ]
        };
        let only = |n: usize| std::array::from_fn::<_, 6, _>(|i| i == n);
        assert_eq!(fails(Nth::any(1)).await, only(1));
        assert_eq!(fails(Nth::of(Kind::Write, 1)).await, only(2));
        assert_eq!(fails(Nth::of(Kind::Flush, 1)).await, only(5));
        assert_eq!(fails(Nth::of(Kind::Discard, 0)).await, only(4));
        assert_eq!(fails(Nth::any(6)).await, only(6));
        let disk = medium.clone().read_only().disk(Faults::default());
        assert_eq!(disk.write(0, pages(1, 512)).await.1, Err(IoError::ReadOnly));
        assert_eq!(
            disk.read(0, pages(1, 100)).await.1,
            Err(IoError::Misaligned {
                sector: 0,
                len: 100
            })
        );
    });
}

#[test]
fn a_failed_flush_loses_what_was_answered() {
    let lost = |seed| {
        hosted::test(async move || {
            let medium = Medium::new(1 << 20);
            let disk = medium.disk(Faults {
                seed,
                fail: Some(Nth::of(Kind::Flush, 0)),
                ..Faults::default()
            });
            disk.write(0, pages(1, 512)).await.1.unwrap();
            disk.flush().await.unwrap_err();
            disk.flush().await.unwrap();
            medium.bytes_at(0, 1) == [0]
        })
    };
    assert!((0..10).any(lost) && !(0..10).all(lost));
}

#[test]
fn after_a_cut_nothing_is_answered_and_the_same_seed_is_the_same_run() {
    let run = |seed, at| {
        let medium = Medium::new(1 << 20);
        let acknowledged = hosted::test({
            let medium = medium.clone();
            async move || {
                let disk = medium.disk(Faults {
                    seed,
                    cut: Some(at),
                    ..Faults::default()
                });
                let answered = Rc::new(std::cell::Cell::new(0_u8));
                let life = async {
                    for i in 1..100_u8 {
                        let two = (
                            disk.write(u64::from(i) * 4, pages(i, 2048)),
                            disk.write(u64::from(i), pages(i, 512)),
                        );
                        two.0.await.1.unwrap();
                        two.1.await.1.unwrap();
                        disk.flush().await.unwrap();
                        answered.set(i);
                    }
                };
                assert!(medium.until_cut(life).await.is_none());
                let after = medium.disk(Faults::default());
                let mut old = Box::pin(disk.read(0, pages(0, 512)));
                time::timeout(time::Duration::from_secs(1), old.as_mut())
                    .await
                    .unwrap_err();
                after.read(0, pages(0, 512)).await.1.unwrap();
                answered.get()
            }
        });
        (acknowledged, medium.bytes())
    };
    for seed in 0..20 {
        for (at, flushed) in [
            (Nth::any(seed * 3 + 1), seed),
            (Nth::of(Kind::Flush, seed), seed),
        ] {
            let (acknowledged, bytes) = run(seed, at);
            assert_eq!(u64::from(acknowledged), flushed);
            assert_eq!(run(seed, at).1, bytes, "seed {seed}");
        }
    }
}
