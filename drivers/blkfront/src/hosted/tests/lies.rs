//! Each lie that a backend can tell by itself, and then strings of them.

use super::*;
use crate::hosted::fuzz;
use crate::hosted::hostile::{self, Hostile, Ring, grants};
use crate::proto::{Request, Response};
use crate::{BlockDevice, Disk, Error, IoError, Lie, Link, Why};
use core::future::{Future, poll_fn};
use proptest::prelude::*;
use std::pin::pin;
use std::task::Poll;
use xenlet_kernel::abi::ring::RSP_PROD;
use xenlet_kernel::page::{self, Pages};
use xenlet_kernel::ring::BogusProducer;
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::timeout;

/// Connects, asks for two reads and a write, lets `tell` do to the ring what it likes, and gives what came of the
/// first read and what the link is then.
async fn after(
    config: Config,
    tell: impl FnOnce(&Hostile),
) -> (Disk, Option<Result<(), IoError>>, Link) {
    let number = config.number;
    let blkback = hostile::attach(config, Vec::new());
    let disk = Disk::connect(number).await.unwrap();
    let read = |sector, len| {
        let disk = disk.clone();
        spawn(async move { disk.read(sector, Pages::new(len).unwrap()).await })
    };
    let (first, other) = (read(0, 8192), read(800, 512));
    let write = {
        let disk = disk.clone();
        spawn(async move { disk.write(80, Pages::new(4096).unwrap()).await })
    };
    sleep(Duration::from_millis(1)).await;
    tell(&blkback);
    let answer = timeout(Duration::from_secs(1), first).await.ok();
    let link = disk.link();
    let answer = answer.map(|(pages, result)| {
        assert_eq!(pages.len(), 8192, "pages come back");
        result
    });
    if link != Link::Up {
        let (pages, result) = other.await;
        assert_eq!((pages.len(), result), (512, Err(IoError::Gone)));
        assert_eq!(write.await.0.len(), 4096);
    }
    (disk, answer, link)
}

/// The same, when it is a lie: the disk is closed, one line says why, whoever waits is told, nothing is lost, and it can
/// be connected again.
fn lie_to(config: Config, told: Lie, lost: usize, tell: impl FnOnce(&Hostile) + Send + 'static) {
    hosted::test(async move || {
        let number = config.number;
        let (disk, answer, link) = after(config, tell).await;
        assert_eq!(link, Link::Down(Why::Lied(told)));
        assert!(
            matches!(answer, Some(Ok(()) | Err(IoError::Gone))),
            "{answer:?}"
        );
        let (pages, result) = disk.write(0, Pages::new(4096).unwrap()).await;
        assert_eq!((pages.len(), result), (4096, Err(IoError::Gone)));
        assert_eq!(disk.flush().await, Err(IoError::Gone));
        disk.close().await;
        let line = format!("vbd51712: the backend broke the protocol: {told}");
        let lines = hosted::console_text();
        assert_eq!(
            lines.matches("broke the protocol").count(),
            lines.matches(&line).count()
        );
        assert_eq!(
            (lines.matches(&line).count(), page::leaked()),
            (1, lost),
            "{lines}"
        );
        let disk = Disk::connect(number).await.unwrap();
        assert_eq!(disk.link(), Link::Up, "it can be connected again");
    });
}

fn without_pool() -> Config {
    Config {
        persistent: false,
        ..Config::default()
    }
}

#[track_caller]
fn lie(told: Lie, tell: impl FnOnce(&mut Ring) + Clone + Send + 'static) {
    for config in [Config::default(), without_pool(), Config::bare()] {
        let tell = tell.clone();
        lie_to(config, told, 0, move |blkback| blkback.device().tell(tell));
    }
}

/// Not a lie: the disk stays up, and the answer to the first read.
fn no_lie(tell: impl FnOnce(&mut Ring) + Send + 'static) -> Option<Result<(), IoError>> {
    hosted::test(async move || {
        let (_disk, answer, link) =
            after(without_pool(), |blkback| blkback.device().tell(tell)).await;
        assert_eq!(link, Link::Up);
        answer
    })
}

/// Answers a request that was never made, or one that was with these fields.
fn respond(id: u64, operation: u8, status: i16) -> impl FnOnce(&mut Ring) + Clone + Send + 'static {
    move |ring| {
        ring.back.push(&Response {
            id,
            operation,
            status,
        });
    }
}

#[test]
fn ids() {
    // The driver's ids are its own business; none of these is one of the first three.
    for id in [3, 4, 31, 32, 127, 128, 1 << 32, u64::MAX, u64::MAX - 127] {
        hosted::test(async move || {
            let (_, _, link) = after(Config::default(), |blkback| {
                blkback.device().tell(|ring| {
                    assert!(ring.asked.iter().all(|request| request.id() != id), "{id}");
                    respond(id, proto::OP_READ, RSP_OKAY)(ring);
                });
            })
            .await;
            assert_eq!(link, Link::Down(Why::Lied(Lie::Id(id))));
        });
    }
}

