//! The boot timeline: what was reached when, counted from the domain's first instruction.

use crate::time::{Instant, now};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

/// More marks than a boot has; later ones are not kept.
const CAPACITY: usize = 32;

local! {
    static START: Cell<Option<Instant>> = Cell::new(None);
}
local! {
    static MARKS: RefCell<Vec<Mark>> = RefCell::new(Vec::new());
}

/// One point of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What was reached.
    pub name: &'static str,
    /// Nanoseconds since the domain's first instruction (since the start of the run, on the host's targets).
    pub ns: u64,
}

/// Makes this moment the timeline's zero, if it has none yet.
pub(crate) fn start(at: Instant) {
    START.with(|s| s.set(Some(s.get().unwrap_or(at))));
}

/// The timeline's zero.
pub fn started() -> Instant {
    START.with(|s| {
        let at = s.get().unwrap_or_else(now);
        s.set(Some(at));
        at
    })
}

/// Notes that `name` is reached now.
pub fn mark(name: &'static str) {
    mark_at(name, now());
}

/// Notes that `name` was reached at `at`.
pub(crate) fn mark_at(name: &'static str, at: Instant) {
    let ns = at.as_nanos().saturating_sub(started().as_nanos());
    MARKS.with(|m| {
        let mut marks = m.borrow_mut();
        if marks.len() < CAPACITY {
            marks.push(Mark { name, ns });
        }
    });
}

/// The marks so far, in the order they were reached.
pub fn marks() -> Vec<Mark> {
    MARKS.with(|m| m.borrow().clone())
}
