//! The entry for fuzzers: a guest that does what guests do, with a blkback that does what `data` says.

use super::config::Config;
use super::hostile;
use crate::{BlockDevice, Disk, IoError, Link, SECTOR};
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::hosted::hostile::Held;
use xenlet_kernel::hosted::{self, mark_secret};
use xenlet_kernel::page::{OutOfPages, Pages};
use xenlet_kernel::time::{Duration, sleep, timeout};

/// How often the guest connects again after the disk was gone.
const LIVES: usize = 3;

/// Runs a guest against a hostile blkback that does what `data` says.
///
/// # Panics
/// If the guest does, if it waits for ever, if it says more than one line for a lie, if a request's pages don't come
/// back, or if anything is lost to it beyond what the blkback still holds: that is what a fuzzer looks for.
pub fn fuzz(data: &[u8]) {
    let data = data.to_vec();
    hosted::test(async move || {
        // The domain's own watches are set by now.
        sleep(Duration::from_millis(1)).await;
        let before = Held::now();
        let (features, script) = match data.split_first() {
            Some((first, script)) => (*first, script.to_vec()),
            None => (0, Vec::new()),
        };
        let offered = |bit: u8| features & (1 << bit) == 0;
        let config = Config {
            indirect: if offered(0) { 256 } else { 0 },
            persistent: offered(1),
            ring_order: if offered(2) { 4 } else { 0 },
            flush: offered(3),
            barrier: offered(4),
            discard: offered(5),
            early: offered(6),
            ..Config::default()
        };
        let number = config.number;
        let blkback = hostile::attach(config, script);
        for life in 0..LIVES {
            if let Ok(disk) = Disk::connect(number).await {
                live(&disk, &blkback, life == 0 && !offered(7)).await;
                if life % 2 == 0 {
                    disk.close().await;
                }
            }
            // A disk that was dropped is closed in the background.
            sleep(Duration::from_secs(60)).await;
        }
        blkback.assert_nothing_lost(&before, LIVES);
    });
}

/// Requests of all kinds, until the disk is gone or nothing is answered any more; perhaps the domain is restored meanwhile.
async fn live(disk: &Disk, blkback: &hostile::Hostile, restored: bool) {
    for turn in 0..50_u64 {
        if restored && turn == 1 {
            blkback.restore();
        }
        let mut requests: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        for i in 0..8_u64 {
            let sector = (turn * 997 + i * 64) % 4096 * 8;
            let sectors = (1 << ((turn + i) % 12)) + turn % 3;
            requests.push(match (turn + i) % 8 {
                0 => Box::pin(done(disk.flush())),
                1 => Box::pin(done(disk.discard(sector, sectors))),
                2..5 => Box::pin(back(sectors, false, move |pages| disk.read(sector, pages))),
                _ => Box::pin(back(sectors, true, move |pages| disk.write(sector, pages))),
            });
        }
        let all = poll_fn(|cx| {
            requests.retain_mut(|request| request.as_mut().poll(cx).is_pending());
            match requests.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        // What is not answered in time is dropped.
        let answered = timeout(Duration::from_millis(10), all).await;
        if disk.link() != Link::Up || (answered.is_err() && blkback.done()) {
            break;
        }
    }
}

async fn done(request: impl Future<Output = Result<(), IoError>>) {
    let _ = request.await;
}

/// Pages full of secrets, but for `len` bytes if these are to be written: nothing else may the backend ever see.
fn secret(len: usize, written: bool) -> Result<Pages, OutOfPages> {
    let mut pages = Pages::new(len.next_multiple_of(PAGE_SIZE))?;
    pages.chunks_mut().for_each(mark_secret);
    pages.resize(len)?;
    if written {
        pages.chunks_mut().for_each(|chunk| chunk.fill(2));
    }
    Ok(pages)
}

/// Pages that go with a request and must come back.
async fn back<F>(sectors: u64, written: bool, request: impl FnOnce(Pages) -> F)
where
    F: Future<Output = (Pages, Result<(), IoError>)>,
{
    let len = usize::try_from(sectors).unwrap_or(1) * SECTOR;
    let Ok(pages) = secret(len, written) else {
        return;
    };
    let (pages, _) = request(pages).await;
    assert_eq!(pages.len(), len, "pages did not come back");
}
