//! Time: a monotonic clock, the wall clock, and timers for tasks.
//!
//! On Xen both clocks come from the shared info page without a hypercall. In a hosted test time is the test's:
//! it stands still while tasks run and jumps to the next deadline when all of them wait.

mod deadlines;
mod timers;

pub use core::time::Duration;
pub use deadlines::Deadlines;
#[cfg(feature = "inspect")]
pub(crate) use timers::metrics;
pub use timers::{Elapsed, Sleep, sleep, sleep_until, timeout};
pub(crate) use timers::{expire, next_deadline};

use crate::platform;
use core::cell::Cell;

/// A point on the monotonic clock, in nanoseconds since some moment before the domain started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The point `ns` nanoseconds after the clock's zero.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the clock's zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to here, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time from here to now.
    pub fn elapsed(self) -> Duration {
        now().since(self)
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    /// The point `by` later; the end of time (584 years) if that is beyond it.
    fn add(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// Reads the monotonic clock.
pub fn now() -> Instant {
    Instant(platform::monotonic_ns())
}

local! {
    static ROUND: Cell<Instant> = Cell::new(Instant(0));
}

/// The time as the loop knows it: what the clock said when the loop last woke, or some tasks ago if it has not slept since.
/// Reading it costs nothing, while a virtual machine's clock may cost a trap; whatever counts in milliseconds counts
/// from here.
pub fn round() -> Instant {
    ROUND.with(Cell::get)
}

/// Reads the clock for the rounds to come.
pub(crate) fn read_clock() {
    let now = now();
    ROUND.with(|round| round.set(now));
}

/// The wall clock at [`round`]: the time since the Unix epoch (UTC), or `None` while the host has not
/// said it.
pub fn wall() -> Option<Duration> {
    platform::wall()
}
