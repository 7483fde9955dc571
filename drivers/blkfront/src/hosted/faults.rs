//! What goes wrong with a disk, and when.

use super::dice::Dice;
use super::medium::Medium;
use crate::block::IoError;

/// Kinds of requests that a medium does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fill pages.
    Read,
    /// Write pages.
    Write,
    /// Make durable what was written.
    Flush,
    /// Forget what is there.
    Discard,
    /// What of these came with its segments in pages of their own: it counts as both.
    Indirect,
    /// A barrier's flush: it counts as both.
    Barrier,
}

/// A request, by how many were done before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nth {
    /// Of which kind; any if `None`.
    pub kind: Option<Kind>,
    /// How many are done before it.
    pub number: u64,
}

impl Nth {
    /// The request before which `number` others are done.
    pub fn any(number: u64) -> Self {
        Self { kind: None, number }
    }

    /// The request before which `number` others of its kind are done.
    pub fn of(kind: Kind, number: u64) -> Self {
        let kind = Some(kind);
        Self { kind, number }
    }
}

/// What goes wrong with a disk. Nothing, unless said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Decides whatever is not said here. The same seed is the same run.
    pub seed: u64,
    /// The power is cut at this request: it may be done, or not, or in part, and nobody is told.
    pub cut: Option<Nth>,
    /// This request fails. A write that failed may be done in part; a flush that failed may have lost any write since
    /// the last one.
    pub fail: Option<Nth>,
    /// Besides, one request in so many fails; none if that is 0.
    pub fail_one_in: u64,
    /// Requests are done as soon as they come, in their order.
    pub in_order: bool,
}

/// What is to become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Failed,
    /// The power is cut while it is done.
    Cut,
}

/// The faults as they come about.
#[derive(Debug)]
pub(super) struct Fates {
    faults: Faults,
    pub(super) dice: Dice,
    /// Requests of each kind so far.
    seen: [u64; 6],
    all: u64,
}

impl Fates {
    pub(super) fn new(faults: Faults) -> Self {
        Self {
            dice: Dice::new(faults.seed),
            faults,
            seen: [0; 6],
            all: 0,
        }
    }

    /// Of the next request, which is of these kinds.
    fn next(&mut self, kinds: &[Kind]) -> Fate {
        let all = self.all;
        let now = |nth: Option<Nth>| {
            nth.is_some_and(|nth| match nth.kind {
                None => nth.number == all,
                Some(of) => kinds.contains(&of) && nth.number == self.seen[of as usize],
            })
        };
        let (cut, fail) = (now(self.faults.cut), now(self.faults.fail));
        self.all += 1;
        for kind in kinds {
            self.seen[*kind as usize] += 1;
        }
        if cut {
            Fate::Cut
        } else if fail || self.dice.one_in(self.faults.fail_one_in) {
            Fate::Failed
        } else {
            Fate::Done
        }
    }

    /// Does a request, which is `besides` of another kind too, on `medium` as its fate has it. `None` when the power was cut meanwhile: nobody is told.
    pub(super) fn perform(
        &mut self,
        medium: &Medium,
        request: Request<'_>,
        besides: Option<Kind>,
    ) -> Option<Result<(), IoError>> {
        let fate = match besides {
            None => self.next(&[request.kind()]),
            Some(besides) => self.next(&[request.kind(), besides]),
        };
        if fate == Fate::Failed {
            match request {
                Request::Read(_, into) => self.dice.fill(into),
                Request::Write(sector, from) => medium.fail_write(sector, from, &mut self.dice),
                Request::Flush => medium.fail_flush(&mut self.dice),
                Request::Discard(..) => {}
            }
            return Some(Err(IoError::Failed));
        }
        // At a cut it may just have been done, in full or in part, or not begun; the cut itself tears writes.
        let done = if fate == Fate::Done || self.dice.one_in(2) {
            match request {
                Request::Read(sector, into) => medium.read(sector, into),
                Request::Write(sector, from) => medium.write(sector, from),
                Request::Flush => medium.flush(),
                Request::Discard(sector, sectors) => {
                    medium.discard(sector, sectors, &mut self.dice)
                }
            }
        } else {
            Ok(())
        };
        if fate == Fate::Cut {
            medium.cut(self.dice.throw());
            return None;
        }
        Some(done)
    }
}

/// What is asked of a medium.
pub(super) enum Request<'a> {
    Read(u64, &'a mut [u8]),
    Write(u64, &'a [u8]),
    Flush,
    Discard(u64, u64),
}

impl Request<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(..) => Kind::Read,
            Self::Write(..) => Kind::Write,
            Self::Flush => Kind::Flush,
            Self::Discard(..) => Kind::Discard,
        }
    }
}
