//! The seam on the host's own target: its clock, its reactor, its logger; no Xen and no devices.

use crate::memory::Stats;
use crate::time::{Duration, Instant};
use std::future::{Future, poll_fn};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Instant as HostInstant;

std::thread_local! {
    static START: HostInstant = HostInstant::now();
    static SLEEPER: ThreadWaker = ThreadWaker::default();
}

/// Wakes the thread that waits in [`wait`].
#[derive(Clone, Default)]
pub(crate) struct ThreadWaker(Arc<Mutex<Option<Waker>>>);

impl ThreadWaker {
    pub(crate) fn wake(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

pub(crate) fn thread_waker() -> ThreadWaker {
    SLEEPER.with(Clone::clone)
}

/// Nobody but this domain ever sees a page.
pub(crate) fn pages_freed(_base: NonNull<u8>, _count: usize) {}

/// Lets the host's reactor run until a task is ready or `deadline` has come.
pub(crate) fn wait(deadline: Option<Instant>) -> bool {
    let sleeper = thread_waker();
    let mut timer = match deadline {
        Some(deadline) => async_io::Timer::after(deadline.since(crate::time::now())),
        None => async_io::Timer::never(),
    };
    async_io::block_on(poll_fn(|cx| {
        *sleeper.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if !crate::run::idle() {
            return Poll::Ready(());
        }
        std::pin::Pin::new(&mut timer).poll(cx).map(|_| ())
    }));
    true
}

/// Nothing to do between two rounds: the others run by themselves.
pub(crate) const fn relax() {}

pub(crate) fn monotonic_ns() -> u64 {
    START
        .with(|start| u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
        .saturating_add(1_000_000_000)
}

pub(crate) fn wall() -> Option<Duration> {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
}

pub(crate) fn command_line() -> String {
    std::env::args().skip(1).collect::<Vec<_>>().join(" ")
}

pub(crate) fn random() -> Option<u64> {
    getrandom::u64().ok()
}

pub(crate) fn take_boot_module() -> Result<Option<&'static mut [u8]>, String> {
    crate::boot_module::file::read()
}

pub(crate) fn take_computed() -> Option<&'static mut [u64]> {
    None
}

pub(crate) fn memory_stats() -> Option<Stats> {
    None
}

/// Starts the process as the domain.
pub(crate) fn enter_process() {
    START.with(|_| ());
    crate::timeline::start(crate::time::now());
    let _ = log::set_logger(&Stderr);
    crate::set_log_level();
    crate::timeline::mark("kernel");
}

/// Nothing is to be done when it ends: its lines are written at once.
pub(crate) fn leave_process() {}

/// The `log` backend: lines in the form of the guest's console, on standard error.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let at = crate::time::now().since(crate::timeline::started());
        eprintln!(
            "[{:5}.{:06}] {} {}: {}",
            at.as_secs(),
            at.subsec_micros(),
            record.level(),
            record.target(),
            record.args()
        );
    }

    fn flush(&self) {}
}
