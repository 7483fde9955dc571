//! How it is recorded: each slice is noted when it begins and completed when it ends.
//!
//! There is room for a number of them. When it is used up no more are noted, and those that have begun are still ended: a trace has its
//! beginning whole, and all that a slow request did since then is on it or is known to be missing.

use super::slices::{Cause, NONE, OPEN, Slice, Text, Trace, Waits, What};
use super::task::Known;
#[cfg(not(xenlet = "unix"))]
use crate::addr::Port;
use crate::memory;
use crate::time::{Instant, now};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt::{self, Write};
use core::sync::atomic::Ordering::Relaxed;
use core::task::Poll;

/// Slices for which there is room at most: 4 MiB.
const MOST: usize = 65_536;

/// Fewer would not be worth looking at.
const LEAST: usize = 256;

/// The part of the free memory that slices may have, and the part of theirs that texts have.
const PART: usize = 8;

/// Bytes of a span's text; what is longer is cut.
const TEXT: usize = 64;

/// A trace that is being recorded.
pub(super) struct Recorder {
    /// Which one it is of this domain's.
    pub(super) number: u32,
    trace: Trace,
    /// The task that the loop runs.
    current: Option<Arc<Known>>,
    cause: Cause,
    waits: Waits,
}

local! {
    static RECORDER: RefCell<Option<Recorder>> = RefCell::new(None);
}
local! {
    static RECORDINGS: Cell<u32> = Cell::new(0);
}

/// Does `f` if a trace is recorded, and this is not from within such an `f`, or when the domain is gone.
pub(super) fn record<R>(f: impl FnOnce(&mut Recorder) -> R) -> Option<R> {
    let done = RECORDER.try_with(|recorder| recorder.try_borrow_mut().ok()?.as_mut().map(f));
    done.ok().flatten()
}

/// Notes that what is woken next is woken by an event on `port`.
#[cfg(not(xenlet = "unix"))]
pub(crate) fn by_event(port: Port) {
    record(|recorder| recorder.cause = Cause::Event(port));
}

/// Notes that what is woken next is woken by a timer.
pub(crate) fn by_timer() {
    record(|recorder| recorder.cause = Cause::Timer);
}

impl Recorder {
    /// Notes that a task goes from what it did to `what`.
    pub(super) fn turn(&mut self, task: &Known, at: Instant, what: What) {
        self.meet(task, at);
        self.trace.close(task.state.load(Relaxed), at);
        let state = self.trace.push(at, task.number, what);
        task.state.store(state, Relaxed);
    }

    /// Notes that a task is over.
    pub(super) fn ends(&mut self, task: &Known) {
        if task.recording.load(Relaxed) == self.number {
            self.trace.close(task.state.load(Relaxed), now());
        }
    }

    /// Sees a task for the first time in this recording, or again.
    fn meet(&mut self, task: &Known, at: Instant) {
        if task.recording.swap(self.number, Relaxed) != self.number {
            task.state.store(NONE, Relaxed);
            task.span.store(NONE, Relaxed);
            self.trace.push(at, task.number, What::Task(task.name));
        }
    }

    /// Notes that `task` is woken.
    pub(super) fn woken(&mut self, task: &Known) {
        let current = self.current.as_ref();
        let cause = current.map_or(self.cause, |by| Cause::Task(by.number, by.name));
        self.turn(task, now(), What::Ready(cause));
    }

    /// Notes that the loop runs `task`.
    pub(super) fn runs(&mut self, task: &Arc<Known>) {
        self.turn(task, now(), What::Run(task.name));
        self.waits = Waits::default();
        self.current = Some(Arc::clone(task));
    }

    /// Notes that the loop ran `task`, which waits now unless it is over.
    pub(super) fn ran(&mut self, task: &Known, result: Poll<()>) {
        self.current = None;
        // That it wakes itself is seen when it has run.
        self.cause = Cause::Task(task.number, task.name);
        match result {
            Poll::Ready(()) => self.ends(task),
            Poll::Pending => self.turn(task, now(), What::Wait(self.waits)),
        }
    }

    pub(super) fn waits_for(&mut self, what: &'static str) {
        if !self.waits.contains(&Some(what))
            && let Some(place) = self.waits.iter_mut().find(|place| place.is_none())
        {
            *place = Some(what);
        }
    }

