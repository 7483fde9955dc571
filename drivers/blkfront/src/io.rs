//! What a disk shares with its backend: the ring, its event channel, and the memory of the requests on it.

use crate::lend::{Lender, Pool};
use crate::ops::{Kind, OpId, Ops};
use crate::proto::{
    Blkif, Direct, Discard, MAX_SEGMENTS, OP_INDIRECT, RSP_EOPNOTSUPP, RSP_ERROR, RSP_OKAY,
    Request, Response, Segment,
};
use crate::queue::{Part, Queue};
use crate::slot::{Asked, Slot};
use crate::{Features, IoError, Lie, Stats};
use alloc::boxed::Box;
use alloc::vec::Vec;
use xenlet_kernel::addr::DomId;
use xenlet_kernel::event::Channel;
use xenlet_kernel::page::{OutOfPages, SharedPage};
use xenlet_kernel::ring::FrontRing;
use xenlet_kernel::trace;
use xenlet_kernel::xenbus::Failure;

/// What a disk's callers and its task have in common.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ops: Ops,
    pub(crate) queue: Queue,
    pub(crate) features: Features,
    pub(crate) stats: Stats,
    pub(crate) trace: trace::Device,
}

impl State {
    /// Notes, on a trace, that request `op` waits in the queue.
    pub(crate) fn waits(&mut self, op: OpId, kind: Kind, sector: u64, sectors: u64) {
        if let Some(op) = self.ops.get(op) {
            op.span = self.trace.span("queued");
            op.span.about(format_args!(
                "{} {sectors} sectors from {sector}",
                kind.name()
            ));
        }
    }

