//! The driver and the backend with any features, faults and sizes: every sector is what a model says it may be, while
//! the guest runs and after the power was cut.

use super::*;
use crate::{BlockDevice, Disk};
use proptest::prelude::*;
use std::cell::RefCell;
use xenlet_kernel::page::{self, Pages};
use xenlet_kernel::run::spawn;

/// Tasks that use the disk at once, each its own part of it.
const TASKS: usize = 5;
/// Own sectors of each part.
const PART: usize = 400;
/// What was discarded can be anything.
const ANYTHING: u64 = u64::MAX;

#[derive(Clone, Debug)]
struct Case {
    config: Config,
    sector_size: usize,
    steps: Vec<Step>,
}

/// What one task does: the kind of request, where, how long, in own sectors.
type Step = (u8, usize, usize);

/// What a sector may hold, as the stamps of writes.
#[derive(Clone, Debug)]
struct Sector {
    /// When it is read.
    now: Vec<u64>,
    /// After a cut.
    after: Vec<u64>,
}

struct Model {
    sectors: Vec<Sector>,
    stamps: u64,
    /// How many flushes failed: what was written before any may be lost then.
    failed: u64,
}

fn stamp_of(sector: &[u8]) -> u64 {
    u64::from_le_bytes(sector[..8].try_into().unwrap())
}

fn stamped(stamp: u64, count: usize, size: usize) -> Pages {
    let mut pages = Pages::new(count * size).unwrap();
    let sector = stamp.to_le_bytes().repeat(size / 8);
    for at in (0..count).map(|i| i * size) {
        pages.write_at(at, &sector);
    }
    pages
}

/// Checks one sector, which is whole.
fn check(sector: &[u8], may: &[u64], place: usize, when: &str) {
    if may.contains(&ANYTHING) {
        return;
    }
    let stamp = stamp_of(sector);
    assert!(
        sector[8..] == sector[..sector.len() - 8],
        "{when}: sector {place} is torn"
    );
    assert!(
        may.contains(&stamp),
        "{when}: sector {place} holds {stamp}, not one of {may:?}"
    );
}

impl Case {
    /// One task, on its part of the disk.
    async fn task(self, number: usize, disk: Disk, model: Rc<RefCell<Model>>) {
        let (size, first) = (self.sector_size, number * PART);
        let sector = |at: usize| (at * size / SECTOR) as u64;
        let flushing = self.config.faults.fail_one_in > 0;
        for (kind, at, count) in self
            .steps
            .iter()
            .cycle()
            .skip(number * 7)
            .take(self.steps.len())
        {
            let range = first + at..first + (at + count).min(PART);
            let len = range.len();
            let (stamp, failed) = {
                let mut model = model.borrow_mut();
                model.stamps += 1;
                (model.stamps, model.failed)
            };
            let lost = |model: &Model| model.failed != failed;
            match kind {
                0 => {
                    let result = disk.flush().await;
                    let mut model = model.borrow_mut();
                    if result.is_err() {
                        model.failed += 1;
                        for sector in &mut model.sectors {
                            sector.now.extend(sector.after.clone());
                        }
                    } else if !flushing {
                        for sector in &mut model.sectors[first..first + PART] {
                            sector.after = sector.now.clone();
                        }
                    }
                }
                1 => {
                    for place in range.clone() {
                        model.borrow_mut().sectors[place].after.push(ANYTHING);
                        model.borrow_mut().sectors[place].now.push(ANYTHING);
                    }
                    let _ = disk.discard(sector(range.start), sector(len)).await;
                }
                2..5 => {
                    let (pages, result) = disk
                        .read(sector(range.start), Pages::new(len * size).unwrap())
                        .await;
                    assert_eq!(pages.len(), len * size);
                    let mut bytes = vec![0; size];
                    if result.is_ok() {
                        for (i, place) in range.enumerate() {
                            pages.read_at(i * size, &mut bytes);
                            check(&bytes, &model.borrow().sectors[place].now, place, "read");
                        }
                    }
                }
                _ => {
                    for place in range.clone() {
                        model.borrow_mut().sectors[place].after.push(stamp);
                    }
                    let (pages, result) = disk
                        .write(sector(range.start), stamped(stamp, len, size))
                        .await;
                    assert_eq!(pages.len(), len * size);
                    let mut model = model.borrow_mut();
                    let keep = result.is_err() || lost(&model);
                    for place in range {
                        if !keep {
                            model.sectors[place].now.clear();
                        }
                        model.sectors[place].now.push(stamp);
                    }
                }
            }
        }
    }

