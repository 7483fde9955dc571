//! What code calls to have itself on a trace.

use super::record::{Recorder, record};
use super::slices::{LOOP, NONE, What};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt::Arguments;
use core::future::{Future, poll_fn};
use core::pin::pin;

/// Something that is being done; over when this is ended or dropped. Nothing, if no trace was recorded when it began.
#[derive(Debug)]
#[must_use = "it is over once this is dropped"]
pub struct Span {
    recording: u32,
    slice: u32,
}

/// One of nothing.
impl Default for Span {
    fn default() -> Self {
        Self {
            recording: 0,
            slice: NONE,
        }
    }
}

impl Span {
    fn begin(begin: impl FnOnce(&mut Recorder) -> u32) -> Self {
        let begun = record(|recorder| Self {
            recording: recorder.number,
            slice: begin(recorder),
        });
        begun.unwrap_or_default()
    }

    fn with(&self, f: impl FnOnce(&mut Recorder, u32)) {
        if self.slice != NONE {
            record(|recorder| {
                if recorder.number == self.recording {
                    f(recorder, self.slice);
                }
            });
        }
    }

    /// Says more of it, once: 64 bytes at most. Nothing that is secret: whoever has the trace reads it.
    pub fn about(&self, about: Arguments<'_>) {
        self.with(|recorder, slice| recorder.describe(slice, about));
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.with(Recorder::end);
        self.slice = NONE;
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.end();
    }
}

/// Begins something that the task which runs does, by its name for people. Of two that a task is in at once, the later one is a part of the
/// other, and is shown to end with it at the latest.
pub fn span(name: &'static str) -> Span {
    Span::begin(|recorder| recorder.span(name))
}

/// Says, in a future that is about to be pending, what the task waits for, after "waiting for". Of several in one turn the first two count.
pub fn waits_for(what: &'static str) {
    record(|recorder| recorder.waits_for(what));
}

/// Awaits `future`, and says at each turn what it is that is waited for.
pub async fn waiting<F: Future>(what: &'static str, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let result = future.as_mut().poll(cx);
        if result.is_pending() {
            waits_for(what);
        }
        result
    })
    .await
}

/// The loop sleeps until this is dropped.
pub(crate) fn sleeping() -> Span {
    Span::begin(|recorder| recorder.begin(LOOP, What::Sleep))
}

local! {
    static DEVICES: RefCell<Vec<Box<str>>> = RefCell::new(Vec::new());
}

/// A device whose requests are on the trace.
#[derive(Clone, Copy, Debug)]
pub struct Device(u32);

impl Device {
    /// The device that people know as `name`.
    pub fn new(name: &str) -> Self {
        DEVICES.with(|devices| {
            let mut devices = devices.borrow_mut();
            let known = devices.iter().position(|known| **known == *name);
            let index = known.unwrap_or_else(|| {
                devices.push(name.into());
                devices.len() - 1
            });
            Self(u32::try_from(index).unwrap_or(NONE))
        })
    }

    /// Begins something that the device does; it may do several things at once.
    pub fn span(self, name: &'static str) -> Span {
        Span::begin(|recorder| recorder.begin(self.0, What::Device(name, Default::default())))
    }

    /// Calls `f` with each device's number and name.
    pub(super) fn each<E>(mut f: impl FnMut(u32, &str) -> Result<(), E>) -> Result<(), E> {
        DEVICES.with(|devices| {
            let devices = devices.borrow();
            (0..)
                .zip(devices.iter())
                .try_for_each(|(number, name)| f(number, name))
        })
    }
}