#[test]
fn an_answer_is_given_once() {
    for config in [Config::default(), without_pool()] {
        hosted::test(async move || {
            let mut id = 0;
            let (_, answer, link) = after(config, |blkback| {
                blkback.device().tell(|ring| {
                    let request = ring
                        .asked
                        .iter()
                        .find(|r| at_sector(r, 0))
                        .copied()
                        .unwrap();
                    id = request.id();
                    ring.answer(&request, |_| {});
                    ring.answer(&request, |_| {});
                });
            })
            .await;
            assert_eq!(answer, Some(Ok(())), "the first one was right");
            assert_eq!(link, Link::Down(Why::Lied(Lie::Id(id))));
        });
    }
}

fn at_sector(request: &Request, sector: u64) -> bool {
    matches!(request, Request::Direct(direct) if direct.sector == sector)
}

fn first(
    change: impl FnOnce(&mut Response) + Clone + Send + 'static,
) -> impl FnOnce(&mut Ring) + Clone + Send + 'static {
    move |ring| {
        let first = ring.asked.iter().position(|r| at_sector(r, 0)).unwrap();
        let request = ring.asked.remove(first).unwrap();
        ring.answer(&request, change);
    }
}

#[test]
fn operations_and_statuses() {
    for said in [
        proto::OP_WRITE,
        proto::OP_FLUSH,
        proto::OP_INDIRECT,
        77,
        255,
    ] {
        let asked = proto::OP_READ;
        lie(
            Lie::Operation { asked, said },
            first(move |response| response.operation = said),
        );
    }
    for status in [1, -3, i16::MAX, i16::MIN] {
        lie(
            Lie::Status(status),
            first(move |response| response.status = status),
        );
    }
    assert_eq!(no_lie(first(|_| {})), Some(Ok(())));
    let failed = no_lie(first(|response| response.status = RSP_ERROR));
    assert_eq!(failed, Some(Err(IoError::Failed)));
    let failed = no_lie(first(|response| response.status = RSP_EOPNOTSUPP));
    assert_eq!(failed, Some(Err(IoError::Unsupported)));
    assert_eq!(no_lie(|_| {}), None, "no answer is no lie");
}

#[test]
fn producers() {
    for prod in [4, 33, 1 << 16, u32::MAX, u32::MAX / 2] {
        lie(
            Lie::Producer(BogusProducer {
                prod,
                cons: 0,
                outstanding: 3,
            }),
            move |ring| ring.back.pages()[0].as_ref().store_release(RSP_PROD, prod),
        );
    }
}

#[test]
fn a_page_that_is_kept() {
    // Without persistent grants it is a lie, and the page is lost until the backend lets go: here when it is closed.
    lie_to(without_pool(), Lie::PageKept, 1, |blkback| {
        let kept = blkback.device().tell(|ring| {
            let request = ring
                .asked
                .iter()
                .find(|r| at_sector(r, 0))
                .copied()
                .unwrap();
            grants(&request)[1]
        });
        blkback.keep(kept);
        blkback.device().tell(first(|_| {}));
    });
    // With them it is what both agreed on.
    hosted::test(async || {
        let (disk, answer, link) = after(Config::default(), |blkback| {
            let kept = blkback
                .device()
                .tell(|ring| ring.asked.iter().flat_map(grants).collect::<Vec<_>>());
            kept.into_iter().for_each(|gref| blkback.keep(gref));
            blkback.device().tell(first(|_| {}));
        })
        .await;
        assert_eq!((answer, link), (Some(Ok(())), Link::Up));
        disk.close().await;
        assert_eq!(page::leaked(), 0);
    });
}

#[test]
fn events_without_end() {
    hosted::test(async || {
        let blkback = hostile::attach(Config::default(), vec![6; 20_000]);
        let disk = Disk::connect(51712).await.unwrap();
        let began = now();
        sleep(Duration::from_millis(5)).await;
        assert!(began.elapsed() >= Duration::from_millis(5), "time goes on");
        while !blkback.done() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(disk.link(), Link::Up);
    });
}

/// What is in the ring and in a page after it was answered is nothing to the guest.
#[test]
fn writing_later_changes_nothing() {
    for persistent in [true, false] {
        hosted::test(async move || {
            let config = Config {
                persistent,
                ..Config::default()
            };
            let blkback = hostile::attach(config, Vec::new());
            let disk = Disk::connect(51712).await.unwrap();
            let mut read = pin!(disk.read(0, Pages::new(4096).unwrap()));
            let _ = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
            sleep(Duration::from_millis(1)).await;
            let gref = blkback.device().tell(|ring| {
                // Over its request, which the guest must not read again.
                ring.back.pages()[0].as_ref().write(64, &[0xff; 112]);
                let request = ring.asked.pop_front().unwrap();
                let gref = grants(&request)[0];
                hosted::map_grant(gref, true)
                    .unwrap()
                    .as_ref()
                    .write(0, &[5; 4096]);
                ring.answer(&request, |_| {});
                gref
            });
            let (pages, result) = read.await;
            result.unwrap();
            if let Ok(page) = hosted::map_grant(gref, true) {
                assert!(persistent, "the grant has ended");
                page.as_ref().write(0, &[6; 4096]);
            }
            assert!(pages.chunks().flatten().all(|byte| *byte == 5));
        });
    }
}