    /// Runs the guest until it is done or the power is cut, and checks what is left.
    fn run(self, seed: u64) {
        let size = self.sector_size;
        // Not whole pages.
        let medium = Medium::new((TASKS * PART * size + 512) as u64).with_sector_size(size);
        let sectors = hosted::test({
            let medium = medium.clone();
            async move || {
                let vbd = attach(self.config.clone(), &medium);
                let disk = Disk::connect(self.config.number).await.unwrap();
                let empty = Sector {
                    now: vec![0],
                    after: vec![0],
                };
                let model = Rc::new(RefCell::new(Model {
                    sectors: vec![empty; TASKS * PART],
                    stamps: 0,
                    failed: 0,
                }));
                let tasks: Vec<_> = (0..TASKS)
                    .map(|number| spawn(self.clone().task(number, disk.clone(), Rc::clone(&model))))
                    .collect();
                let all = async {
                    for task in tasks {
                        task.await;
                    }
                    disk.close().await;
                    assert_eq!((page::leaked(), vbd.state()), (0, State::Closed));
                };
                medium.until_cut(all).await;
                // Others may still run in this round.
                model.borrow().sectors.clone()
            }
        });
        medium.cut(seed);
        let bytes = medium.bytes();
        for (place, (sector, bytes)) in sectors.iter().zip(bytes.chunks(size)).enumerate() {
            check(bytes, &sector.after, place, "after the cut");
        }
    }
}

fn config() -> impl Strategy<Value = Config> {
    (
        any::<[bool; 6]>(),
        prop::sample::select(vec![0_u16, 5, 11, 12, 32, 256, 512]),
        prop::sample::select(vec![0_u32, 1, 2, 4]),
        prop::sample::select(vec![0_usize, 1, 30, 1056]),
        prop::sample::select(vec![0_u64, 0, 0, 4, 40]),
        prop::sample::select(vec![0_u64, 0, 1000]),
        any::<u64>(),
    )
        .prop_map(
            |(flags, indirect, ring_order, most_persistent, fail_one_in, delay, seed)| {
                let [persistent, flush, barrier, discard, early, in_order] = flags;
                Config {
                    indirect,
                    ring_order,
                    persistent,
                    most_persistent,
                    // Without either nothing can be promised of a disk that has a cache.
                    flush: flush || !barrier,
                    barrier,
                    discard,
                    early,
                    faults: Faults {
                        seed,
                        fail_one_in,
                        in_order,
                        ..Faults::default()
                    },
                    delay: Duration::from_micros(delay),
                    ..Config::default()
                }
            },
        )
}

fn case() -> impl Strategy<Value = Case> {
    let len = prop_oneof![3 => 1..20_usize, 1 => 1..PART];
    let step = (0..9_u8, 0..PART, len);
    (
        config(),
        prop::sample::select(vec![512_usize, 1024, 4096]),
        prop::collection::vec(step, 1..40),
    )
        .prop_map(|(config, sector_size, steps)| Case {
            config,
            sector_size,
            steps,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_read_was_written(case in case(), seed: u64) {
        case.run(seed);
    }

    #[test]
    fn what_was_flushed_outlives_a_cut(
        mut case in case(),
        kind in prop::sample::select(vec![
            None,
            Some(Kind::Read),
            Some(Kind::Write),
            Some(Kind::Flush),
            Some(Kind::Discard),
            Some(Kind::Indirect),
            Some(Kind::Barrier),
        ]),
        number in 0..60_u64,
        seed: u64,
    ) {
        case.config.faults.fail_one_in = 0;
        case.config.faults.cut = Some(Nth { kind, number });
        case.run(seed);
    }
}