    /// Notes, on a trace, that a request for `parts` is with the backend.
    fn sent(&mut self, parts: &[Part]) {
        for part in parts {
            if let Some(op) = self.ops.get(part.op) {
                op.span.end();
                op.span = self.trace.span(part.kind.name());
                op.span.about(format_args!(
                    "{} sectors from {}",
                    part.sectors, part.sector
                ));
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Io {
    pub(crate) ring: FrontRing<Blkif, SharedPage>,
    pub(crate) channel: Channel,
    pub(crate) peer: DomId,
    pub(crate) handle: u16,
    lender: Lender,
    /// As many as the ring takes requests.
    slots: Box<[Slot]>,
    /// Those with no request on the ring.
    free: Vec<usize>,
    /// How many requests there ever were.
    issued: u64,
}

impl Io {
    /// An empty ring of `pages`, shared with `peer`, for disk `number`.
    pub(crate) fn new(number: u32, peer: DomId, pages: usize) -> Result<Self, Failure> {
        let ring = FrontRing::shared(pages, peer)?;
        let count = ring.slots() as usize;
        Ok(Self {
            ring,
            channel: Channel::unbound(peer)?,
            peer,
            // As Linux has it: the low bits, which no backend looks at.
            handle: u16::try_from(number & 0xffff).unwrap_or(0),
            lender: Lender::EachTime(peer),
            slots: (0..count).map(|_| Slot::default()).collect(),
            free: (0..count).rev().collect(),
            issued: 0,
        })
    }

    /// Grants pages for ever from here on, before there is any request.
    pub(crate) fn persist(&mut self) -> Result<(), OutOfPages> {
        self.lender = Lender::Pool(Pool::new(self.peer, MAX_SEGMENTS)?);
        Ok(())
    }

    /// Whether nothing is with the backend.
    pub(crate) fn is_idle(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Whether the backend has any page mapped.
    pub(crate) fn is_held(&self) -> bool {
        self.ring.pages().iter().any(SharedPage::is_held)
            || self.lender.is_held()
            || self.slots.iter().any(Slot::is_held)
    }

    /// Puts on the ring what waits, as far as there is room.
    pub(crate) fn issue(&mut self, state: &mut State) {
        while let Some(index) = self.free.last().copied()
            && let Some(next) = state.queue.next()
        {
            let kind = next.kind;
            if kind == Kind::Flush && state.features.flush().is_none() {
                if let Some(part) = state.queue.take(1) {
                    state.ops.finish(part.op, 1, Ok(()));
                }
                continue;
            }
            // A number that comes again only after 2^64 requests, so that no answer can be given twice.
            let id = self.issued.wrapping_mul(self.slots.len() as u64) + index as u64;
            let Some(request) = self.request(index, id, kind, state) else {
                state.stats.short += 1;
                if !self.is_idle() {
                    break;
                }
                // Nothing will come back that would make room.
                if let Some(part) = state.queue.take(usize::MAX) {
                    let error = Err(IoError::OutOfMemory);
                    state.ops.finish(part.op, part.units.len(), error);
                }
                continue;
            };
            let indirect = matches!(request, Request::Indirect(_));
            self.ring.push(&request);
            state.sent(&self.slots[index].parts);
            self.free.pop();
            self.issued = self.issued.wrapping_add(1);
            self.slots[index].asked = Some(Asked {
                id,
                operation: request.operation(),
                indirect,
            });
            state.stats.requests += 1;
            state.stats.indirect += u64::from(indirect);
        }
    }

    /// The request for what is next, with its parts and pages in slot `index`; `None` when there is no memory.
    fn request(&mut self, index: usize, id: u64, kind: Kind, state: &mut State) -> Option<Request> {
        let handle = self.handle;
        let slot = &mut self.slots[index];
        let State {
            ops,
            queue,
            features,
            ..
        } = state;
        match kind {
            Kind::Read | Kind::Write => {
                let most = features.segments;
                let lent = slot.fill(queue, ops, &mut self.lender, most, self.peer);
                lent.then(|| slot.transfer(id, handle)).flatten()
            }
            Kind::Discard => {
                slot.parts.try_reserve(1).ok()?;
                let part = queue.take(1)?;
                let request = Request::Discard(Discard {
                    flag: 0,
                    handle,
                    id,
                    sector: part.sector,
                    sectors: part.sectors,
                });
                slot.parts.push(part);
                Some(request)
            }
            Kind::Flush => {
                let operation = features.flush()?;
                slot.parts.try_reserve(1).ok()?;
                slot.parts.extend(queue.take(1));
                // One answers them all.
                while let Some(last) = slot.parts.last()
                    && queue.next_joined(last).is_some()
                    && slot.parts.try_reserve(1).is_ok()
                {
                    slot.parts.extend(queue.take(1));
                }
                Some(Request::Direct(Direct {
                    operation,
                    nr_segments: 0,
                    handle,
                    id,
                    sector: 0,
                    segments: [Segment::NONE; MAX_SEGMENTS],
                }))
            }
        }
    }

    /// Takes the responses that are there.
    pub(crate) fn reap(&mut self, state: &mut State) -> Result<(), Lie> {
        while let Some(response) = self.ring.pop().map_err(Lie::Producer)? {
            let (index, asked) = self.asked(&response)?;
            let result = match response.status {
                RSP_OKAY => Ok(()),
                RSP_ERROR => Err(IoError::Failed),
                RSP_EOPNOTSUPP => Err(IoError::Unsupported),
                status => return Err(Lie::Status(status)),
            };
            let slot = &mut self.slots[index];
            slot.asked = None;
            self.free.push(index);
            state.stats.failed += u64::from(result.is_err());
            let result = state.features.withdraw(asked.operation, result);
            let merged = slot.parts.len() > 1;
            let queue = &mut state.queue;
            slot.take_back(
                &mut state.ops,
                &mut self.lender,
                result,
                |ops, part, result| {
                    answer(ops, queue, part, result, merged);
                },
            )?;
        }
        Ok(())
    }

    /// Which request it is that `response` answers.
    fn asked(&self, response: &Response) -> Result<(usize, Asked), Lie> {
        let lie = Lie::Id(response.id);
        let index = response.id % self.slots.len() as u64;
        let index = usize::try_from(index).map_err(|_| lie)?;
        let asked = self.slots[index]
            .asked
            .filter(|asked| asked.id == response.id);
        let asked = asked.ok_or(lie)?;
        // Of an indirect request backends repeat either operation.
        let repeated = response.operation == asked.operation
            || asked.indirect && response.operation == OP_INDIRECT;
        if !repeated {
            return Err(Lie::Operation {
                asked: asked.operation,
                said: response.operation,
            });
        }
        Ok((index, asked))
    }

    /// Puts back into the queue what was asked of a backend that is gone, before all that waits: it is for the next one.
    pub(crate) fn put_back(&mut self, state: &mut State) {
        for slot in &mut self.slots {
            slot.put_back(&mut state.ops, &mut state.queue);
        }
    }

    /// Ends everything that anybody waits for. Pages that the backend won't let go of stay here.
    pub(crate) fn abandon(&mut self, state: &mut State) {
        for slot in &mut self.slots {
            slot.recall(&mut state.ops, &self.lender);
        }
        state.queue.clear();
        state.ops.end(IoError::Gone);
    }
}

/// Gives a caller the answer for its part of a request, or has the part tried again.
pub(crate) fn answer(
    ops: &mut Ops,
    queue: &mut Queue,
    part: Part,
    result: Result<(), IoError>,
    merged: bool,
) {
    let count = part.units.len();
    let op = part.op;
    let again = match (part.kind, result) {
        // The error is that of one of several callers: each is tried by itself to find out whose.
        (Kind::Read | Kind::Write, Err(IoError::Failed | IoError::Unsupported)) => merged,
        // There is another way, or the backend has nothing to flush.
        (Kind::Flush, Err(IoError::Unsupported)) => true,
        _ => false,
    };
    let queued = again
        && queue
            .again(Part {
                alone: part.kind != Kind::Flush,
                ..part
            })
            .is_ok();
    if !queued {
        ops.finish(op, count, result);
    }
}