#[test]
fn nonsense_about_the_disk() {
    let said = |key, value| {
        hosted::test(async move || {
            let config = Config {
                says: vec![(key, value)],
                ..Config::default()
            };
            attach(config, &Medium::new(MIB));
            let disk = Disk::connect(51712).await?;
            let (pages, _) = disk.read(0, Pages::new(4096).unwrap()).await;
            assert_eq!(pages.len(), 4096);
            Ok::<_, Error>((disk.geometry(), disk.features()))
        })
    };
    let connect = |key, value| said(key, Some(value));
    assert!(said("sectors", None).is_err());
    assert_eq!(said("sector-size", None).unwrap().0.sector_size, 512);
    assert_eq!(said("mode", None).unwrap().0, said("info", None).unwrap().0);
    assert!(connect("mode", "r").unwrap().0.read_only);
    assert!(connect("info", "4").unwrap().0.read_only);
    for value in [
        "0",
        "1",
        "3",
        "256",
        "511",
        "513",
        "8192",
        "4294967808",
        "-512",
        "x",
        "",
    ] {
        let error = connect("sector-size", value).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::BadOffer {
                    key: "sector-size",
                    ..
                }
            ),
            "{value}: {error}"
        );
        assert!(error.to_string().contains(value), "{error}");
    }
    for value in ["18446744073709551615", "36028797018963968", "-1", "x", ""] {
        let error = connect("sectors", value).unwrap_err();
        assert!(
            matches!(&error, Error::BadOffer { key: "sectors", .. }),
            "{value}: {error}"
        );
    }
    assert_eq!(connect("sectors", "0").unwrap().0.sectors, 0);
    assert_eq!(
        connect("sectors", "36028797018963967").unwrap().0.bytes(),
        u64::MAX - 511
    );
    for value in ["4294967295", "18446744073709551615", "-1", "0", "1"] {
        let segments = connect("feature-max-indirect-segments", value)
            .unwrap()
            .1
            .segments;
        assert!((11..=256).contains(&segments), "{value}: {segments}");
    }
    for value in ["200", "4294967295", "-1", "x"] {
        let pages = connect("max-ring-page-order", value).unwrap().1.ring_pages;
        assert!((1..=16).contains(&pages), "{value}: {pages}");
    }
    for key in [
        "feature-persistent",
        "feature-flush-cache",
        "feature-barrier",
        "feature-discard",
    ] {
        for value in ["2", "-1", "yes", ""] {
            let features = connect(key, value).unwrap().1;
            let has = match key {
                "feature-persistent" => features.persistent,
                "feature-flush-cache" => features.flush_cache,
                "feature-barrier" => features.barrier,
                _ => features.discard.is_some(),
            };
            assert!(!has, "{key} = {value:?}");
        }
    }
    for (key, value) in [
        ("discard-granularity", "18446744073709551615"),
        ("discard-granularity", "3"),
        ("discard-alignment", "1"),
    ] {
        assert_eq!(
            connect(key, value).unwrap().1.discard,
            None,
            "{key} = {value}"
        );
    }
}

#[test]
fn a_backend_that_goes_away() {
    for how in 0..4 {
        hosted::test(async move || {
            let config = Config {
                delay: Duration::from_secs(1),
                ..Config::default()
            };
            let back = config.ends().back();
            let vbd = attach(config, &Medium::new(MIB));
            let disk = Disk::connect(51712).await.unwrap();
            let (write, read) = (
                disk.write(0, Pages::new(4096).unwrap()),
                disk.read(100, Pages::new(512).unwrap()),
            );
            sleep(Duration::from_millis(1)).await;
            match how {
                0 => vbd.vanish(),
                1 => store::write(&format!("{back}/state"), State::Closed.text()),
                2 => store::write(&format!("{back}/state"), "nonsense"),
                _ => store::remove(&format!("{back}/state")),
            }
            for (pages, result) in [write.await, read.await] {
                assert!(!pages.is_empty());
                // One that only says so can be connected again, and does what it was asked.
                let again = how != 0 && disk.link() == Link::Up;
                assert_eq!(
                    result,
                    if again { Ok(()) } else { Err(IoError::Gone) },
                    "{how}"
                );
            }
            let down = matches!(disk.link(), Link::Down(Why::Backend(_)));
            assert!(down || how != 0);
            disk.close().await;
        });
    }
}

proptest! {
    /// Any string of things a backend can do: no panic, no waiting for ever, nothing lost.
    #[test]
    fn any_script(data in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz(&data);
    }
}
