//! The backend: what it offers and does, and what it does not let pass.

use super::*;
use crate::block::SECTOR;
use crate::proto::{self, Direct, Discard, Indirect, RSP_EOPNOTSUPP, RSP_ERROR, RSP_OKAY, Segment};
use front::{Front, page};
use xenlet_kernel::addr::{DomId, GrantRef, PAGE_SIZE};
use xenlet_kernel::grant::Access;
use xenlet_kernel::hosted::{self, store};
use xenlet_kernel::page::Page;
use xenlet_kernel::time::{Duration, now, sleep};

mod cuts;
mod front;
mod lies;
mod random;
mod strict;
mod trusted;

const MIB: u64 = 1 << 20;

#[test]
fn what_is_offered_and_when() {
    let offers = |config: Config, medium: Medium| {
        hosted::test(async move || {
            attach(config.clone(), &medium);
            sleep(Duration::from_millis(1)).await;
            let at = |key: &str| store::read(&format!("{}/{key}", config.ends().back()));
            assert_eq!(at("state").as_deref(), Some("2"));
            let waiting = at("feature-flush-cache");
            let front = Front::connect(&config, None).await;
            let keys = [
                "feature-max-indirect-segments",
                "max-ring-page-order",
                "feature-persistent",
                "feature-flush-cache",
                "feature-barrier",
                "feature-discard",
                "sectors",
                "sector-size",
                "info",
                "mode",
            ];
            drop(front);
            (waiting, keys.map(|key| at(key).unwrap_or_default()))
        })
    };
    let medium = Medium::new(MIB + 100);
    let (waiting, keys) = offers(Config::default(), medium.clone());
    assert_eq!(waiting, None, "Linux says that later");
    assert_eq!(
        keys,
        ["256", "4", "1", "1", "1", "1", "2048", "512", "0", "w"]
    );
    let early = Config {
        early: true,
        ..Config::default()
    };
    assert_eq!(offers(early, medium).0.as_deref(), Some("1"));
    let odd = Medium::new(MIB).with_sector_size(4096).read_only();
    let keys = offers(Config::bare(), odd).1;
    assert_eq!(keys, ["", "", "0", "0", "0", "", "2048", "4096", "4", "r"]);
}

#[test]
fn reads_writes_and_the_rest() {
    for order in [None, Some(0), Some(2), Some(4)] {
        let medium = Medium::new(MIB);
        let see = medium.clone();
        hosted::test(async move || {
            let config = Config::default();
            let vbd = attach(config.clone(), &medium);
            let mut front = Front::connect(&config, order).await;
            let (one, two) = (page(1), page(2));
            let both = [segment(&one, 0, 7), segment(&two, 3, 4)];
            assert_eq!(front.ask(direct(proto::OP_WRITE, 8, &both)).await, RSP_OKAY);
            assert_eq!(front.ask(direct(proto::OP_FLUSH, 0, &[])).await, RSP_OKAY);
            assert_eq!(
                front
                    .ask(direct(proto::OP_WRITE_BARRIER, 100, &both[1..]))
                    .await,
                RSP_OKAY
            );
            assert_eq!(
                front.ask(direct(proto::OP_WRITE_BARRIER, 0, &[])).await,
                RSP_OKAY
            );
            let back = page(0);
            assert_eq!(
                front
                    .ask(direct(proto::OP_READ, 16, &[segment(&back, 2, 3)]))
                    .await,
                RSP_OKAY
            );
            let mut bytes = [9; PAGE_SIZE];
            back.as_ref().read(0, &mut bytes);
            assert_eq!(
                (bytes[1023], bytes[1024], bytes[2047], bytes[2048]),
                (0, 2, 2, 0)
            );
            let discard = proto::Request::Discard(Discard {
                flag: 0,
                handle: 51712,
                id: 7,
                sector: 200,
                sectors: 8,
            });
            assert_eq!(front.ask(discard).await, RSP_OKAY);

            // As many as are offered: 300 segments would take two pages of them.
            let data = page(3);
            let list = page(0);
            let one = segment(&data, 7, 7).emit();
            (0..256).for_each(|i| list.as_ref().write(8 * i, &one));
            let indirect = |operation| {
                proto::Request::Indirect(Indirect {
                    operation,
                    nr_segments: 256,
                    handle: 51712,
                    id: 8,
                    sector: 512,
                    pages: std::array::from_fn(|i| {
                        GrantRef(if i == 0 { list.gref().0 } else { 0 })
                    }),
                })
            };
            assert_eq!(front.ask(indirect(proto::OP_WRITE)).await, RSP_OKAY);
            assert_eq!(front.ask(indirect(proto::OP_READ)).await, RSP_OKAY);
            let counts = vbd.counts();
            assert_eq!((counts.reads, counts.writes, counts.flushes), (2, 2, 1));
            assert_eq!(
                (counts.barriers, counts.discards, counts.indirect),
                (2, 1, 2)
            );
            assert_eq!((counts.segments, counts.failed), (2 + 1 + 1 + 512, 0));
            assert_eq!((counts.mapped, counts.persistent), (5, 5), "each page once");
            front.leave().await;
        });
        let bytes = see.bytes();
        let sectors: Vec<u8> = bytes.chunks(SECTOR).map(|sector| sector[0]).collect();
        assert_eq!(sectors[7..19], [0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 0]);
        assert_eq!(sectors[99..103], [0, 2, 2, 0]);
        assert_eq!(sectors[512..769], [[3; 256].as_slice(), &[0]].concat());
    }
}

