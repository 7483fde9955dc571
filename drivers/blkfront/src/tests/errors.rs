//! Errors of the disk, and of too little room: each is its caller's alone.

use super::*;
use crate::hosted::{Faults, Kind, Nth};
use xenlet_kernel::grant::Access;
use xenlet_kernel::hosted::DOM0;
use xenlet_kernel::page::Page;

#[test]
fn a_failed_request_is_an_error_to_its_caller() {
    for persistent in [false, true] {
        let config = Config {
            persistent,
            faults: Faults {
                fail: Some(Nth::of(Kind::Read, 1)),
                in_order: true,
                ..Faults::default()
            },
            ..Config::default()
        };
        let medium = Medium::new(MIB);
        with_disk(config, &medium, async |disk, _| {
            let results: Vec<_> = (0..3_u64)
                .map(|i| disk.read(i * 64, Pages::new(PAGE_SIZE).unwrap()))
                .collect();
            let mut said = Vec::new();
            for answer in results {
                let (pages, result) = answer.await;
                assert_eq!(pages.len(), PAGE_SIZE);
                said.push(result);
            }
            assert_eq!(said, [Ok(()), Err(IoError::Failed), Ok(())]);
        });
    }
}

#[test]
fn of_merged_requests_that_fail_each_is_tried_by_itself() {
    // The merged one fails, and of those by themselves the second.
    let config = |second| Config {
        faults: Faults {
            fail: Some(Nth::of(Kind::Write, second)),
            in_order: true,
            ..Faults::default()
        },
        ..Config::default()
    };
    let medium = Medium::new(MIB);
    with_disk(config(0), &medium, async |disk, vbd| {
        let all: Vec<_> = (0..5_u64)
            .map(|i| disk.write(i * 8, pages(&[i as u8; PAGE_SIZE])))
            .collect();
        for answer in all {
            assert_eq!(answer.await.1, Ok(()));
        }
        assert_eq!((vbd.counts().writes, vbd.counts().failed), (6, 1));
        for i in 0..5 {
            assert_eq!(read(disk, i * 8, PAGE_SIZE).await, [i as u8; PAGE_SIZE]);
        }
    });
}

#[test]
fn with_many_errors_everybody_gets_an_answer() {
    for seed in 0..20 {
        let config = Config {
            persistent: seed % 2 == 0,
            indirect: [0, 256][seed as usize / 2 % 2],
            faults: Faults {
                seed,
                fail_one_in: 4,
                ..Faults::default()
            },
            ..Config::default()
        };
        let medium = Medium::new(4 * MIB);
        with_disk(config, &medium, async move |disk, _| {
            let mut dice = Dice::new(seed);
            let (mut good, mut bad) = (0, 0);
            for _ in 0..10 {
                let all: Vec<_> = (0..40_u64)
                    .map(|i| {
                        let len = (1 + dice.below(16) as usize) * SECTOR;
                        disk.write(i * 16, pages(&vec![i as u8; len]))
                    })
                    .collect();
                for answer in all {
                    match answer.await.1 {
                        Ok(()) => good += 1,
                        Err(IoError::Failed) => bad += 1,
                        Err(e) => panic!("{e}"),
                    }
                }
            }
            assert!(good > 100 && bad > 20, "{good} {bad}");
        });
    }
}

#[test]
fn a_flush_that_fails_says_so_to_all_who_wait_for_it() {
    let config = Config {
        faults: Faults {
            fail: Some(Nth::of(Kind::Flush, 0)),
            ..Faults::default()
        },
        ..Config::default()
    };
    let medium = Medium::new(MIB);
    with_disk(config, &medium, async |disk, vbd| {
        let (first, second) = (disk.flush(), disk.flush());
        assert_eq!(
            (first.await, second.await),
            (Err(IoError::Failed), Err(IoError::Failed))
        );
        assert_eq!(
            vbd.counts().flushes,
            1,
            "it is not tried again: what it lost is lost"
        );
        assert_eq!(disk.flush().await, Ok(()));
    });
}

#[test]
fn without_a_grant_left_a_request_waits_or_says_so() {
    let config = Config {
        delay: Duration::from_millis(5),
        ..Config::bare()
    };
    let medium = Medium::from_bytes(&junk(4, 1 << 20));
    with_disk(config, &medium, async |disk, _| {
        let mut taken = Vec::new();
        while let Ok(page) = Page::new().unwrap().share(DOM0, Access::ReadOnly) {
            taken.push(page);
        }
        let (pages, result) = disk.read(0, Pages::new(PAGE_SIZE).unwrap()).await;
        assert_eq!(
            (pages.len(), result),
            (PAGE_SIZE, Err(IoError::OutOfMemory))
        );
        // With a few they are done one after the other.
        taken.truncate(taken.len() - 3);
        let all: Vec<_> = (0..64_u64)
            .map(|i| (i, disk.read(i * 32, Pages::new(3 * PAGE_SIZE).unwrap())))
            .collect();
        for (i, answer) in all {
            let (pages, result) = answer.await;
            result.unwrap();
            let at = i as usize * 32 * SECTOR;
            assert!(bytes(&pages) == junk(4, 1 << 20)[at..at + 3 * PAGE_SIZE]);
        }
        assert!(disk.stats().short > 0);
    });
}
