//! Power cuts, killed guests and failing requests, by the thousand: what was acknowledged is there, and nothing is half
//! there.
//!
//! `XENLET_SEED=n` runs seed `n` alone, in which a failure repeats; `XENLET_SEEDS=n` runs as many.

use super::*;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use xenlet_blkfront::hosted::{Kind, Nth};
use xenlet_kernel::run::{spawn, yield_now};

/// Tasks that use the store at once, each with keys of its own.
const WORKERS: u64 = 3;
const KEYS: u64 = 4;

/// What a key may hold: the seed of its value and the length of its blob.
type State = Option<(u64, Option<usize>)>;

/// What a worker knows of its keys.
#[derive(Clone, Debug, Default)]
struct Known {
    /// What was acknowledged.
    sure: BTreeMap<u64, State>,
    /// What was asked for and not answered: all of it happened, or none.
    open: Vec<(u64, State)>,
}

type Record = Arc<Mutex<Vec<Known>>>;

fn key(worker: u64, key: u64) -> Vec<u8> {
    format!("{worker}/{key}").into_bytes()
}

/// Bytes of the value that `seed` makes.
fn value(seed: u64) -> Vec<u8> {
    junk(seed, (seed % 1025) as usize)
}

async fn held(
    store: &Store<MediumDisk>,
    key: &[u8],
) -> Result<Option<(Vec<u8>, Option<Vec<u8>>)>, Error> {
    let Some(entry) = store.get(key).await? else {
        return Ok(None);
    };
    Ok(Some((entry.value, blob(store, key).await?)))
}

fn expected(state: State) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    state.map(|(seed, len)| (value(seed), len.map(|len| junk(seed, len))))
}

/// Puts and deletes until the store fails for good.
async fn work(store: Store<MediumDisk>, record: Record, worker: u64, mut dice: Dice) {
    let index = worker as usize;
    for _ in 0..1 + dice.below(8) {
        let mut changes = BTreeMap::new();
        for _ in 0..1 + dice.below(2) {
            let state = match dice.below(4) {
                0 => None,
                1 => Some((dice.throw(), None)),
                2 => Some((dice.throw(), Some(dice.below(3 * BLOCK as u64) as usize))),
                _ => Some((dice.throw(), Some(dice.below(40 * BLOCK as u64) as usize))),
            };
            changes.insert(dice.below(KEYS), state);
        }
        if dice.one_in(4) {
            // An upload that is given up: what it still writes must not come upon anything else.
            if let Ok(mut writer) = store.blob_writer(None) {
                let _ = writer.write(&junk(7, 20 * BLOCK)).await;
            }
        }
        let changes: Vec<_> = changes.into_iter().collect();
        record.lock().unwrap()[index].open = changes.clone();
        let done = change(&store, worker, &changes).await;
        if done == Err(Error::Unsure) {
            return;
        }
        let looked = dice.below(KEYS);
        let state = {
            let known = &mut record.lock().unwrap()[index];
            known.open.clear();
            if done.is_ok() {
                known.sure.extend(changes);
            }
            known.sure.get(&looked).copied().flatten()
        };
        if let Err(Error::ReadOnly(_)) = done {
            return;
        }
        match held(&store, &key(worker, looked)).await {
            Ok(found) => assert!(
                found == expected(state),
                "{worker}/{looked} is something else"
            ),
            Err(e) => assert!(matches!(e, Error::Io { .. }), "{e}"),
        }
    }
}

async fn change(
    store: &Store<MediumDisk>,
    worker: u64,
    changes: &[(u64, State)],
) -> Result<(), Error> {
    let mut transaction = store.transaction();
    for &(n, state) in changes {
        let key = key(worker, n);
        match state {
            None => transaction.delete(&key)?,
            Some((seed, None)) => transaction.put(&key, &value(seed))?,
            Some((seed, Some(len))) => {
                let mut writer = store.blob_writer((seed % 2 == 0).then_some(len as u64))?;
                writer.write(&junk(seed, len)).await?;
                transaction.put_blob(&key, &value(seed), writer.finish().await?)?;
            }
        }
    }
    transaction.commit().await
}

/// How a domain's life ends, if it does not end by itself.
#[derive(Clone, Copy)]
enum End {
    /// By the power cut that its faults say.
    Cut,
    /// It is destroyed after so many turns of the loop. The disk stays on, and its cache has what it had.
    Destroyed(u64),
}

