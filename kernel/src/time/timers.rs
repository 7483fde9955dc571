//! Timers: the deadlines that tasks wait for, in order.

use crate::time::{Duration, Instant, now};
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
        number: None,
    }
}

/// The future of [`sleep`] and [`sleep_until`]. Dropping it gives its timer back.
#[derive(Debug)]
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep {
    deadline: Instant,
    /// Which timer of `deadline` is ours, once there is one.
    number: Option<u64>,
}

impl Sleep {
    /// The point that this waits for.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits for another point instead.
    pub fn reset(&mut self, deadline: Instant) {
        self.cancel();
        self.deadline = deadline;
    }

    fn cancel(&mut self) {
        if let Some(number) = self.number.take() {
            let waker = TIMERS.with(|t| t.borrow_mut().waiting.remove(&(self.deadline, number)));
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= now() {
            self.cancel();
            return Poll::Ready(());
        }
        let deadline = self.deadline;
        let old = TIMERS.with(|t| {
            let mut t = t.borrow_mut();
            let number = *self.number.get_or_insert_with(|| {
                t.next += 1;
                t.next
            });
            t.waiting.insert((deadline, number), cx.waker().clone())
        });
        drop(old);
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
    let mut sleep = sleep(duration);
    let mut future = core::pin::pin!(future);
    core::future::poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed))
    })
    .await
}
