//! What is read when, and how much is kept, with a disk that takes its time.
#![cfg(not(xenlet = "unix"))]

use super::*;
use crate::Geometry;
use core::slice::from_ref;
use xenlet_kernel::hosted;
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, sleep};

/// Pages of the disk, the last of them half.
const PAGES: u64 = 1000;

/// A disk whose pages say which they are, and that remembers what was asked for.
#[derive(Default)]
struct Slow {
    asked: RefCell<Vec<Range<u64>>>,
    /// Pages in flight, now and at most.
    flying: Cell<(u64, u64)>,
    fails: Cell<bool>,
}

/// One half of it for the cache, the other for the test.
struct Handle(Rc<Slow>);

impl core::ops::Deref for Handle {
    type Target = Slow;

    fn deref(&self) -> &Slow {
        &self.0
    }
}

impl BlockDevice for Handle {
    fn geometry(&self) -> Geometry {
        Geometry {
            sectors: PAGES * 8 - 4,
            sector_size: 512,
            read_only: true,
            discard: false,
        }
    }

    async fn read(&self, sector: u64, mut pages: Pages) -> (Pages, Result<(), IoError>) {
        let result = self.geometry().check(sector, pages.len());
        let first = sector / 8;
        let count = pages.chunks().len() as u64;
        self.asked.borrow_mut().push(first..first + count);
        let (now, most) = self.flying.get();
        self.flying.set((now + count, most.max(now + count)));
        sleep(Duration::from_millis(5)).await;
        let (now, most) = self.flying.get();
        self.flying.set((now - count, most));
        for (index, page) in pages.chunks_mut().enumerate() {
            page[..8].copy_from_slice(&(first + index as u64).to_le_bytes());
        }
        if self.fails.get() {
            return (pages, Err(IoError::Failed));
        }
        (pages, result)
    }

    async fn write(&self, _sector: u64, pages: Pages) -> (Pages, Result<(), IoError>) {
        (pages, Err(IoError::ReadOnly))
    }

    async fn flush(&self) -> Result<(), IoError> {
        Ok(())
    }

    async fn discard(&self, _sector: u64, _sectors: u64) -> Result<(), IoError> {
        Ok(())
    }
}

fn cache(pages: usize) -> (Rc<Slow>, Rc<Cache<Handle>>) {
    let disk = Rc::new(Slow::default());
    let cache = Cache::new(Handle(Rc::clone(&disk)), pages * PAGE_SIZE).unwrap();
    (disk, Rc::new(cache))
}

async fn get(cache: &Cache<Handle>, index: u64, next: u64) {
    let cached = cache.page(index, next).await.unwrap();
    assert_eq!(cached.bytes()[..8], index.to_le_bytes());
    let (used, limit) = cache.usage();
    assert!(used <= limit, "{used} of {limit}");
}

#[test]
fn a_page_is_read_once_and_what_follows_with_it() {
    hosted::test(async || {
        let (disk, cache) = cache(64);
        get(&cache, 5, 3).await;
        for index in [5, 6, 7, 8] {
            get(&cache, index, 10).await;
        }
        assert_eq!(disk.asked.borrow().as_slice(), from_ref(&(5..9)));
        // Up to what is there, up to a quarter of the cache, and up to the disk's end.
        get(&cache, 3, 10).await;
        get(&cache, 20, u64::MAX).await;
        get(&cache, PAGES - 1, 0).await;
        assert_eq!(disk.asked.borrow()[1..], [3..5, 20..36, 999..1000]);
        assert_eq!(
            cache.page(PAGES, 0).await.unwrap_err(),
            IoError::OutOfRange {
                sector: PAGES * 8,
                len: PAGE_SIZE
            }
        );
    });
}

#[test]
fn many_who_want_one_page_wait_for_one_request() {
    hosted::test(async || {
        let (disk, cache) = cache(16);
        let mut tasks = Vec::new();
        for _ in 0..50 {
            let cache = Rc::clone(&cache);
            tasks.push(spawn(async move { get(&cache, 7, 0).await }));
        }
        for task in tasks {
            task.await;
        }
        assert_eq!(disk.asked.borrow().as_slice(), from_ref(&(7..8)));
    });
}

#[test]
fn many_who_want_different_pages_get_them_all_within_bounds() {
    hosted::test(async || {
        let (disk, cache) = cache(8);
        let mut tasks = Vec::new();
        for index in 0..200 {
            let cache = Rc::clone(&cache);
            tasks.push(spawn(async move {
                for turn in 0..3 {
                    get(&cache, (index * 7 + turn * 13) % PAGES, index % 4).await;
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        let (now, most) = disk.flying.get();
        assert_eq!(now, 0);
        assert!(most <= 8, "{most} pages in flight at once");
    });
}

#[test]
fn a_file_read_once_does_not_drive_out_what_is_used_again() {
    hosted::test(async || {
        let (disk, cache) = cache(32);
        for _ in 0..3 {
            for index in 900..904 {
                get(&cache, index, 0).await;
            }
        }
        for index in 0..500 {
            get(&cache, index, 499 - index).await;
            if index % 10 == 0 {
                for index in 900..904 {
                    get(&cache, index, 0).await;
                }
            }
        }
        let asked = disk.asked.borrow();
        let again = asked.iter().filter(|range| range.start >= 900).count();
        assert_eq!(again, 4);
        let pages: u64 = asked.iter().map(|range| range.end - range.start).sum();
        assert_eq!(pages, 504, "nothing is read twice");
    });
}

#[test]
fn who_stops_waiting_or_fails_leaves_nothing_behind() {
    hosted::test(async || {
        let (disk, cache) = cache(8);
        let task = {
            let cache = Rc::clone(&cache);
            spawn(async move { get(&cache, 1, 3).await })
        };
        sleep(Duration::from_millis(1)).await;
        let other = {
            let cache = Rc::clone(&cache);
            spawn(async move { get(&cache, 1, 0).await })
        };
        sleep(Duration::from_millis(1)).await;
        assert_eq!(cache.usage().0, 2 * PAGE_SIZE);
        task.cancel();
        other.await;
        assert_eq!(cache.usage().0, PAGE_SIZE);

        disk.fails.set(true);
        assert_eq!(cache.page(50, 3).await.unwrap_err(), IoError::Failed);
        assert_eq!(cache.usage().0, PAGE_SIZE);
        disk.fails.set(false);
        get(&cache, 50, 3).await;
    });
}

#[test]
fn a_held_page_stays_what_it_was() {
    hosted::test(async || {
        let (_, cache) = cache(8);
        let held = cache.page(3, 0).await.unwrap();
        for index in 100..150 {
            get(&cache, index, 0).await;
        }
        assert_eq!(held.bytes()[..8], 3u64.to_le_bytes());
    });
}