/// One domain's life. Says whether it was the cut that ended it.
fn live(medium: &Medium, record: &Record, faults: Faults, end: End, mut dice: Dice) -> bool {
    let (medium, record) = (medium.clone(), Arc::clone(record));
    let cuts = medium.cuts();
    hosted::test(async move || {
        let disk = medium.disk(faults);
        let life = async {
            let store = match Store::open_or_format_blank(disk, SMALL).await {
                Ok(store) => store,
                Err(e) => return assert!(matches!(e, Error::Io { .. }), "{e}"),
            };
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| {
                    let dice = Dice::new(dice.throw());
                    spawn(work(store.clone(), Arc::clone(&record), worker, dice))
                })
                .collect();
            for worker in workers {
                worker.await;
            }
        };
        let End::Destroyed(turns) = end else {
            let is_cut = medium.until_cut(life).await.is_none();
            if medium.cuts() == cuts {
                // So that the next life begins with what a crash leaves, whatever came of this one.
                medium.cut(faults.seed);
            }
            return is_cut;
        };
        let mut life = Box::pin(life);
        for _ in 0..turns {
            if poll_once(life.as_mut()).await.is_some() {
                break;
            }
            yield_now().await;
        }
        false
    })
}

/// What `future` gives, if it does at once.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Looks at everything, on a disk that does not fail.
fn verify(medium: &Medium, record: &Record) {
    let (medium, record) = (medium.clone(), Arc::clone(record));
    hosted::test(async move || {
        let store = Store::open_or_format_blank(medium.disk(Faults::default()), SMALL).await;
        let store = store.expect("it opens");
        assert_sound(&store).await;
        let mut entries = 0;
        let mut all = record.lock().unwrap().clone();
        for (worker, known) in (0..).zip(&mut all) {
            let mut happened = None;
            for n in 0..KEYS {
                let found = held(&store, &key(worker, n)).await.expect("it is readable");
                entries += u64::from(found.is_some());
                let sure = known.sure.get(&n).copied().flatten();
                let open = known.open.iter().find(|(key, _)| *key == n);
                let Some(&(_, open)) = open.filter(|(_, open)| *open != sure) else {
                    assert!(
                        found == expected(sure),
                        "{worker}/{n} is not what was acknowledged"
                    );
                    continue;
                };
                let now = found == expected(open);
                assert!(
                    now || found == expected(sure),
                    "{worker}/{n} is neither old nor new"
                );
                assert!(
                    happened.is_none_or(|happened| happened == now),
                    "half a transaction"
                );
                happened = Some(now);
            }
            let open = std::mem::take(&mut known.open);
            if happened == Some(true) {
                known.sure.extend(open);
            }
        }
        *record.lock().unwrap() = all;
        assert_eq!(store.stats().entries, entries, "there is more than was put");
    });
}

/// Several lives on one medium. Says how many were cut short.
fn run(seed: u64) -> u64 {
    let mut dice = Dice::new(seed);
    let sector_size = if dice.one_in(4) { 4096 } else { 512 };
    let size = (64 + dice.below(300)) * BLOCK as u64 + dice.below(8) * sector_size as u64;
    let mut cuts = 0;
    let medium = Medium::new(size).with_sector_size(sector_size);
    let record = Record::new(Mutex::new(vec![Known::default(); WORKERS as usize]));
    for _ in 0..1 + dice.below(4) {
        let most = 1 << dice.below(9);
        let number = dice.below(most);
        let nth = Nth {
            number,
            kind: match dice.below(4) {
                0 => Some(Kind::Flush),
                1 => Some(Kind::Write),
                _ => None,
            },
        };
        let mut faults = Faults {
            seed: dice.throw(),
            cut: Some(nth),
            ..Faults::default()
        };
        match dice.below(4) {
            0 => faults.fail = Some(Nth::of(Kind::Flush, dice.below(8))),
            1 => faults.fail_one_in = 1 + dice.below(100),
            _ => {}
        }
        let life = Dice::new(dice.throw());
        if dice.one_in(3) {
            faults.cut = None;
            let most = 1 << dice.below(12);
            let end = End::Destroyed(dice.below(most));
            live(&medium, &record, faults, end, life);
            // What the next one sees, and says of it, holds as if it had been acknowledged.
            verify(&medium, &record);
            if dice.one_in(2) {
                medium.cut(dice.throw());
                verify(&medium, &record);
            }
        } else {
            cuts += u64::from(live(&medium, &record, faults, End::Cut, life));
            verify(&medium, &record);
        }
    }
    cuts
}

#[test]
fn nothing_acknowledged_is_lost() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let seeds = match number("XENLET_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("XENLET_SEEDS").unwrap_or(1000),
    };
    let cuts = AtomicU64::new(0);
    let next = AtomicU64::new(seeds.start);
    let one_after_the_other = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if !seeds.contains(&seed) {
                return;
            }
            match std::panic::catch_unwind(|| run(seed)) {
                Ok(some) => drop(cuts.fetch_add(some, Relaxed)),
                Err(panic) => {
                    next.store(seeds.end, Relaxed);
                    eprintln!("power cuts: run again with XENLET_SEED={seed}");
                    std::panic::resume_unwind(panic);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(one_after_the_other);
        }
    });
    let (cuts, seeds) = (cuts.into_inner(), seeds.end - seeds.start);
    assert!(
        cuts > seeds / 2 || seeds < 100,
        "{cuts} lives were cut short, of {seeds} seeds"
    );
    println!("power cuts: {cuts}");
}
