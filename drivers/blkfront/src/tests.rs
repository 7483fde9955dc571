//! The driver against a blkback, over real ring bytes: what is agreed on, and that requests do what they say.

mod absence;
mod blackbox;
mod errors;
mod life;
mod merge;

use crate::hosted::{Config, Dice, Medium, Vbd, attach};
use crate::proto::{OP_DISCARD, OP_FLUSH, OP_WRITE_BARRIER};
use crate::{BlockDevice, Disk, Geometry, IoError, SECTOR};
use std::future::Future;
use std::pin::Pin;
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::page::Pages;
use xenlet_kernel::time::{Duration, sleep};
use xenlet_kernel::{grant, hosted, page};

const MIB: u64 = 1 << 20;

/// Runs `body` in a domain with one disk, and sees that it leaves nothing behind.
fn with_disk<T: Send + 'static>(
    config: Config,
    medium: &Medium,
    body: impl AsyncFnOnce(&Disk, &Vbd) -> T + Send + 'static,
) -> T {
    let medium = medium.clone();
    hosted::test(async move || {
        let before = (grant::usage().0, hosted::ports(), page::leaked());
        let vbd = attach(config.clone(), &medium);
        let disk = Disk::connect(config.number).await.unwrap();
        let result = body(&disk, &vbd).await;
        disk.close().await;
        sleep(Duration::from_millis(1)).await;
        let after = (grant::usage().0, hosted::ports(), page::leaked());
        assert_eq!(after, before, "grants, ports, lost pages");
        result
    })
}

/// Pages full of `bytes`.
fn pages(bytes: &[u8]) -> Pages {
    let mut pages = Pages::new(bytes.len()).unwrap();
    pages.write_at(0, bytes);
    pages
}

fn bytes(pages: &Pages) -> Vec<u8> {
    pages.chunks().flatten().copied().collect()
}

fn junk(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Dice::new(seed).fill(&mut bytes);
    bytes
}

async fn read(disk: &Disk, sector: u64, len: usize) -> Vec<u8> {
    let (pages, result) = disk.read(sector, Pages::new(len).unwrap()).await;
    result.unwrap();
    assert_eq!(pages.len(), len);
    bytes(&pages)
}

async fn write(disk: &Disk, sector: u64, bytes: &[u8]) {
    let (back, result) = disk.write(sector, pages(bytes)).await;
    result.unwrap();
    assert_eq!(back.len(), bytes.len());
}

