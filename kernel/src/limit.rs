//! Rate limits for what a peer can make us log.

use crate::metrics::ENABLED;
use crate::time::{Instant, now};
use core::cell::Cell;

local! {
    /// Lines that were not logged, of all budgets.
    static SUPPRESSED: Cell<u64> = Cell::new(0);
}

/// A budget of lines: a few at once, then one a second; the next line that passes says how many did not.
#[derive(Debug)]
pub struct RateLimit {
    burst: u32,
    left: Cell<u32>,
    refilled: Cell<Instant>,
    dropped: Cell<u64>,
}

impl RateLimit {
    /// A budget of `burst` lines at once.
    pub const fn new(burst: u32) -> Self {
        Self {
            burst,
            left: Cell::new(burst),
            refilled: Cell::new(Instant::from_nanos(0)),
            dropped: Cell::new(0),
        }
    }

    /// Takes one line from the budget: `Some(how many were dropped since the last)`, or `None` when it is used up.
    pub fn take(&self) -> Option<u64> {
        let now = now();
        let secs = now.since(self.refilled.get()).as_secs();
        if secs > 0 {
            let more = u32::try_from(secs).unwrap_or(u32::MAX);
            self.left
                .set(self.left.get().saturating_add(more).min(self.burst));
            self.refilled.set(now);
        }
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Some(self.dropped.take())
            }
            None => {
                self.dropped.set(self.dropped.get().saturating_add(1));
                if ENABLED {
                    SUPPRESSED.with(|count| count.update(|count| count.saturating_add(1)));
                }
                None
            }
        }
    }

    /// Logs a warning within the budget.
    pub fn warn(&self, text: core::fmt::Arguments<'_>) {
        match self.take() {
            Some(0) => log::warn!("{text}"),
            Some(dropped) => log::warn!("{text} ({dropped} lines like this were dropped)"),
            None => {}
        }
    }
}

/// Writes how many lines were not logged.
#[cfg(feature = "inspect")]
pub(crate) fn metrics(w: &mut crate::metrics::Writer<'_>) {
    w.counter(
        "log_suppressed_total",
        "Log lines left out because there were too many of their kind.",
        &[],
        SUPPRESSED.with(Cell::get),
    );
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests {
    use super::RateLimit;
    use crate::hosted;
    use crate::time::{Duration, sleep};

    #[test]
    fn a_burst_then_one_a_second() {
        hosted::test(async || {
            let limit = RateLimit::new(3);
            let passed = (0..100).filter(|_| limit.take().is_some()).count();
            assert_eq!(passed, 3);
            sleep(Duration::from_secs(1)).await;
            assert_eq!(
                limit.take(),
                Some(97),
                "one more after a second, with the count of the dropped"
            );
            assert_eq!(limit.take(), None);
            sleep(Duration::from_secs(60)).await;
            assert_eq!(
                (0..100).filter(|_| limit.take().is_some()).count(),
                3,
                "never more than the burst"
            );
        });
    }
}
