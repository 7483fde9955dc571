//! Timers: the deadlines that tasks wait for, in order.

use super::{Deadlines, Duration, Instant, now, round};
use crate::trace;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// Timers, by number.
struct Timers {
    deadlines: Deadlines,
    places: Vec<Place>,
    /// A number that nobody has.
    free: u32,
}

enum Place {
    /// Nobody's, and the next one that is.
    Free(u32),
    /// Somebody's who does not wait, or who was woken.
    Idle,
    Waits(Waker),
}

/// The end of the list of free numbers.
const NONE: u32 = u32::MAX;

local! {
    static TIMERS: RefCell<Timers> = RefCell::new(Timers {
        deadlines: Deadlines::new(),
        places: Vec::new(),
        free: NONE,
    });
}

impl Timers {
    /// A number for a timer.
    ///
    /// # Panics
    /// When there is no memory for it: as any small allocation.
    fn take(&mut self) -> u32 {
        let number = self.free;
        if number != NONE {
            let place = core::mem::replace(&mut self.places[number as usize], Place::Idle);
            if let Place::Free(next) = place {
                self.free = next;
            }
            return number;
        }
        let count = self.places.len() + 1;
        let Ok(number) = u32::try_from(count - 1) else {
            panic!("{count} timers");
        };
        assert!(
            self.deadlines.reserve(count).is_ok(),
            "no memory for a timer"
        );
        self.places.push(Place::Idle);
        number
    }

    /// Sets the timer `number`, to `deadline` or, if it is set to an earlier one, to that. What this and the next one
    /// return, a waker maybe, is to be dropped where nothing is borrowed: that may drop a future that holds a timer.
    fn set(&mut self, number: u32, deadline: Instant, waker: &Waker) -> Option<Place> {
        self.deadlines.no_later_than(number, deadline);
        match &mut self.places[number as usize] {
            Place::Waits(other) if other.will_wake(waker) => None,
            place => Some(core::mem::replace(place, Place::Waits(waker.clone()))),
        }
    }

    /// Takes the number back.
    fn give_back(&mut self, number: u32) -> Place {
        self.deadlines.remove(number);
        let free = core::mem::replace(&mut self.free, number);
        core::mem::replace(&mut self.places[number as usize], Place::Free(free))
    }
}

fn with_timers<R>(f: impl FnOnce(&mut Timers) -> R) -> R {
    TIMERS.with(|timers| f(&mut timers.borrow_mut()))
}

/// Wakes every task whose deadline has come.
pub(crate) fn expire(now: Instant) {
    loop {
        // One at a time, and woken where nothing is borrowed.
        let due = with_timers(|timers| {
            let number = timers.deadlines.pop_due(now)?;
            let place = &mut timers.places[number as usize];
            Some(core::mem::replace(place, Place::Idle))
        });
        match due {
            Some(Place::Waits(waker)) => {
                trace::by_timer();
                waker.wake();
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// The earliest deadline that a task waits for.
pub(crate) fn next_deadline() -> Option<Instant> {
    with_timers(|timers| timers.deadlines.next())
}

/// Writes how many there are.
#[cfg(feature = "inspect")]
pub(crate) fn metrics(w: &mut crate::metrics::Writer<'_>) {
    let waiting = with_timers(|timers| {
        let waits = |place: &&Place| matches!(place, Place::Waits(_));
        timers.places.iter().filter(waits).count()
    });
    w.gauge("timers", "Timers that tasks wait for.", &[], waiting);
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

/// A number among the timers. It may be set to an earlier point than its sleep waits for: then it is only moved on.
#[derive(Debug)]
struct Timer(u32);

impl Drop for Timer {
    fn drop(&mut self) {
        drop(with_timers(|timers| timers.give_back(self.0)));
    }
}

impl Sleep {
    /// The point that this waits for.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits for another point instead. One that is put off again and again costs next to nothing: its timer stays
    /// where it is, and is set anew when it goes off too early.
    pub fn reset(&mut self, deadline: Instant) {
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
        self.reset(round() + duration);
        self.race(future)
    }

    /// Waits for `future`, but no longer than this sleep does.
    fn race<F: Future + Unpin>(
        &mut self,
        mut future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        core::future::poll_fn(move |cx| {
            if let Poll::Ready(value) = Pin::new(&mut future).poll(cx) {
                return Poll::Ready(Ok(value));
            }
            Pin::new(&mut *self).poll(cx).map(|()| Err(Elapsed))
        })
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= round() {
            self.timer = None;
            return Poll::Ready(());
        }
        let deadline = self.deadline;
        drop(with_timers(|timers| {
            let timer = self.timer.get_or_insert_with(|| Timer(timers.take()));
            timers.set(timer.0, deadline, cx.waker())
        }));
        trace::waits_for("a timer");
        Poll::Pending
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
    sleep(duration).race(core::pin::pin!(future)).await
}
