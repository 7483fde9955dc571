//! Commits: what is waiting goes to disk together.
//!
//! ```text
//!   apply each transaction   write new nodes   flush   write both copies of   flush   answer all
//!   to a draft of the tree   to free blocks            the next superblock
//! ```
//!
//! Transactions that come meanwhile wait, and are the next group. Until the second flush has succeeded, the superblock
//! before and all that it refers to are untouched. The work is done by a task of its own, so that a caller that stops
//! waiting does not stop the others.

use super::checksum::Pointer;
use super::draft::Draft;
use super::node::{Node, item};
use super::shared::{SECTORS, Shared, io, write_superblock};
use super::superblock::{MAX_GENERATION, Superblock};
use super::transaction::Step;
use super::{BLOCK, Error, Why};
use crate::BlockDevice;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use xenlet_kernel::page::Pages;
use xenlet_kernel::run::{Notify, spawn_named};
use xenlet_kernel::trace;

/// Transactions in one group at most.
const GROUP: usize = 64;

/// New nodes after which no more transactions join a group.
const NODES: usize = 128;

/// How often a superblock is tried to be written.
const ATTEMPTS: u32 = 3;

/// Requests for nodes in flight at once.
const IN_FLIGHT: usize = 16;

/// Transactions that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: RefCell<VecDeque<Waiting>>,
    running: Cell<bool>,
}

#[derive(Debug)]
struct Waiting {
    steps: Vec<Step>,
    answer: Rc<Answer>,
}

#[derive(Debug, Default)]
struct Answer {
    result: Cell<Option<Result<(), Error>>>,
    ready: Notify,
}

impl Answer {
    fn give(&self, result: Result<(), Error>) {
        self.result.set(Some(result));
        self.ready.notify();
    }
}

/// Commits `steps` with whatever else is waiting.
pub(super) async fn commit<D: BlockDevice + 'static>(
    shared: &Rc<Shared<D>>,
    steps: Vec<Step>,
) -> Result<(), Error> {
    shared.check_writable()?;
    let answer = Rc::new(Answer::default());
    {
        let mut waiting = shared.queue.waiting.borrow_mut();
        waiting.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        waiting.push_back(Waiting {
            steps,
            answer: Rc::clone(&answer),
        });
    }
    if !shared.queue.running.replace(true) {
        drop(spawn_named("store", serve(Rc::clone(shared))));
    }
    loop {
        if let Some(result) = answer.result.get() {
            return result;
        }
        trace::waiting("the commit", answer.ready.notified()).await;
    }
}

/// Commits group after group until nothing waits.
async fn serve<D: BlockDevice + 'static>(shared: Rc<Shared<D>>) {
    while !shared.queue.waiting.borrow().is_empty() {
        serve_group(&shared).await;
    }
    shared.queue.running.set(false);
}

async fn serve_group<D: BlockDevice + 'static>(shared: &Rc<Shared<D>>) {
    let span = trace::span("commit");
    let mut draft = Draft::new(&shared.space, &shared.committed.get());
    // What of the answers is known; all wait for the disk, since some may have seen what others of the group did.
    let mut group: Vec<(Waiting, Result<(), Error>)> = Vec::new();
    while group.len() < GROUP && draft.dirty.len() < NODES {
        let Some(waiting) = shared.queue.waiting.borrow_mut().pop_front() else {
            break;
        };
        let was_clean = draft.is_clean();
        let before = draft.checkpoint();
        let applied = apply(shared, &mut draft, &waiting.steps).await;
        if applied.is_err() {
            draft.go_back(before);
        }
        if applied == Err(Error::Full) && !was_clean {
            // The group's commit gives back what it replaces: there may be space then.
            shared.queue.waiting.borrow_mut().push_front(waiting);
            break;
        }
        group.push((waiting, applied));
    }
    span.about(format_args!("{} transactions", group.len()));
    let published = if draft.is_clean() {
        Ok(())
    } else {
        publish(shared, draft).await
    };
    for (waiting, applied) in group {
        if published.is_ok() && applied.is_ok() {
            for step in &waiting.steps {
                if let Step::Put(_, _, Some(blob)) = step {
                    blob.keep();
                }
            }
        }
        waiting.answer.give(published.and(applied));
    }
}

