//! Whatever is asked for, each sector of each caller's is done once, from and to the right place of its pages.

use super::*;
use crate::io::answer;
use crate::lend::Pool;
use core::task::{Context, Poll, Waker};
use proptest::prelude::*;
use std::collections::BTreeMap;
use xenlet_kernel::hosted::{self, DOM0};
use xenlet_kernel::page::Pages;
use xenlet_kernel::{grant, page};

#[derive(Clone, Debug)]
struct Wish {
    write: bool,
    sector: u64,
    sectors: usize,
    /// Its requests fail.
    bad: bool,
    /// The caller goes away at once.
    forgotten: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    // Few sectors, so that many are adjacent.
    let long = prop_oneof![4 => 1_usize..30, 1 => Just(8), 1 => 80_usize..400];
    let places = prop_oneof![1 => 0_u64..64, 1 => (0_u64..16).prop_map(|page| page * 8)];
    (any::<bool>(), places, long, 0..9, 0..9).prop_map(|(write, sector, sectors, bad, gone)| Wish {
        write,
        sector,
        sectors,
        bad: bad == 0,
        forgotten: gone == 0,
    })
}

/// What sector `index` of caller `who` holds.
fn mark(who: usize, sector: u64) -> [u8; 8] {
    [who as u8, 1, 2, 3, sector as u8, (sector >> 8) as u8, 6, 7]
}

/// Adds all wishes in rounds of `round`, and takes requests of at most `most` pages until nothing is left.
fn play(wishes: &[Wish], most: usize, round: usize, pooled: Option<usize>) {
    let before = grant::usage().0;
    let (mut queue, mut ops) = (Queue::default(), Ops::default());
    let mut lender = match pooled {
        Some(pages) => Lender::Pool(Pool::new(DOM0, pages).unwrap()),
        None => Lender::EachTime(DOM0),
    };
    let mut ids = Vec::new();
    let mut written = BTreeMap::new();
    let mut slot = Slot::default();
    let mut rounds = wishes.chunks(round).enumerate();
    loop {
        if let Some((i, wishes)) = rounds.next() {
            for (j, wish) in wishes.iter().enumerate() {
                let who = i * round + j;
                let mut pages = Pages::new(wish.sectors * SECTOR).unwrap();
                for at in (0..wish.sectors).filter(|_| wish.write) {
                    pages.write_at(at * SECTOR, &mark(who, wish.sector + at as u64));
                }
                let units = pages.chunks().len();
                let op = ops.add(pages).unwrap();
                let kind = if wish.write { Kind::Write } else { Kind::Read };
                let part = Part {
                    op,
                    kind,
                    units: 0..units,
                    sector: wish.sector,
                    sectors: wish.sectors as u64,
                    alone: false,
                };
                queue.push(part).unwrap();
                if wish.forgotten {
                    ops.forget(op);
                }
                ids.push(op);
            }
        } else if queue.is_empty() {
            break;
        }
        if queue.is_empty() {
            continue;
        }
        assert!(slot.fill(&mut queue, &mut ops, &mut lender, most, DOM0));
        let kind = slot.parts[0].kind;
        let start = slot.parts[0].sector;
        let who = |op| ids.iter().rposition(|id| *id == op).unwrap();
        let bad = slot.parts.iter().any(|part| wishes[who(part.op)].bad);
        assert!(slot.held.len() <= most.max(MAX_SEGMENTS));
        // What a backend would do.
        let segments: Vec<Segment> = slot.segments().collect();
        let mut sector = start;
        for (segment, page) in segments.iter().zip(&slot.held) {
            assert_eq!(segment.gref, page.gref());
            for at in segment.first..=segment.last {
                let at = usize::from(at) * SECTOR;
                if kind == Kind::Write {
                    let mut said = [0; 8];
                    page.as_ref().read(at, &mut said);
                    let who = usize::from(said[0]);
                    assert_eq!(said, mark(who, sector), "sector {sector}");
                    if !bad {
                        *written.entry((who, sector)).or_insert(0) += 1;
                    }
                } else {
                    page.as_ref().write(at, &mark(0, sector));
                }
                sector += 1;
            }
        }
        let result = if bad { Err(IoError::Failed) } else { Ok(()) };
        let merged = slot.parts.len() > 1;
        let told = slot.take_back(&mut ops, &mut lender, result, |ops, part, result| {
            answer(ops, &mut queue, part, result, merged);
        });
        assert_eq!(told, Ok(()));
        assert!(slot.held.is_empty() && slot.parts.is_empty());
    }
    let mut cx = Context::from_waker(Waker::noop());
    for (who, (wish, id)) in wishes.iter().zip(&ids).enumerate() {
        if wish.forgotten {
            continue;
        }
        // A forgotten one's place may be used again, so an id may be two callers'.
        if ids.iter().rposition(|other| other == id) != Some(who) {
            continue;
        }
        let Poll::Ready((pages, result)) = ops.poll(*id, &mut cx) else {
            panic!("{who} has no answer");
        };
        assert_eq!(pages.len(), wish.sectors * SECTOR);
        assert_eq!(result.is_err(), wish.bad, "the error is {who}'s own");
        for at in (0..wish.sectors).filter(|_| !wish.bad) {
            let sector = wish.sector + at as u64;
            if wish.write {
                assert_eq!(
                    written.get(&(who, sector)),
                    Some(&1),
                    "{who}: sector {sector}"
                );
            } else {
                let mut said = [0; 8];
                pages.read_at(at * SECTOR, &mut said);
                assert_eq!(said, mark(0, sector));
            }
        }
    }
    drop((slot, lender));
    assert_eq!((grant::usage().0, page::leaked()), (before, 0));
}

