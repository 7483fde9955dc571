//! Timers: the deadlines that tasks wait for, in order.

use crate::time::{Duration, Instant, now, round};
use alloc::collections::BTreeMap;
use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

struct Timers {
    /// Ordered by deadline; the number tells timers of one deadline apart.
    waiting: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

local! {
    static TIMERS: RefCell<Timers> = RefCell::new(Timers { waiting: BTreeMap::new(), next: 0 });
}

/// Wakes every task whose deadline has come.
pub(crate) fn expire(now: Instant) {
    loop {
        // One at a time, and woken outside the borrow: a waker may drop a future that holds a timer.
        let due = TIMERS.with(|t| {
            let mut t = t.borrow_mut();
            let first = t.waiting.first_entry()?;
            (first.key().0 <= now).then(|| first.remove())
        });
        match due {
            Some(waker) => waker.wake(),
            None => return,
        }
    }
}

/// The earliest deadline that a task waits for.
pub(crate) fn next_deadline() -> Option<Instant> {
    TIMERS.with(|t| t.borrow().waiting.first_key_value().map(|(key, _)| key.0))
}

/// Waits for `duration` from now.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now() + duration)
}

/// Waits until the clock reaches `deadline`.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        timer: None,
    }
}

/// The future of [`sleep`] and [`sleep_until`]. Dropping it gives its timer back.
#[derive(Debug)]
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep {
    deadline: Instant,
    timer: Option<Timer>,
}

/// A sleep's place among the timers: at its deadline or before, when it is only moved on.
#[derive(Debug)]
struct Timer {
    key: (Instant, u64),
    waker: Waker,
}

impl Sleep {
    /// The point that this waits for.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits for another point instead. One that is put off again and again costs next to nothing: its timer stays
    /// where it is, and is set anew when it goes off too early.
    pub fn reset(&mut self, deadline: Instant) {
        if self
            .timer
            .as_ref()
            .is_some_and(|timer| timer.key.0 > deadline)
        {
            self.cancel();
        }
        self.deadline = deadline;
    }

    /// Waits for `future`, but no longer than `duration` from the beginning of this round of the loop: as [`timeout`],
    /// with one timer for all that follow one another.
    ///
    /// # Errors
    /// [`Elapsed`] when the time ran out first. A future that is ready in the same moment wins.
    pub fn limit<F: Future + Unpin>(
        &mut self,
        duration: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        self.race(Some(round() + duration), future)
    }

    /// Waits for `future` or until `deadline`, if that is another than there is.
    fn race<F: Future + Unpin>(
        &mut self,
        mut deadline: Option<Instant>,
        mut future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        core::future::poll_fn(move |cx| {
            if let Poll::Ready(value) = Pin::new(&mut future).poll(cx) {
                return Poll::Ready(Ok(value));
            }
            // Only now: most are ready at once.
            if let Some(deadline) = deadline.take() {
                self.reset(deadline);
            }
            Pin::new(&mut *self).poll(cx).map(|()| Err(Elapsed))
        })
    }

    fn cancel(&mut self) {
        if let Some(timer) = self.timer.take() {
            let waker = TIMERS.with(|t| t.borrow_mut().waiting.remove(&timer.key));
            drop(waker);
        }
    }

    fn arm(&mut self, waker: &Waker) {
        self.cancel();
        let key = TIMERS.with(|t| {
            let mut t = t.borrow_mut();
            t.next += 1;
            let key = (self.deadline, t.next);
            t.waiting.insert(key, waker.clone());
            key
        });
        self.timer = Some(Timer {
            key,
            waker: waker.clone(),
        });
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let round = round();
        if self.deadline <= round {
            self.cancel();
            return Poll::Ready(());
        }
        let is_set = |timer: &Timer| timer.key.0 > round && timer.waker.will_wake(cx.waker());
        if !self.timer.as_ref().is_some_and(is_set) {
            self.arm(cx.waker());
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The time given to [`timeout`] ran out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl core::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("timed out")
    }
}

impl core::error::Error for Elapsed {}

/// Waits for `future`, but no longer than `duration`; the future is dropped when the time is up.
///
/// # Errors
/// [`Elapsed`] when the time ran out first. A future that is ready in the same moment wins.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    sleep(duration).race(None, core::pin::pin!(future)).await
}
