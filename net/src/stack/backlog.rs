//! Ports that take connections, and the connections that wait to be accepted.

use super::table::Id;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::task::{Context, Poll};
use xenlet_kernel::run::Notify;
use xenlet_kernel::trace::waits_for;

/// How many connections to a port may be half open before SYNs are answered by cookies.
const HALF_OPEN: usize = 256;

/// One listening port.
#[derive(Debug)]
pub(crate) struct Backlog {
    port: u16,
    /// How many connections may wait to be accepted.
    limit: usize,
    /// How many are half open, and how many wait.
    half_open: Cell<usize>,
    waiting: Cell<usize>,
    /// Those that wait: the interface's place in the list of stacks, and the connection.
    ready: RefCell<VecDeque<(usize, Id)>>,
    arrived: Notify,
}

/// How many connections to a port there are that nobody has accepted, and how many may be.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) half_open: usize,
    /// From which on SYNs are answered by cookies.
    pub(crate) half_open_limit: usize,
    pub(crate) waiting: usize,
    pub(crate) waiting_limit: usize,
}

impl Backlog {
    /// Whether one more half-open connection may be taken; if so it is counted, and there is room for it to wait.
    pub(crate) fn admit(&self) -> bool {
        let admitted = self.half_open.get() < HALF_OPEN && self.has_room();
        self.half_open.update(|count| count + usize::from(admitted));
        admitted
    }

    /// The port, and how full it is.
    pub(crate) fn usage(&self) -> (u16, Usage) {
        let usage = Usage {
            half_open: self.half_open.get(),
            half_open_limit: HALF_OPEN,
            waiting: self.waiting.get(),
            waiting_limit: self.limit,
        };
        (self.port, usage)
    }

    /// Whether one more may wait to be accepted that was not half open before; if so it is counted.
    pub(crate) fn admit_established(&self) -> bool {
        let admitted = self.has_room();
        self.waiting.update(|count| count + usize::from(admitted));
        admitted
    }

    /// Whether as many wait as may.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.get() >= self.limit
    }

    /// Whether one more may wait. Makes room for it, also for when all that are half open wait.
    fn has_room(&self) -> bool {
        if self.is_full() {
            return false;
        }
        let mut ready = self.ready.borrow_mut();
        let most = self.half_open.get() + self.waiting.get() + 1;
        let missing = most.saturating_sub(ready.len());
        ready.try_reserve(missing).is_ok()
    }

    /// One that was half open is gone.
    pub(crate) fn abandoned(&self) {
        self.half_open.update(|count| count.saturating_sub(1));
    }

    /// One that was half open is established.
    pub(crate) fn established(&self) {
        self.abandoned();
        self.waiting.update(|count| count + 1);
    }

    /// One that waited is accepted, or gone.
    pub(crate) fn accepted(&self) {
        self.waiting.update(|count| count.saturating_sub(1));
    }

    /// One that was admitted waits to be accepted.
    pub(crate) fn ready(&self, stack: usize, id: Id) {
        self.ready.borrow_mut().push_back((stack, id));
        self.arrived.notify();
    }

    /// The next connection to accept.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<(usize, Id)> {
        loop {
            if let Some(next) = self.ready.borrow_mut().pop_front() {
                return Poll::Ready(next);
            }
            if self.arrived.poll_notified(cx).is_pending() {
                waits_for("a connection");
                return Poll::Pending;
            }
        }
    }
}

/// The ports that take connections. There are few: they are searched one by one.
#[derive(Debug, Default)]
pub(crate) struct Ports(RefCell<Vec<Rc<Backlog>>>);

impl Ports {
    /// Takes connections to `port`; `None` if it is taken.
    pub(crate) fn listen(&self, port: u16, limit: usize) -> Option<Rc<Backlog>> {
        if self.find(port).is_some() {
            return None;
        }
        let backlog = Rc::new(Backlog {
            port,
            limit,
            half_open: Cell::new(0),
            waiting: Cell::new(0),
            ready: RefCell::default(),
            arrived: Notify::new(),
        });
        self.0.borrow_mut().push(Rc::clone(&backlog));
        Some(backlog)
    }

    /// Who takes connections to `port`.
    pub(crate) fn find(&self, port: u16) -> Option<Rc<Backlog>> {
        self.0
            .borrow()
            .iter()
            .find(|backlog| backlog.port == port)
            .cloned()
    }

    /// Every one.
    pub(crate) fn all(&self) -> Vec<Rc<Backlog>> {
        self.0.borrow().clone()
    }

    /// Takes no more connections for `backlog`.
    pub(crate) fn close(&self, backlog: &Rc<Backlog>) {
        self.0
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, backlog));
    }
}
