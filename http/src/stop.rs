//! The order to stop, and the connections that wait idle for it.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// A place in the table of wakers, one for each connection.
pub(crate) type Slot = usize;

/// Wakes idle connections when the server stops, and who waits for them when the last is gone.
#[derive(Default)]
pub(crate) struct Stop {
    stopping: Cell<bool>,
    table: RefCell<Table>,
}

#[derive(Default)]
struct Table {
    idle: Vec<Option<Waker>>,
    free: Vec<Slot>,
    /// Waits in [`Stop::emptied`].
    last: Option<Waker>,
}

impl Stop {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    pub(crate) fn enter(&self) -> Slot {
        let mut table = self.table.borrow_mut();
        table.free.pop().unwrap_or_else(|| {
            table.idle.push(None);
            table.idle.len() - 1
        })
    }

    pub(crate) fn leave(&self, slot: Slot) {
        let mut table = self.table.borrow_mut();
        table.idle[slot] = None;
        table.free.push(slot);
        let last = if table.free.len() == table.idle.len() {
            table.last.take()
        } else {
            None
        };
        drop(table);
        if let Some(waker) = last {
            waker.wake();
        }
    }

    /// Gives the order. Wakes every connection that waits for a request.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        // Waking may run anything: not while the table is borrowed.
        let wakers: Vec<Waker> = self
            .table
            .borrow_mut()
            .idle
            .iter_mut()
            .filter_map(Option::take)
            .collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Runs `future`, unless the server stops first: then `None`.
    pub(crate) async fn unless_stopping<F: Future + Unpin>(
        &self,
        slot: Slot,
        mut future: F,
    ) -> Option<F::Output> {
        poll_fn(|context| match Pin::new(&mut future).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.is_stopping() => Poll::Ready(None),
            Poll::Pending => {
                remember(&mut self.table.borrow_mut().idle[slot], context);
                Poll::Pending
            }
        })
        .await
    }

    /// Waits until no connection is left.
    pub(crate) async fn emptied(&self) {
        poll_fn(|context| {
            let mut table = self.table.borrow_mut();
            if table.free.len() == table.idle.len() {
                return Poll::Ready(());
            }
            remember(&mut table.last, context);
            Poll::Pending
        })
        .await;
    }
}

fn remember(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}