fn segment(page: &xenlet_kernel::page::SharedPage, first: u8, last: u8) -> Segment {
    Segment {
        gref: page.gref(),
        first,
        last,
    }
}

fn direct(operation: u8, sector: u64, segments: &[Segment]) -> proto::Request {
    let mut all = [Segment::NONE; proto::MAX_SEGMENTS];
    all[..segments.len()].copy_from_slice(segments);
    proto::Request::Direct(Direct {
        operation,
        nr_segments: segments.len() as u8,
        handle: 51712,
        id: u64::MAX - sector,
        sector,
        segments: all,
    })
}

#[test]
fn pages_are_kept_only_where_both_say_so() {
    for (persistent, says, kept) in [(true, "1", true), (true, "0", false), (false, "1", false)] {
        hosted::test(async move || {
            let config = Config {
                persistent,
                most_persistent: 1,
                ..Config::default()
            };
            let vbd = attach(config.clone(), &Medium::new(MIB));
            let mut front = Front::connect_saying(&config, None, says).await;
            let (data, second) = (page(0), page(0));
            for page in [&data, &second] {
                assert_eq!(
                    front
                        .ask(direct(proto::OP_READ, 0, &[segment(page, 0, 7)]))
                        .await,
                    RSP_OKAY
                );
            }
            let data = match data.reclaim() {
                Ok(_) if !kept => None,
                Err(data) if kept => Some(data),
                other => panic!("{kept}: {other:?}"),
            };
            second.reclaim().unwrap();
            assert_eq!(vbd.counts().persistent, usize::from(kept));
            front.leave().await;
            if let Some(data) = data {
                data.reclaim().unwrap();
            }
            assert_eq!(vbd.state(), State::Closed);
        });
    }
}

#[test]
fn a_request_is_refused_or_fails() {
    hosted::test(async || {
        let config = Config {
            refused: vec![proto::OP_FLUSH],
            faults: Faults {
                fail: Some(Nth::of(Kind::Write, 1)),
                ..Faults::default()
            },
            ..Config::default()
        };
        let vbd = attach(config.clone(), &Medium::new(MIB));
        let mut front = Front::connect(&config, None).await;
        let data = page(1);
        let write = direct(proto::OP_WRITE, 0, &[segment(&data, 0, 7)]);
        assert_eq!(
            front.ask(direct(proto::OP_FLUSH, 0, &[])).await,
            RSP_EOPNOTSUPP
        );
        assert_eq!(front.ask(write).await, RSP_OKAY);
        assert_eq!(front.ask(write).await, RSP_ERROR);
        assert_eq!(front.ask(write).await, RSP_OKAY);
        assert_eq!(vbd.counts().failed, 2);
    });
}

