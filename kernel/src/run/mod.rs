//! The loop: tasks, timers and event channels, on one virtual CPU that sleeps when none of them has work.
//!
//! ```text
//!   ┌─► event channels with a pending bit ──► wake their tasks ┐
//!   │   timers whose deadline has come    ──► wake their tasks ├─► run what is ready ─┐
//!   │                                                          ┘                      │
//!   └── sleep until an event or the next deadline (SCHEDOP_poll), if nothing is ready ◄─┘
//! ```
//!
//! Waking a task pushes it on the ready queue: O(1), and nothing polls what was not woken. One round runs the
//! tasks that were ready when it began, so a task that wakes itself cannot keep events and timers waiting.

mod executor;
#[cfg(feature = "inspect")]
mod turns;

#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
pub(crate) use executor::teardown;
pub(crate) use executor::{Boxed, idle};
pub use executor::{JoinHandle, spawn, spawn_named, yield_now};
#[cfg(feature = "inspect")]
pub(crate) use turns::metrics;

use crate::{platform, shutdown, time, trace, watchdog};
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::task::{Context, Poll};

/// How many tasks may run on one reading of the clock if there is no sleep between them: a chain of a few that wake each other is
/// the answer to one event, and reading the clock may cost more than one of them.
const TASKS: usize = 16;

/// What an application's main may return: nothing, or a result whose error is logged and crashes the domain.
pub trait Termination {
    /// The error's text, if this is one.
    fn failure(&self) -> Option<alloc::string::String>;
}

impl Termination for () {
    fn failure(&self) -> Option<alloc::string::String> {
        None
    }
}

impl<E: core::fmt::Display> Termination for Result<(), E> {
    fn failure(&self) -> Option<alloc::string::String> {
        self.as_ref().err().map(alloc::string::ToString::to_string)
    }
}

/// Runs `main` and everything it spawns until it returns, the shutdown deadline passes, or the domain ends.
///
/// Returns how the domain ends: `Crash` if `main` failed.
pub(crate) fn run<T: Termination + 'static>(
    main: impl Future<Output = T> + 'static,
) -> shutdown::Reason {
    spawn(shutdown::serve());
    spawn(watchdog::serve());
    let mut main = spawn_named("main", main);
    let mut ran = TASKS;
    loop {
        #[cfg(not(xenlet = "unix"))]
        crate::event::dispatch();
        if ran >= TASKS {
            time::read_clock();
            ran = 0;
        }
        time::expire(time::round());
        let polls = executor::run_ready();
        #[cfg(feature = "inspect")]
        turns::round(polls);
        ran += polls;
        // The handle is asked on every round instead of being woken: it is one load.
        let mut cx = Context::from_waker(core::task::Waker::noop());
        if let Poll::Ready(ended) = core::pin::Pin::new(&mut main).poll(&mut cx) {
            return match ended.failure() {
                Some(text) => {
                    log::error!("main failed: {text}");
                    shutdown::Reason::Crash
                }
                None => shutdown::pending().unwrap_or(shutdown::Reason::Poweroff),
            };
        }
        if let Some(reason) = shutdown::overdue() {
            log::info!("the application's time is over; ending the domain");
            return reason;
        }
        #[cfg(not(xenlet = "unix"))]
        if crate::suspend::due(idle()) {
            ran = TASKS;
            continue;
        }
        if !idle() {
            platform::relax();
            continue;
        }
        #[cfg(feature = "inspect")]
        turns::end();
        let mut asleep = trace::sleeping();
        if !platform::wait(time::next_deadline()) {
            log::error!("every task waits and nothing can wake one; ending the domain");
            return shutdown::Reason::Crash;
        }
        asleep.end();
        ran = TASKS;
    }
}

/// A place where one task waits to be woken, and whether it was woken before it came.
#[derive(Debug, Default)]
pub struct Notify {
    set: Cell<bool>,
    waker: RefCell<Option<core::task::Waker>>,
}

impl Notify {
    /// A place where nobody waits.
    pub const fn new() -> Self {
        Self {
            set: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Wakes the task that waits here, or lets the next one that comes pass at once. O(1).
    pub fn notify(&self) {
        self.set.set(true);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready if [`notify`](Self::notify) was called since the last time this was ready.
    pub fn poll_notified(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.set.take() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        match waker.as_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits for the next [`notify`](Self::notify). One task at a time may wait here.
    pub async fn notified(&self) {
        core::future::poll_fn(|cx| self.poll_notified(cx)).await;
    }
}

/// Makes an `async fn` the application's main: `xenlet_kernel::main!(run);`.
///
/// The function takes nothing and returns `()` or a `Result` whose error says why it failed. When it returns, the
/// domain powers off; when it fails, the domain ends as crashed, with the error on its console.
#[cfg(xenlet = "xen")]
#[macro_export]
macro_rules! main {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "Rust" fn xenlet_main() -> ! {
            $crate::run::enter($main())
        }
    };
}

/// Makes an `async fn` the application's main: `xenlet_kernel::main!(run);`.
///
/// The function takes nothing and returns `()` or a `Result` whose error says why it failed; the process's exit
/// status says the same.
#[cfg(not(xenlet = "xen"))]
#[macro_export]
macro_rules! main {
    ($main:path) => {
        fn main() -> std::process::ExitCode {
            $crate::run::enter($main())
        }
    };
}

/// Where [`main!`] goes: runs the application, then ends the domain.
#[cfg(xenlet = "xen")]
#[doc(hidden)]
pub fn enter<T: Termination + 'static>(main: impl Future<Output = T> + 'static) -> ! {
    let reason = run(main);
    platform::shutdown(reason)
}

/// Where [`main!`] goes: makes this process the domain and runs the application in it.
#[cfg(not(xenlet = "xen"))]
#[doc(hidden)]
pub fn enter<T: Termination + 'static>(
    main: impl Future<Output = T> + 'static,
) -> std::process::ExitCode {
    platform::enter_process();
    let reason = run(main);
    platform::leave_process();
    match reason {
        shutdown::Reason::Crash => std::process::ExitCode::FAILURE,
        _ => std::process::ExitCode::SUCCESS,
    }
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests;
