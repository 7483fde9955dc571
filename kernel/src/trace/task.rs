//! What a trace has to know of a task, and the future that tells when it runs.

use super::record::record;
use super::slices::{LOOP, NONE};
use super::span::waits_for;
use crate::run::Boxed;
use alloc::sync::Arc;
use core::cell::Cell;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::AtomicU32;
use core::task::{Context, Poll};

/// A task, as it is known to a trace.
#[derive(Clone)]
pub(crate) struct Task(Arc<Known>);

/// Atomic because wakers are used from other threads on the host's targets; nothing is recorded there.
pub(super) struct Known {
    pub(super) number: u32,
    pub(super) name: &'static str,
    /// The recording that has seen it.
    pub(super) recording: AtomicU32,
    /// The slice of what it does, in that recording.
    pub(super) state: AtomicU32,
    /// The innermost span that it is in.
    pub(super) span: AtomicU32,
}

local! {
    static NEXT: Cell<u32> = Cell::new(LOOP + 1);
}

impl Task {
    pub(crate) fn new(name: &'static str) -> Self {
        let number = NEXT.with(Cell::get);
        NEXT.with(|next| next.set(number.wrapping_add(1)));
        Self(Arc::new(Known {
            number,
            name,
            recording: AtomicU32::new(0),
            state: AtomicU32::new(NONE),
            span: AtomicU32::new(NONE),
        }))
    }

    /// Notes that it is woken.
    pub(crate) fn woken(&self) {
        record(|recorder| recorder.woken(&self.0));
    }

    /// Notes that the task which runs waits for its end.
    pub(crate) fn awaited(&self) {
        waits_for(self.0.name);
    }

    /// Makes `future` tell when it runs and when it is over.
    pub(crate) fn follow(self, future: Boxed) -> impl Future<Output = ()> {
        let task = self.0;
        Followed { task, future }
    }
}

struct Followed {
    task: Arc<Known>,
    future: Boxed,
}

impl Future for Followed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        record(|recorder| recorder.runs(&self.task));
        let result = self.future.as_mut().poll(cx);
        record(|recorder| recorder.ran(&self.task, result));
        result
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        record(|recorder| recorder.ends(&self.task));
    }
}
