//! Suspending: the domain is saved, and goes on later, in its place or as another domain on this or another host.
//!
//! ```text
//!   the toolstack asks ─► about_to: tasks prepare, each holding it off ─► between two rounds, xenstored owes no answer
//!                                                                                           │
//!        resumed: tasks go on ◄── (Restored: event channels, grants and watches are gone) ◄── SCHEDOP_shutdown
//! ```
//!
//! `xl save`, `xl save -c` and `xl migrate` do this; `xl pause` does not, a paused domain notices nothing. The monotonic clock
//! stands still while the domain is suspended, so that no timer and no connection runs out of time; the wall clock is right.

use crate::run::Notify;
use crate::time::{Duration, Instant};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

/// How the domain goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// As it was: it was copied only, or could not be saved.
    InPlace,
    /// As a new domain, whose devices connect anew: connections go on, and requests to disks are made again.
    Restored,
}

/// How long those who hold it off may do so, and xenstored may owe answers. The toolstack waits for a minute.
pub const GRACE: Duration = Duration::from_secs(10);

struct State {
    /// Until when it may be held off, once the toolstack has asked, and how many rounds ago it did.
    asked: Cell<Option<(Instant, u32)>>,
    holds: Cell<usize>,
    /// Those who wait for either side of it.
    waiting: RefCell<Vec<Rc<Notify>>>,
    /// How often the domain was suspended, and how it went on the last time.
    count: Cell<u64>,
    last: Cell<Resumed>,
}

local! {
    static STATE: State = State {
        asked: Cell::new(None),
        holds: Cell::new(0),
        waiting: RefCell::new(Vec::new()),
        count: Cell::new(0),
        last: Cell::new(Resumed::InPlace),
    };
}

#[cfg(not(xenlet = "unix"))]
local! {
    static LIVES: Cell<u64> = Cell::new(0);
}

/// Keeps the domain from being suspended until it is dropped, or for [`GRACE`] after the toolstack asked.
#[derive(Debug)]
#[must_use = "it holds the suspension off until it is dropped"]
pub struct Hold(());

/// Keeps the domain from being suspended, for what should not be cut in two.
pub fn hold() -> Hold {
    STATE.with(|s| s.holds.set(s.holds.get() + 1));
    Hold(())
}

impl Hold {
    /// Lets the domain be suspended, and waits until it has been.
    pub async fn resumed(self) -> Resumed {
        let count = count();
        drop(self);
        resumed(count).await
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        STATE.with(|s| s.holds.set(s.holds.get() - 1));
    }
}

/// Waits until the domain is about to be suspended, which the [`Hold`] holds off: prepare, then wait for
/// [`Hold::resumed`].
pub async fn about_to() -> Hold {
    wait_for(|s| s.asked.get().map(|_| hold())).await
}

/// How often the domain was suspended.
pub fn count() -> u64 {
    STATE.with(|s| s.count.get())
}

/// How often the domain was restored: what belongs to an earlier life is gone.
#[cfg(not(xenlet = "unix"))]
pub(crate) fn lives() -> u64 {
    LIVES.with(Cell::get)
}

/// Waits until the domain goes on after it was suspended more than `count` times, as [`count`] says.
pub(crate) async fn resumed(count: u64) -> Resumed {
    wait_for(|s| (s.count.get() != count).then(|| s.last.get())).await
}

/// Waits until `look` finds something; it looks when the domain is asked to suspend, and when it goes on.
async fn wait_for<T>(look: impl Fn(&State) -> Option<T>) -> T {
    let place = Rc::new(Notify::new());
    loop {
        if let Some(found) = STATE.with(&look) {
            return found;
        }
        STATE.with(|s| {
            let mut waiting = s.waiting.borrow_mut();
            waiting.retain(|other| Rc::strong_count(other) > 1);
            waiting.push(Rc::clone(&place));
        });
        place.notified().await;
    }
}

#[cfg(not(xenlet = "unix"))]
fn tell() {
    for place in STATE.with(|s| s.waiting.take()) {
        place.notify();
    }
}

/// Asks for the domain to be suspended, as the toolstack does.
#[cfg(not(xenlet = "unix"))]
pub(crate) fn request() {
    if STATE.with(|s| s.asked.get().is_none()) {
        STATE.with(|s| s.asked.set(Some((crate::time::now() + GRACE, 0))));
        tell();
        // A timer makes the loop come round when the time is over.
        crate::run::spawn(crate::time::sleep(GRACE));
    }
}

/// Rounds in which all who were told have run, however much else there is to do.
#[cfg(not(xenlet = "unix"))]
const ROUNDS: u32 = 8;

/// Suspends the domain if it is to be and nothing holds it off any more. True if it was: then all is to be looked at again. For the
/// loop, between two rounds; `idle` says that no task is ready.
#[cfg(not(xenlet = "unix"))]
pub(crate) fn due(idle: bool) -> bool {
    use crate::{console, event, grant, platform, time, xenstore};
    let Some((until, rounds)) = STATE.with(|s| s.asked.get()) else {
        return false;
    };
    if !idle && rounds < ROUNDS {
        STATE.with(|s| s.asked.set(Some((until, rounds + 1))));
        return false;
    }
    let (holds, quiet, over) = (
        STATE.with(|s| s.holds.get()),
        xenstore::is_quiet(),
        until <= time::now(),
    );
    if !over && (holds > 0 || !quiet) {
        return false;
    }
    STATE.with(|s| s.asked.set(None));
    if !quiet {
        // What it answers later would be lost with its half of the connection.
        log::error!(
            "suspend: xenstored has owed an answer for {} s; the domain is not suspended",
            GRACE.as_secs()
        );
        return false;
    }
    if holds > 0 {
        log::warn!(
            "suspend: {holds} tasks still hold it off after {} s; it is not put off any more",
            GRACE.as_secs()
        );
    }
    let how = grant::with_frames(platform::suspend);
    if how == Resumed::Restored {
        LIVES.with(|l| l.set(l.get() + 1));
        event::restored();
        console::restored();
        xenstore::restored();
    }
    time::read_clock();
    log::info!("suspend: {how:?}");
    STATE.with(|s| {
        s.last.set(how);
        s.count.set(s.count.get() + 1);
    });
    tell();
    true
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests;
