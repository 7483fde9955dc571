//! What goes out together, and what is cut up.

use super::*;

#[test]
fn adjacent_requests_of_one_round_are_one_with_one_event() {
    let medium = Medium::from_bytes(&junk(1, 1 << 20));
    with_disk(Config::default(), &medium, async |disk, vbd| {
        let before = vbd.counts();
        let order = (0..256_u64).map(|i| i * 77 % 256 * 8);
        let all: Vec<_> = order
            .map(|sector| (sector, disk.read(sector, Pages::new(PAGE_SIZE).unwrap())))
            .collect();
        for (sector, answer) in all {
            let (pages, result) = answer.await;
            result.unwrap();
            let at = sector as usize * SECTOR;
            assert!(bytes(&pages) == junk(1, 1 << 20)[at..at + PAGE_SIZE]);
        }
        let after = vbd.counts();
        assert_eq!((after.reads - before.reads, after.segments), (1, 256));
        assert_eq!(after.events - before.events, 1, "one event for all of them");
        assert_eq!((disk.stats().reads, disk.stats().requests), (256, 1));
    });
}

#[test]
fn what_is_too_long_is_cut_up() {
    for (indirect, requests) in [(0, 24), (32, 8), (256, 1)] {
        let config = Config {
            indirect,
            ..Config::default()
        };
        let medium = Medium::new(MIB);
        with_disk(config, &medium, async move |disk, vbd| {
            let new = junk(2, 1 << 20);
            write(disk, 0, &new).await;
            assert_eq!(vbd.counts().writes, requests, "{indirect}");
            assert!(read(disk, 0, 1 << 20).await == new);
        });
    }
}

#[test]
fn more_than_the_ring_holds_waits_and_comes() {
    for persistent in [false, true] {
        let config = Config {
            persistent,
            delay: Duration::from_millis(3),
            ..Config::bare()
        };
        let medium = Medium::new(16 * MIB);
        with_disk(config, &medium, async move |disk, vbd| {
            // Every second page, so that nothing is merged.
            let all: Vec<_> = (0..2000_u64)
                .map(|i| (i, disk.write(i * 16, pages(&[i as u8; PAGE_SIZE]))))
                .collect();
            for (i, answer) in all {
                let (pages, result) = answer.await;
                assert_eq!((pages.len(), result), (PAGE_SIZE, Ok(())), "{i}");
            }
            assert_eq!(vbd.counts().deepest, 32, "as many as the ring holds");
            for i in 0..2000 {
                assert_eq!(read(disk, i * 16, 512).await, [i as u8; 512]);
            }
        });
    }
}

#[test]
fn requests_go_on_without_those_who_asked() {
    let medium = Medium::new(MIB);
    let seen = medium.clone();
    with_disk(Config::default(), &medium, async move |disk, _| {
        drop(disk.write(0, pages(&[7; PAGE_SIZE])));
        drop(disk.read(8, Pages::new(PAGE_SIZE).unwrap()));
        drop(disk.flush());
        drop(disk.discard(64, 8));
        // On the ring, and asked for once.
        let mut asked = Box::pin(disk.write(16, pages(&[8; PAGE_SIZE])));
        let once = std::future::poll_fn(|cx| {
            assert!(asked.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        });
        once.await;
        drop(asked);
        assert_eq!(disk.outstanding(), 5);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(disk.outstanding(), 0, "nothing is kept for them");
        assert_eq!(seen.bytes()[..PAGE_SIZE], [7; PAGE_SIZE]);
        assert_eq!(seen.bytes()[2 * PAGE_SIZE..3 * PAGE_SIZE], [8; PAGE_SIZE]);
    });
}
