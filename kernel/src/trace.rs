//! A trace: what each task did, what it waited for and who woke it, for as long as it is recorded.
//!
//! It is one row for the loop, with a slice for each time that it ran a task or slept; one for each task, on which its spans lie, below them
//! what it waited for, below that nothing where it ran; and rows for each device, with its requests. What is noted is noted where it happens:
//!
//! | who | notes |
//! | --- | --- |
//! | the loop and its executor | a task is woken, by whom; it is run; it waits; the loop sleeps |
//! | a future that has to wait | [`waits_for`], [`waiting`]: what for |
//! | what takes several waits, as a request or a commit | [`span`]: from when to when |
//! | a driver | [`Device::span`]: how long a request was in its queue and with the backend |
//!
//! All this is there with the feature `inspect`, and then costs a comparison unless a trace is recorded. Without it these functions are the same
//! and do nothing, so that an image has no byte of them.

#[cfg(feature = "inspect")]
mod json;
#[cfg(feature = "inspect")]
mod record;
#[cfg(feature = "inspect")]
mod slices;
#[cfg(feature = "inspect")]
mod span;
#[cfg(feature = "inspect")]
mod task;

#[cfg(all(feature = "inspect", not(xenlet = "unix")))]
pub(crate) use record::by_event;
#[cfg(feature = "inspect")]
pub use {
    json::Json,
    record::{Recording, StartError, start},
    slices::Trace,
    span::{Device, Span, span, waiting, waits_for},
};
#[cfg(feature = "inspect")]
pub(crate) use {record::by_timer, span::sleeping, task::Task};

#[cfg(not(feature = "inspect"))]
mod off;
#[cfg(all(not(feature = "inspect"), not(xenlet = "unix")))]
pub(crate) use off::by_event;
#[cfg(not(feature = "inspect"))]
pub use off::{Device, Span, span, waiting, waits_for};
#[cfg(not(feature = "inspect"))]
pub(crate) use off::{Task, by_timer, sleeping};

#[cfg(all(test, feature = "inspect", not(any(xenlet = "xen", xenlet = "unix"))))]
mod tests;
