//! Ports that take connections, and the connections that wait to be accepted.

use super::table::Id;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::task::{Context, Poll};
use xenlet_kernel::run::Notify;

/// One listening port.
#[derive(Debug)]
pub(crate) struct Backlog {
    port: u16,
    /// How many connections may be half open or wait to be accepted.
    limit: usize,
    /// How many are.
    pending: Cell<usize>,
    /// Those that wait: the interface's place in the list of stacks, and the connection.
    ready: RefCell<VecDeque<(usize, Id)>>,
    arrived: Notify,
}

impl Backlog {
    /// Whether one more half-open connection may be taken; if so it is counted, and there is room for it to wait.
    pub(crate) fn admit(&self) -> bool {
        let pending = self.pending.get();
        if pending >= self.limit {
            return false;
        }
        let mut ready = self.ready.borrow_mut();
        let missing = (pending + 1).saturating_sub(ready.len());
        if ready.try_reserve(missing).is_err() {
            return false;
        }
        self.pending.set(pending + 1);
        true
    }

    /// One that was admitted is gone.
    pub(crate) fn gone(&self) {
        self.pending.set(self.pending.get().saturating_sub(1));
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
            pending: Cell::new(0),
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

    /// Takes no more connections for `backlog`.
    pub(crate) fn close(&self, backlog: &Rc<Backlog>) {
        self.0
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, backlog));
    }
}
