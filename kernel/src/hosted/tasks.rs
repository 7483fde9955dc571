//! Every task of a hosted domain, so that all can be dropped when it ends.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

type DropTask = Box<dyn FnOnce()>;

local! {
    static TASKS: RefCell<Vec<(std::rc::Weak<()>, DropTask)>> = RefCell::new(Vec::new());
}

/// A future that [`drop_all`] can drop wherever it waits.
pub(crate) struct Tracked<F> {
    future: Rc<RefCell<Option<Pin<Box<F>>>>>,
    _alive: Rc<()>,
}

/// Makes `future` one that [`drop_all`] can drop.
pub(crate) fn track<F: Future + 'static>(future: F) -> Tracked<F> {
    let future = Rc::new(RefCell::new(Some(Box::pin(future))));
    let alive = Rc::new(());
    let held = Rc::downgrade(&future);
    TASKS.with(|t| {
        let mut tasks = t.borrow_mut();
        if tasks.len() >= 64 && tasks.len().is_power_of_two() {
            tasks.retain(|(alive, _)| alive.strong_count() > 0);
        }
        let drop_task = Box::new(move || {
            let future = held
                .upgrade()
                .and_then(|f| f.try_borrow_mut().ok().and_then(|mut f| f.take()));
            drop(future);
        });
        tasks.push((Rc::downgrade(&alive), drop_task));
    });
    Tracked {
        future,
        _alive: alive,
    }
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.future.borrow_mut().as_mut() {
            Some(future) => future.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Drops every task. What they drop may still use the domain.
pub(super) fn drop_all() {
    loop {
        let tasks = TASKS.with(RefCell::take);
        if tasks.is_empty() {
            return;
        }
        for (_, drop_task) in tasks {
            drop_task();
        }
    }
}
