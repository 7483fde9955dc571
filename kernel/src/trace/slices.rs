//! What a trace is made of: slices of time, each with whose it is and what it was spent on.

#[cfg(not(xenlet = "unix"))]
use crate::addr::Port;
use crate::time::Instant;
use alloc::string::String;
use alloc::vec::Vec;

/// The number of no slice.
pub(super) const NONE: u32 = u32::MAX;

/// The row of the loop, among those of tasks.
pub(super) const LOOP: u32 = 1;

/// The end of what has none yet.
pub(super) const OPEN: Instant = Instant::from_nanos(u64::MAX);

/// A part of the time that somebody spent on something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    begin: Instant,
    end: Instant,
    /// Of the task, or of the device.
    pub(super) row: u32,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// The first that is seen of a task, and its name.
    Task(&'static str),
    /// It waits for one of these.
    Wait(Waits),
    /// It was woken, and others run.
    Ready(Cause),
    /// The loop runs it.
    Run(&'static str),
    /// The loop has nothing to do.
    Sleep,
    /// What the task calls it, and the span that it is in.
    Span(&'static str, Text, u32),
    /// A device's request.
    Device(&'static str, Text),
}

/// What a task waits for: the first things that it said, none or more.
pub(super) type Waits = [Option<&'static str>; 2];

/// Who woke a task.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// Nobody knows: a thread of the host's.
    Unknown,
    /// An event came on this port.
    #[cfg(not(xenlet = "unix"))]
    Event(Port),
    /// A deadline.
    Timer,
    /// Another task, or the task itself.
    Task(u32, &'static str),
}

impl Slice {
    /// Whether it was over when the trace ended.
    pub(super) fn has_ended(&self) -> bool {
        self.end != OPEN
    }
}

/// Where a text is among the trace's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Text {
    pub(super) from: u32,
    pub(super) len: u32,
}

/// What was recorded.
#[derive(Debug, Default)]
pub struct Trace {
    pub(super) slices: Vec<Slice>,
    pub(super) texts: String,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// When there was no room any more, and how many slices have had none.
    pub(super) full: Option<Instant>,
    pub(super) lost: u64,
}

impl Trace {
    /// When there was no room any more, in nanoseconds from the trace's beginning.
    pub(super) fn full_at(&self) -> Option<u64> {
        self.full.map(|full| self.ns(full))
    }

    pub(super) fn text(&self, text: Text) -> &str {
        let (from, len) = (text.from as usize, text.len as usize);
        self.texts.get(from..from + len).unwrap_or_default()
    }

    /// Nanoseconds from the trace's beginning to `at`, or to its end.
    fn ns(&self, at: Instant) -> u64 {
        let at = at.min(self.ended).as_nanos();
        at.saturating_sub(self.began.as_nanos())
    }

    /// When `slice` began and ended, in nanoseconds from the trace's beginning; what has not ended ends with the trace.
    pub(super) fn times(&self, slice: &Slice) -> [u64; 2] {
        [self.ns(slice.begin), self.ns(slice.end)]
    }

    /// Bytes of memory that it takes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.slices.capacity() * size_of::<Slice>() + self.texts.capacity()
    }

    /// The span that span `number` is in.
    pub(super) fn parent(&self, number: u32) -> Option<u32> {
        match self.slices.get(number as usize)?.what {
            What::Span(_, _, parent) => Some(parent),
            _ => None,
        }
    }

    /// Notes that `what` begins. Returns its number.
    pub(super) fn push(&mut self, at: Instant, row: u32, what: What) -> u32 {
        // Never more than there was room for at first: nothing is allocated here.
        let number = match u32::try_from(self.slices.len()) {
            Ok(number) if self.slices.len() < self.slices.capacity() => number,
            _ => {
                self.full.get_or_insert(at);
                self.lost += 1;
                return NONE;
            }
        };
        self.slices.push(Slice {
            begin: at,
            end: OPEN,
            row,
            what,
        });
        number
    }

    /// Notes that slice `number` ends. Returns whose it is, unless it had ended before.
    pub(super) fn close(&mut self, number: u32, at: Instant) -> Option<u32> {
        let slice = self.slices.get_mut(number as usize)?;
        (slice.end == OPEN).then(|| {
            slice.end = at;
            slice.row
        })
    }
}
