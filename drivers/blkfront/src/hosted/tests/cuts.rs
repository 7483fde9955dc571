//! A counter on a disk, through a thousand power cuts: what was acknowledged is there.

use super::*;
use crate::{BlockDevice, Disk};
use std::cell::Cell;
use xenlet_kernel::page::Pages;

/// Counts on `medium` until the power is cut at request `number`, and gives the number that was found, and the last one
/// that was acknowledged; `None` if it was cut before.
fn count(medium: &Medium, seed: u64, number: u64, config: Config) -> Option<(u64, u64)> {
    let medium = medium.clone();
    hosted::test(async move || {
        let config = Config {
            faults: Faults {
                seed,
                cut: Some(Nth::any(number)),
                ..Faults::default()
            },
            ..config
        };
        attach(config.clone(), &medium);
        let seen = Cell::new(None);
        let life = async {
            let disk = Disk::connect(config.number).await.unwrap();
            let found = newest(&disk).await;
            for value in found + 1.. {
                seen.set(Some((found, value - 1)));
                let mut pages = Pages::new(SECTOR).unwrap();
                pages.write_at(0, &value.to_le_bytes());
                disk.write(value % 2, pages).await.1.unwrap();
                disk.flush().await.unwrap();
            }
        };
        medium.until_cut(life).await;
        seen.get()
    })
}

/// The larger of the two numbers on the disk: the other one may be half written.
async fn newest(disk: &Disk) -> u64 {
    let (pages, result) = disk.read(0, Pages::new(2 * SECTOR).unwrap()).await;
    result.unwrap();
    let at = |sector: usize| {
        let mut bytes = [0; 8];
        pages.read_at(sector * SECTOR, &mut bytes);
        u64::from_le_bytes(bytes)
    };
    at(0).max(at(1))
}

#[test]
fn a_thousand_cuts() {
    for config in [
        Config::default(),
        Config {
            flush: false,
            ..Config::default()
        },
    ] {
        let medium = Medium::new(MIB);
        let mut last = 0;
        for seed in 0..500 {
            if let Some((found, acknowledged)) = count(&medium, seed, seed % 23, config.clone()) {
                assert!(found >= last, "seed {seed}: {found} after {last}");
                last = acknowledged;
            }
        }
        assert!(last > 500, "it came to {last}");
    }
}

#[test]
fn the_same_seed_is_the_same_image() {
    let image = |seed| {
        let medium = Medium::new(4 * SECTOR as u64);
        let config = Config {
            delay: Duration::from_millis(1),
            ..Config::default()
        };
        count(&medium, seed, 30 + seed, config);
        medium.bytes()
    };
    for seed in 0..20 {
        assert_eq!(image(seed), image(seed), "seed {seed}");
    }
}

/// Without a flush nothing is promised, and the test would know.
#[test]
fn a_backend_without_a_flush_loses_what_was_acknowledged() {
    let medium = Medium::new(MIB);
    let mut last = 0;
    let lost = (0..200).any(|seed| {
        count(&medium, seed, 9, Config::bare()).is_some_and(|(found, acknowledged)| {
            let before = core::mem::replace(&mut last, acknowledged);
            found < before
        })
    });
    assert!(lost);
}
