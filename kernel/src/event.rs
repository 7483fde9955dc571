//! Event channels: how domains nudge each other (`xen/event_channel.h`, the two-level ABI).
//!
//! Every port stays masked and no upcall is ever taken: [`dispatch`] looks at the pending bits of the ports that are
//! bound here, on each round of the loop, and `SCHEDOP_poll` wakes on them while the domain sleeps.

use crate::addr::{DomId, Port};
use crate::run::Notify;
use crate::{platform, trace};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::task::{Context, Poll};

/// Most ports that `SCHEDOP_poll` takes.
pub(crate) const MAX_PORTS: usize = 128;

/// An event channel could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPort;

impl core::fmt::Display for NoPort {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "no event channel left (this domain may have {MAX_PORTS})"
        )
    }
}

impl core::error::Error for NoPort {}

#[derive(Debug)]
struct Bound {
    /// 0, which is none, once the domain was restored: other channels have its number then.
    port: Cell<Port>,
    place: Notify,
}

local! {
    static BOUND: RefCell<Vec<Rc<Bound>>> = RefCell::new(Vec::new());
}
local! {
    static COUNTS: Cell<(u64, u64)> = Cell::new((0, 0));
}

/// Events sent and received so far.
pub fn counts() -> (u64, u64) {
    COUNTS.with(Cell::get)
}

/// Event channels there are now.
pub(crate) fn count() -> usize {
    BOUND.with(|b| b.borrow().len())
}

/// One end of an event channel. Closed when dropped.
#[derive(Debug)]
pub struct Channel(Rc<Bound>);

impl Channel {
    /// A new channel that `peer` can bind the other end of.
    ///
    /// # Errors
    /// When Xen has no port left for this domain, or `SCHEDOP_poll` could not wait for one more.
    pub fn unbound(peer: DomId) -> Result<Self, NoPort> {
        if BOUND.with(|b| b.borrow().len()) >= MAX_PORTS {
            return Err(NoPort);
        }
        let port = platform::evtchn_alloc_unbound(peer).ok_or(NoPort)?;
        Ok(Self::bound(port))
    }

    /// A channel that the toolstack made: the console's or xenstore's.
    pub(crate) fn bound(port: Port) -> Self {
        let bound = Rc::new(Bound {
            port: Cell::new(port),
            place: Notify::new(),
        });
        BOUND.with(|b| b.borrow_mut().push(Rc::clone(&bound)));
        Self(bound)
    }

    /// The port, for the peer to be told.
    pub fn port(&self) -> Port {
        self.0.port.get()
    }

    /// Sends an event to the other end.
    pub fn notify(&self) {
        COUNTS.with(|c| c.set((c.get().0 + 1, c.get().1)));
        platform::evtchn_send(self.port());
    }

    /// Ready once for any number of events that came since the last time.
    pub fn poll_event(&self, cx: &mut Context<'_>) -> Poll<()> {
        let event = self.0.place.poll_notified(cx);
        if event.is_pending() {
            trace::waits_for("an event");
        }
        event
    }

    /// Waits for an event. One task at a time may wait for a channel.
    pub async fn event(&self) {
        trace::waiting("an event", self.0.place.notified()).await;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if self.port() != NONE {
            BOUND.with(|b| {
                b.borrow_mut().retain(|bound| !Rc::ptr_eq(bound, &self.0));
            });
            platform::evtchn_close(self.port());
        }
    }
}

/// The port that is none.
const NONE: Port = Port(0);

/// Forgets every channel: a restored domain has none of them. Those who wait for one are woken.
pub(crate) fn restored() {
    for bound in BOUND.with(RefCell::take) {
        bound.port.set(NONE);
        bound.place.notify();
    }
}

/// Wakes the tasks of the ports that have a pending event.
pub(crate) fn dispatch() {
    BOUND.with(|b| {
        for bound in b.borrow().iter() {
            if platform::take_pending(bound.port.get()) {
                COUNTS.with(|c| c.set((c.get().0, c.get().1 + 1)));
                trace::by_event(bound.port.get());
                bound.place.notify();
            }
        }
    });
}

/// Calls `f` with the ports to wait for.
pub(crate) fn with_ports<R>(f: impl FnOnce(&[u32]) -> R) -> R {
    BOUND.with(|b| {
        let bound = b.borrow();
        let mut ports = [0; MAX_PORTS];
        let count = bound.len().min(MAX_PORTS);
        for (place, bound) in ports.iter_mut().zip(bound.iter()) {
            *place = bound.port.get().0;
        }
        f(&ports[..count])
    })
}