    /// Begins a span of the task that runs, if one is known to.
    pub(super) fn span(&mut self, name: &'static str) -> u32 {
        let Some(task) = &self.current else {
            return NONE;
        };
        let what = What::Span(name, Text::default(), task.span.load(Relaxed));
        let number = self.trace.push(now(), task.number, what);
        if number != NONE {
            task.span.store(number, Relaxed);
        }
        number
    }

    /// Begins what is not a task's span.
    pub(super) fn begin(&mut self, row: u32, what: What) -> u32 {
        self.trace.push(now(), row, what)
    }

    /// Ends slice `number`, and the spans that the task has begun within it.
    pub(super) fn end(&mut self, number: u32) {
        let (trace, at) = (&mut self.trace, now());
        let Some(row) = trace.close(number, at) else {
            return;
        };
        if let Some(task) = self.current.as_ref().filter(|task| task.number == row)
            && let Some(around) = trace.parent(number)
        {
            let mut within = task.span.swap(around, Relaxed);
            while within > number
                && let Some(next) = trace.parent(within)
            {
                trace.close(within, at);
                within = next;
            }
        }
    }

    /// Gives slice `number` a text, if there is room for it.
    pub(super) fn describe(&mut self, number: u32, about: fmt::Arguments<'_>) {
        let texts = &mut self.trace.texts;
        let from = texts.len();
        let room = (texts.capacity() - from).min(TEXT);
        // What is too long is cut, not refused.
        let _ = Bounded { texts, room }.write_fmt(about);
        let (Ok(from), Ok(len)) = (u32::try_from(from), u32::try_from(texts.len() - from)) else {
            return;
        };
        if let Some(slice) = self.trace.slices.get_mut(number as usize)
            && let What::Span(_, text, _) | What::Device(_, text) = &mut slice.what
        {
            *text = Text { from, len };
        }
    }
}

/// Writes up to so many bytes, whole characters of them.
struct Bounded<'t> {
    texts: &'t mut String,
    room: usize,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let len = text.floor_char_boundary(self.room);
        self.texts.push_str(&text[..len]);
        self.room -= len;
        if len < text.len() {
            self.room = 0;
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Why nothing is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// A trace is being recorded: there is one at a time.
    Busy,
    /// There is no memory for it.
    OutOfMemory,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "a trace is being recorded, and there is one at a time: try again later",
            Self::OutOfMemory => "no memory for a trace: try again later, or give the guest more",
        })
    }
}

impl core::error::Error for StartError {}

/// A trace that is being recorded, until this is dropped.
#[derive(Debug)]
#[must_use = "nothing is recorded once this is dropped"]
pub struct Recording(());

/// Begins to record a trace. The memory for it, an eighth of what is free and 4.5 MiB at most, is allocated here and nowhere else.
///
/// # Errors
/// As [`StartError`] says.
pub fn start() -> Result<Recording, StartError> {
    let free = memory::stats().map_or(usize::MAX, |stats| stats.free);
    match free / PART / size_of::<Slice>() {
        0..LEAST => Err(StartError::OutOfMemory),
        room => start_with(room.min(MOST)),
    }
}

/// The same, with room for `room` slices.
pub(super) fn start_with(mut room: usize) -> Result<Recording, StartError> {
    if record(|_| ()).is_some() {
        return Err(StartError::Busy);
    }
    let (slices, texts) = loop {
        let (mut slices, mut texts) = (Vec::new(), String::new());
        let bytes = room * size_of::<Slice>() / PART;
        if slices.try_reserve_exact(room).is_ok() && texts.try_reserve_exact(bytes).is_ok() {
            break (slices, texts);
        }
        // Memory may be there, and in pieces.
        room /= 2;
        if room < LEAST {
            return Err(StartError::OutOfMemory);
        }
    };
    let number = RECORDINGS.with(Cell::get).wrapping_add(1);
    RECORDINGS.with(|recordings| recordings.set(number));
    let began = now();
    let trace = Trace {
        slices,
        texts,
        began,
        ended: OPEN,
        full: None,
        lost: 0,
    };
    RECORDER.with(|recorder| {
        *recorder.borrow_mut() = Some(Recorder {
            number,
            trace,
            current: None,
            cause: Cause::Unknown,
            waits: Waits::default(),
        });
    });
    Ok(Recording(()))
}

impl Recording {
    /// Ends it.
    pub fn stop(self) -> Trace {
        let recorder = RECORDER.with(RefCell::take);
        Trace {
            ended: now(),
            ..recorder.map_or_else(Trace::default, |recorder| recorder.trace)
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        drop(RECORDER.with(RefCell::take));
    }
}