proptest! {
    #[test]
    fn every_sector_is_done_once(
        wishes in prop::collection::vec(wish(), 1..40),
        most in prop_oneof![Just(11_usize), 12_usize..40, Just(256)],
        round in 1_usize..40,
        pooled in prop::option::of(11_usize..64),
    ) {
        hosted::test(async move || play(&wishes, most, round, pooled));
    }
}

#[test]
fn adjacent_ones_go_together() {
    hosted::test(async || {
        let (mut queue, mut ops) = (Queue::default(), Ops::default());
        let mut lender = Lender::EachTime(DOM0);
        let mut slot = Slot::default();
        for sector in [16, 0, 8, 32, 24, 48] {
            let op = ops.add(Pages::new(PAGE_SIZE).unwrap()).unwrap();
            queue.push(part(op, sector)).unwrap();
        }
        assert!(slot.fill(&mut queue, &mut ops, &mut lender, 256, DOM0));
        let Some(Request::Direct(direct)) = slot.transfer(7, 1) else {
            panic!("five pages are a direct request");
        };
        assert_eq!((direct.sector, direct.nr_segments, direct.id), (0, 5, 7));
        assert_eq!(queue.next().map(|part| part.sector), Some(48));
    });
}

/// A peer reads nothing but what it was sent.
#[test]
fn what_does_not_count_is_zeroed() {
    hosted::test(async || {
        for kind in [Kind::Read, Kind::Write] {
            let mut ops = Ops::default();
            let mut pages = Pages::new(PAGE_SIZE).unwrap();
            pages.write_at(0, &[7; PAGE_SIZE]);
            pages.resize(SECTOR).unwrap();
            let id = ops.add(pages).unwrap();
            let mut lender = Lender::EachTime(DOM0);
            let page = lender.lend(ops.get(id).unwrap(), 0, kind).unwrap();
            let mut seen = [1; PAGE_SIZE];
            page.as_ref().read(0, &mut seen);
            let sent = if kind == Kind::Write { SECTOR } else { 0 };
            assert_eq!(
                (&seen[..sent], &seen[sent..]),
                (&[7; PAGE_SIZE][..sent], &[0; PAGE_SIZE][sent..])
            );
        }
    });
}

/// A page that the backend keeps is lost, and so is what was to be read into it.
#[test]
fn a_kept_page_is_an_error_to_its_caller() {
    hosted::test(async || {
        let (mut queue, mut ops) = (Queue::default(), Ops::default());
        let mut lender = Lender::EachTime(DOM0);
        let mut slot = Slot::default();
        let mut add = |sector| {
            let op = ops.add(Pages::new(PAGE_SIZE).unwrap()).unwrap();
            let part = part(op, sector);
            queue.push(part).unwrap();
            op
        };
        let (first, second) = (add(0), add(8));
        assert!(slot.fill(&mut queue, &mut ops, &mut lender, 256, DOM0));
        let kept = hosted::map_grant(slot.held[1].gref(), true).unwrap();
        let mut said = Vec::new();
        let told = slot.take_back(&mut ops, &mut lender, Ok(()), |ops, part, result| {
            said.push((part.op, result));
            ops.finish(part.op, 1, result);
        });
        assert_eq!(told, Err(Lie::PageKept));
        assert_eq!(said, [(first, Ok(())), (second, Err(IoError::Gone))]);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready((pages, result)) = ops.poll(second, &mut cx) else {
            panic!("it is answered");
        };
        assert_eq!((pages.len(), result), (PAGE_SIZE, Err(IoError::Gone)));
        assert_eq!(page::leaked(), 1);
        drop(kept);
    });
}

fn part(op: crate::ops::OpId, sector: u64) -> Part {
    Part {
        op,
        kind: Kind::Read,
        units: 0..1,
        sector,
        sectors: 8,
        alone: false,
    }
}

#[test]
fn what_is_tried_by_itself_stays_by_itself() {
    let mut ops = Ops::default();
    let op = ops.add(Pages::new(PAGE_SIZE).unwrap()).unwrap();
    let (first, second) = (part(op, 0), part(op, 8));
    assert!(first.joins(&second) && !second.joins(&first));
    let alone = |part: &Part| Part {
        alone: true,
        ..part.clone()
    };
    assert!(!alone(&first).joins(&second) && !first.joins(&alone(&second)));
}

/// A caller that goes away, before or after its answer, leaves no place taken.
#[test]
fn places_are_used_again() {
    let mut ops = Ops::default();
    let add = |ops: &mut Ops| ops.add(Pages::new(PAGE_SIZE).unwrap()).unwrap();
    let first = add(&mut ops);
    ops.forget(first);
    assert_ne!(add(&mut ops), first, "it is not answered yet");
    ops.finish(first, 1, Ok(()));
    assert_eq!(add(&mut ops), first);
    ops.finish(first, 1, Ok(()));
    ops.forget(first);
    assert_eq!(add(&mut ops), first);
}