/// The order in which writes of one sector each, number `barrier` a barrier, are answered.
fn order(faults: Faults, delay: Duration, barrier: Option<u64>) -> Vec<u64> {
    hosted::test(async move || {
        let config = Config {
            faults,
            delay,
            ..Config::default()
        };
        let began = now();
        attach(config.clone(), &Medium::new(MIB));
        let mut front = Front::connect(&config, None).await;
        let pages: Vec<_> = (0..30).map(page).collect();
        for (i, page) in (0..).zip(&pages) {
            let operation = if barrier == Some(i) {
                proto::OP_WRITE_BARRIER
            } else {
                proto::OP_WRITE
            };
            front.send(direct(operation, i, &[segment(page, 0, 0)]));
        }
        let mut order = Vec::new();
        while order.len() < 30 {
            order.push(u64::MAX - front.answer().await.id);
        }
        assert!(began.elapsed() <= delay * 2 + Duration::from_millis(2));
        assert!(began.elapsed() >= delay / 4);
        order
    })
}

#[test]
fn requests_are_done_in_the_seeds_order() {
    let faults = |seed| Faults {
        seed,
        ..Faults::default()
    };
    let sorted: Vec<u64> = (0..30).collect();
    let in_order = Faults {
        in_order: true,
        ..Faults::default()
    };
    assert_eq!(order(in_order, Duration::ZERO, None), sorted);
    for delay in [Duration::ZERO, Duration::from_millis(100)] {
        let one = order(faults(1), delay, None);
        assert_eq!(
            order(faults(1), delay, None),
            one,
            "the same seed, the same run"
        );
        assert!(one != sorted && one != order(faults(2), delay, None));
        for seed in 0..10 {
            let with = order(faults(seed), delay, Some(15));
            let (before, after) = with.split_at(15);
            assert!(before.iter().all(|i| *i < 15), "before the barrier");
            assert_eq!(after[0], 15);
        }
    }
}

#[test]
fn after_a_cut_there_is_no_answer() {
    for number in 0..10 {
        let medium = Medium::new(MIB);
        hosted::test(async move || {
            let config = Config {
                faults: Faults {
                    seed: number,
                    cut: Some(Nth::any(number)),
                    ..Faults::default()
                },
                ..Config::default()
            };
            attach(config.clone(), &medium);
            let mut front = Front::connect(&config, None).await;
            let data = page(1);
            let mut answers = 0;
            let asking = async {
                for sector in 0..10 {
                    assert_eq!(
                        front
                            .ask(direct(proto::OP_WRITE, sector, &[segment(&data, 0, 0)]))
                            .await,
                        RSP_OKAY
                    );
                    answers += 1;
                }
            };
            assert!(medium.until_cut(asking).await.is_none());
            assert_eq!(answers, number);
        });
    }
}

#[test]
fn the_power_is_cut_while_it_connects() {
    for step in 0..4 {
        let medium = Medium::new(MIB);
        hosted::test(async move || {
            let config = Config {
                cut_connecting: Some(step),
                ..Config::default()
            };
            let vbd = attach(config.clone(), &medium);
            let connected = medium
                .until_cut(Front::connect(&config, None))
                .await
                .is_some();
            assert_eq!(connected, step == 3);
            let states = [
                State::Initialising,
                State::InitWait,
                State::InitWait,
                State::Connected,
            ];
            assert_eq!(vbd.state(), states[step as usize]);
        });
    }
}

#[test]
fn it_leaves_comes_back_and_dies() {
    hosted::test(async || {
        let config = Config::default();
        let vbd = attach(config.clone(), &Medium::new(MIB));
        for _ in 0..3 {
            let mut front = Front::connect(&config, Some(1)).await;
            let data = page(1);
            assert_eq!(
                front
                    .ask(direct(proto::OP_WRITE, 0, &[segment(&data, 0, 0)]))
                    .await,
                RSP_OKAY
            );
            front.leave().await;
            data.reclaim().unwrap();
        }
        let front = Front::connect(&config, None).await;
        vbd.detach();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(
            store::read(&format!("{}/state", config.ends().back())).as_deref(),
            Some("5")
        );
        front.leave().await;
        assert_eq!(store::list(&config.ends().front()), [""; 0]);
        let vbd = attach(config.clone(), &Medium::new(MIB));
        let front = Front::connect(&config, None).await;
        vbd.vanish();
        assert_eq!(store::list(&config.ends().back()), [""; 0]);
        drop(front);
        assert_eq!(xenlet_kernel::page::leaked(), 0);
    });
}

/// A page of the guest's that can only be read.
fn lent(value: u8) -> xenlet_kernel::page::SharedPage {
    let mut page = Page::new().unwrap();
    page.fill(value);
    page.share(DomId(0), Access::ReadOnly).unwrap()
}