/// Makes one transaction's changes to the draft.
async fn apply<D: BlockDevice>(
    shared: &Shared<D>,
    draft: &mut Draft,
    steps: &[Step],
) -> Result<(), Error> {
    shared.check_writable()?;
    draft.only_deletes = !steps.iter().any(|step| matches!(step, Step::Put(..)));
    for step in steps {
        match step {
            Step::IfAbsent(key) if draft.has(shared, key).await? => return Err(Error::Exists),
            Step::IfPresent(key) if !draft.has(shared, key).await? => return Err(Error::Missing),
            Step::IfAbsent(_) | Step::IfPresent(_) => {}
            Step::Put(key, value, None) => draft.put(shared, key, &item(value, &[0])?).await?,
            Step::Put(key, value, Some(blob)) => {
                if blob.failed_flushes() != shared.failed_flushes.get() {
                    return Err(Error::Lost);
                }
                draft
                    .put(shared, key, &item(value, blob.content())?)
                    .await?;
                draft.used += blob.blocks();
            }
            Step::Delete(key) => {
                draft.delete(shared, key).await?;
            }
        }
    }
    Ok(())
}

/// Puts the draft on disk.
async fn publish<D: BlockDevice + 'static>(
    shared: &Rc<Shared<D>>,
    mut draft: Draft,
) -> Result<(), Error> {
    let before = shared.committed.get();
    if before.generation >= MAX_GENERATION {
        return Err(Error::Corrupt {
            what: "a superblock's generation",
            block: before.slot(),
        });
    }
    let nodes = draft.seal(shared.checksums)?;
    let nodes = write_nodes(shared, nodes).await?;
    flush(shared).await?;
    let next = Superblock {
        generation: before.generation + 1,
        root: draft.root(),
        entries: draft.entries,
        used: draft.used,
        ..before
    };
    let mut attempt = 1;
    while let Err(e) = write_and_flush(shared, &next).await {
        log::error!("store: commit {}, attempt {attempt}: {e}", next.generation);
        if attempt == ATTEMPTS {
            // Either superblock may be the one that is found next, so nothing of either may be written over.
            shared.read_only.set(Some(Why::Unsure));
            return Err(Error::Unsure);
        }
        attempt += 1;
    }
    shared.committed.set(next);
    {
        let mut cache = shared.cache.borrow_mut();
        for (at, node) in nodes {
            cache.insert(at, Rc::new(node));
        }
    }
    shared.space.retire(next.generation, draft.publish());
    Ok(())
}

async fn write_and_flush<D: BlockDevice>(
    shared: &Shared<D>,
    superblock: &Superblock,
) -> Result<(), Error> {
    {
        let _span = trace::span("write the superblock");
        write_superblock(&shared.disk, superblock).await?;
    }
    flush(shared).await
}

async fn flush<D: BlockDevice>(shared: &Shared<D>) -> Result<(), Error> {
    let _span = trace::span("flush");
    let done = shared.disk.flush().await;
    if done.is_err() {
        shared.failed_flushes.set(shared.failed_flushes.get() + 1);
    }
    done.map_err(io("flushing the disk"))
}

/// Writes `nodes`, in the order of their blocks, adjacent ones together; gives them back when all requests are answered,
/// also if one failed: their blocks may be used for something else then.
async fn write_nodes<D: BlockDevice + 'static>(
    shared: &Rc<Shared<D>>,
    nodes: Vec<(Pointer, Node)>,
) -> Result<Vec<(Pointer, Node)>, Error> {
    let _span = trace::span("write the tree");
    let mut written = Vec::new();
    written
        .try_reserve_exact(nodes.len())
        .map_err(|_| Error::OutOfMemory)?;
    let mut done = Ok(());
    let mut flight = VecDeque::new();
    let mut nodes = nodes.into_iter().peekable();
    loop {
        if flight.len() == IN_FLIGHT || nodes.peek().is_none() {
            let Some(oldest) = flight.pop_front() else {
                break;
            };
            let (places, pages, result): (Vec<_>, Pages, Result<(), Error>) = oldest.await;
            done = done.and(result);
            for ((at, shape), page) in places.into_iter().zip(pages.into_pages()) {
                written.push((at, Node::from_parts(page, shape)));
            }
            continue;
        }
        let (mut places, mut pages): (Vec<(Pointer, _)>, Vec<_>) = (Vec::new(), Vec::new());
        while let Some((at, node)) = nodes.next_if(|(at, _)| {
            pages.len() * BLOCK < shared.options.request_bytes
                && places
                    .last()
                    .is_none_or(|(last, _)| last.block + 1 == at.block)
        }) {
            let (page, shape) = node.into_parts();
            places.push((at, shape));
            pages.push(page);
        }
        let shared = Rc::clone(shared);
        flight.push_back(spawn_named("disk write", async move {
            let sector = places.first().map_or(0, |(at, _)| at.block) * SECTORS;
            let len = pages.len() * BLOCK;
            let (pages, result) = shared
                .disk
                .write(sector, Pages::from_pages(pages, len))
                .await;
            (places, pages, result.map_err(io("writing the tree")))
        }));
    }
    done.map(|()| written)
}
