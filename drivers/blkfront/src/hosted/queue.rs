//! The data path of the backend's half: requests off the ring, done on the medium in the seed's order, and answered.
//!
//! It sleeps as blkback does: the ring is looked at after an event, until it is empty and armed. So a frontend that
//! forgets to notify hangs here as it would on Xen. What blkback would answer with an error, because the frontend asks
//! what makes no sense, is a panic here.

mod take;

use super::blkback::Counts;
use super::config::Config;
use super::faults::{Fates, Kind, Request};
use super::medium::Medium;
use crate::block::{Geometry, IoError};
use crate::proto::{Blkif, RSP_EOPNOTSUPP, RSP_ERROR, RSP_OKAY, Response};
use std::collections::HashMap;
use std::rc::Rc;
use xenlet_kernel::addr::GrantRef;
use xenlet_kernel::hosted::{BackendPort, MappedPage};
use xenlet_kernel::ring::BackRing;
use xenlet_kernel::time::{Instant, now};

/// A request of the frontend's that is not answered yet.
struct Pending {
    id: u64,
    operation: u8,
    work: Work,
    sector: u64,
    /// What it reads or writes, in order.
    parts: Vec<Part>,
    indirect: bool,
    /// Not done before.
    due: Instant,
}

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Read,
    Write,
    Flush,
    /// All before it first, nothing after it meanwhile; what it writes is in the cache then.
    Barrier,
    Discard(u64),
    /// Offered, and not to be had.
    Refused,
}

/// Sectors of a page.
struct Part {
    page: Rc<MappedPage>,
    gref: GrantRef,
    offset: usize,
    len: usize,
}

pub(super) struct Queue {
    config: Config,
    geometry: Geometry,
    ring: BackRing<Blkif, MappedPage>,
    end: BackendPort,
    /// Whether both sides keep their pages for one another.
    persistent: bool,
    kept: HashMap<GrantRef, Rc<MappedPage>>,
    awake: bool,
    pending: Vec<Pending>,
}

impl Queue {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let allowed = self.pending.get(..self.allowed())?;
        allowed.iter().map(|pending| pending.due).min()
    }

    pub(super) fn poll(&mut self, medium: &Medium, fates: &mut Fates, counts: &mut Counts) -> bool {
        if self.end.take_pending() {
            counts.events += 1;
            self.awake = true;
        }
        let mut progress = self.take_all(fates, counts);
        // All that came is done at once, or else a part of it, and the guest runs meanwhile.
        let most = match self.config.faults.in_order {
            true => u64::MAX,
            false => 1 + fates.dice.below(self.pending.len() as u64 + 1),
        };
        for _ in 0..most {
            let Some(next) = self.choose(fates) else {
                break;
            };
            if !self.finish(next, medium, fates, counts) {
                return false;
            }
            progress = true;
        }
        if self.ring.publish() {
            counts.notified += 1;
            self.end.notify();
        }
        counts.persistent = self.kept.len();
        progress
    }

    /// Whether there are requests that are not done.
    pub(super) fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Does what is due and takes nothing more. True if there was anything.
    pub(super) fn finish_due(
        &mut self,
        medium: &Medium,
        fates: &mut Fates,
        counts: &mut Counts,
    ) -> bool {
        let mut progress = false;
        while let Some(next) = self.choose(fates)
            && self.finish(next, medium, fates, counts)
        {
            progress = true;
        }
        progress
    }

    /// How many of the requests may be done, as far as barriers go.
    fn allowed(&self) -> usize {
        let barrier = self.pending.iter().position(|p| p.work == Work::Barrier);
        barrier.map_or(self.pending.len(), |before| before.max(1))
    }

    /// Which request is done next; `None` if that is none of them now.
    fn choose(&self, fates: &mut Fates) -> Option<usize> {
        let now = now();
        let mut due = (0..self.allowed()).filter(|i| self.pending[*i].due <= now);
        if self.config.faults.in_order {
            return due.next();
        }
        let due: Vec<usize> = due.collect();
        let chosen = fates.dice.below(due.len() as u64);
        due.get(usize::try_from(chosen).unwrap_or(0)).copied()
    }

    /// Does a request and answers it. False if the power was cut.
    fn finish(
        &mut self,
        index: usize,
        medium: &Medium,
        fates: &mut Fates,
        counts: &mut Counts,
    ) -> bool {
        let pending = self.pending.remove(index);
        let Some(done) = perform(&pending, medium, fates) else {
            return false;
        };
        let status = match done {
            Ok(()) => RSP_OKAY,
            Err(IoError::Unsupported) => RSP_EOPNOTSUPP,
            Err(_) => RSP_ERROR,
        };
        counts.failed += u64::from(status != RSP_OKAY);
        let Pending { id, operation, .. } = pending;
        // The pages first: with the answer they are the guest's again.
        drop(pending.parts);
        self.ring.push(&Response {
            id,
            operation,
            status,
        });
        true
    }
}

/// Does a request on the medium. `None` if the power was cut.
fn perform(pending: &Pending, medium: &Medium, fates: &mut Fates) -> Option<Result<(), IoError>> {
    let Pending { sector, parts, .. } = pending;
    let kind = pending.indirect.then_some(Kind::Indirect);
    match pending.work {
        Work::Read => {
            let mut bytes = vec![0; parts.iter().map(|part| part.len).sum()];
            let done = fates.perform(medium, Request::Read(*sector, &mut bytes), kind)?;
            let mut rest = &bytes[..];
            for part in parts {
                let (now, later) = rest.split_at(part.len);
                part.window().write(part.offset, now);
                rest = later;
            }
            Some(done)
        }
        Work::Write => fates.perform(medium, Request::Write(*sector, &gather(parts)), kind),
        Work::Flush => fates.perform(medium, Request::Flush, None),
        Work::Barrier => {
            let flushed = fates.perform(medium, Request::Flush, Some(Kind::Barrier))?;
            if flushed.is_err() || parts.is_empty() {
                return Some(flushed);
            }
            fates.perform(medium, Request::Write(*sector, &gather(parts)), None)
        }
        Work::Discard(sectors) => fates.perform(medium, Request::Discard(*sector, sectors), None),
        Work::Refused => Some(Err(IoError::Unsupported)),
    }
}

/// The bytes that the guest wants written, as they are now.
fn gather(parts: &[Part]) -> Vec<u8> {
    let mut bytes = vec![0; parts.iter().map(|part| part.len).sum()];
    let mut rest = &mut bytes[..];
    for part in parts {
        let (now, later) = rest.split_at_mut(part.len);
        part.window().read(part.offset, now);
        rest = later;
    }
    bytes
}

impl Part {
    fn window(&self) -> &xenlet_kernel::page::Window {
        (*self.page).as_ref()
    }
}