/// Many requests at once, over and over, against a model.
async fn exercise(disk: &Disk, seed: u64) {
    type Answer<'a> = Pin<Box<dyn Future<Output = (Pages, Result<(), IoError>)> + 'a>>;
    let geometry = disk.geometry();
    let unit = (geometry.sector_size / SECTOR) as u64;
    let mut model = read(disk, 0, geometry.bytes() as usize).await;
    let mut dice = Dice::new(seed);
    for round in 0..5 {
        let mut answers: Vec<(Option<(usize, usize)>, Answer<'_>)> = Vec::new();
        // Places that are not next to each other and such that are; never the same one twice in a round.
        let mut at = dice.below(9) * unit;
        loop {
            let most = if dice.one_in(12) { 300 } else { 20 };
            let count = (1 + dice.below(most)) * unit;
            if at + count > geometry.sectors {
                break;
            }
            let range = (at as usize * SECTOR, (at + count) as usize * SECTOR);
            if dice.one_in(2) && !geometry.read_only {
                let new = junk(dice.throw(), range.1 - range.0);
                model[range.0..range.1].copy_from_slice(&new);
                answers.push((None, Box::pin(disk.write(at, pages(&new)))));
            } else {
                let pages = Pages::new(range.1 - range.0).unwrap();
                answers.push((Some(range), Box::pin(disk.read(at, pages))));
            }
            at += count + dice.below(3) * unit;
        }
        // In another order than they were asked for.
        while !answers.is_empty() {
            let next = dice.below(answers.len() as u64) as usize;
            let (range, answer) = answers.swap_remove(next);
            let (pages, result) = answer.await;
            assert_eq!(result, Ok(()));
            if let Some((start, end)) = range {
                assert!(
                    bytes(&pages) == model[start..end],
                    "round {round}, byte {start}"
                );
            }
        }
        disk.flush().await.unwrap();
    }
    assert!(read(disk, 0, model.len()).await == model);
}

#[test]
fn every_feature_and_none() {
    for seed in 0..64_u64 {
        let bit = |n: u64| seed >> n & 1 == 1;
        let config = Config {
            persistent: bit(0),
            indirect: [0, 11, 20, 256][(seed >> 1 & 3) as usize],
            ring_order: [0, 1, 4][(seed % 3) as usize],
            flush: bit(3),
            barrier: bit(4),
            early: bit(5),
            most_persistent: [1056, 40][(seed % 5 / 4) as usize],
            delay: Duration::from_millis(seed % 7 / 4 * 5),
            ..Config::default()
        };
        let size = [512, 1024, 4096, 2048][(seed % 4) as usize];
        // Not a multiple of 4 KiB, but for large sectors.
        let medium = Medium::new(MIB / 4 + 7 * SECTOR as u64).with_sector_size(size);
        let (c, m) = (config.clone(), medium.clone());
        with_disk(config, &medium, async move |disk, vbd| {
            let features = disk.features();
            assert_eq!(features.persistent, c.persistent);
            assert_eq!(features.segments, usize::from(c.indirect).max(11));
            assert_eq!(features.ring_pages, 1 << c.ring_order.min(2));
            assert_eq!(
                disk.geometry(),
                Geometry {
                    discard: true,
                    ..m.geometry()
                }
            );
            exercise(disk, seed).await;
            let counts = vbd.counts();
            assert_eq!(counts.indirect > 0, c.indirect > 11, "{counts:?}");
            assert_eq!(counts.persistent > 0, c.persistent);
            assert_eq!(
                (counts.flushes > 0, counts.barriers > 0),
                (c.flush, c.barrier && !c.flush)
            );
            assert_eq!(counts.failed, 0);
        });
    }
}

#[test]
fn the_last_sectors_can_be_reached_and_those_behind_not() {
    let medium = Medium::new(MIB + 512);
    with_disk(Config::default(), &medium, async |disk, _| {
        let Geometry { sectors, .. } = disk.geometry();
        assert_eq!(sectors, 2049);
        let new = junk(1, 512);
        write(disk, 2048, &new).await;
        assert_eq!(read(disk, 2048, 512).await, new);
        assert_eq!(read(disk, 2041, PAGE_SIZE).await[7 * 512..], new);
        for (sector, len) in [
            (2049, 512),
            (2048, 1024),
            (u64::MAX, 512),
            (u64::MAX - 7, 4096),
        ] {
            let (pages, result) = disk.read(sector, Pages::new(len).unwrap()).await;
            assert_eq!(
                (pages.len(), result),
                (len, Err(IoError::OutOfRange { sector, len }))
            );
        }
        for len in [0, 1, 511, 513] {
            let (pages, result) = disk.write(0, Pages::new(len).unwrap()).await;
            assert_eq!(
                (pages.len(), result),
                (len, Err(IoError::Misaligned { sector: 0, len }))
            );
        }
    });
}

#[test]
fn large_sectors_are_read_whole() {
    let medium = Medium::new(MIB).with_sector_size(4096);
    with_disk(Config::default(), &medium, async |disk, _| {
        let new = junk(2, 3 * 4096);
        write(disk, 8, &new).await;
        assert_eq!(read(disk, 8, new.len()).await, new);
        for (sector, len) in [(1, 4096), (0, 512), (8, 4608)] {
            let (_, result) = disk.read(sector, Pages::new(len).unwrap()).await;
            assert_eq!(result, Err(IoError::Misaligned { sector, len }));
        }
    });
}

#[test]
fn a_read_only_disk_is_only_read() {
    let medium = Medium::from_bytes(&junk(3, 64 << 10)).read_only();
    with_disk(Config::default(), &medium, async |disk, vbd| {
        assert!(disk.geometry().read_only && !disk.geometry().discard);
        assert_eq!(read(disk, 0, 64 << 10).await, junk(3, 64 << 10));
        let (pages, result) = disk.write(0, pages(&[7; 512])).await;
        assert_eq!(
            (bytes(&pages), result),
            (vec![7; 512], Err(IoError::ReadOnly))
        );
        assert_eq!(disk.discard(0, 1).await, Err(IoError::ReadOnly));
        assert_eq!(disk.flush().await, Ok(()), "nothing was written");
        assert_eq!((vbd.counts().writes, vbd.counts().flushes), (0, 0));
    });
}

/// How a flush was done, with what is offered and refused.
fn flushed(flush: bool, barrier: bool, refused: &[u8]) -> (u64, u64) {
    let config = Config {
        flush,
        barrier,
        refused: refused.to_vec(),
        ..Config::default()
    };
    let medium = Medium::new(MIB);
    with_disk(config, &medium, async |disk, vbd| {
        write(disk, 0, &[1; 512]).await;
        for _ in 0..3 {
            assert_eq!(disk.flush().await, Ok(()));
        }
        (vbd.counts().flushes, vbd.counts().barriers)
    })
}

#[test]
fn flushes_go_the_way_there_is() {
    assert_eq!(flushed(true, true, &[]), (3, 0));
    assert_eq!(flushed(false, true, &[]).1, 3);
    assert_eq!(flushed(false, false, &[]), (0, 0));
    assert_eq!(flushed(true, true, &[OP_FLUSH]).1, 3, "barriers instead");
    let none = flushed(true, true, &[OP_FLUSH, OP_WRITE_BARRIER]);
    assert!(none.0 <= 1 && none.1 <= 1, "asked no more: {none:?}");
}

#[test]
fn flushes_of_many_callers_are_one_and_keep_what_was_written() {
    let medium = Medium::new(MIB);
    with_disk(Config::default(), &medium, async |disk, vbd| {
        write(disk, 16, &[7; 512]).await;
        let all: Vec<_> = (0..50).map(|_| disk.flush()).collect();
        for flush in all {
            flush.await.unwrap();
        }
        assert_eq!((vbd.counts().flushes, disk.stats().flushes), (1, 50));
    });
    medium.cut(1);
    assert_eq!(medium.bytes()[16 * 512..17 * 512], [7; 512]);
}

#[test]
fn discards() {
    let medium = Medium::from_bytes(&[9; 1 << 20]);
    let seen = medium.clone();
    with_disk(Config::default(), &medium, async move |disk, vbd| {
        assert_eq!(disk.discard(8, 1024).await, Ok(()));
        assert_eq!(vbd.counts().discards, 1);
        let bytes = seen.bytes();
        assert!(
            bytes[..4096].iter().all(|b| *b == 9) && bytes[1032 * 512..].iter().all(|b| *b == 9)
        );
        assert!(bytes[4096..1032 * 512].iter().any(|b| *b != 9));
        let beyond = disk.discard(0, 2049).await;
        assert!(matches!(beyond, Err(IoError::OutOfRange { .. })));
        let beyond = disk.discard(0, u64::MAX).await;
        assert!(matches!(beyond, Err(IoError::OutOfRange { .. })));
    });
    for (discard, refused) in [(false, vec![]), (true, vec![OP_DISCARD])] {
        let config = Config {
            discard,
            refused,
            ..Config::default()
        };
        with_disk(config, &medium, async move |disk, vbd| {
            for _ in 0..3 {
                assert_eq!(disk.discard(8, 1024).await, Ok(()), "it is not missed");
            }
            assert!(!disk.geometry().discard);
            assert!(vbd.counts().discards <= 1);
        });
    }
}
