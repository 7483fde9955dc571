//! How many may be inside at once; the others wait, first come first served.

use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use core::cell::{Cell, RefCell};
use xenlet_kernel::run::Notify;
use xenlet_kernel::trace;

/// A number of places.
pub(crate) struct Gate {
    free: Cell<usize>,
    queue: RefCell<VecDeque<Weak<Waiter>>>,
}

#[derive(Default)]
struct Waiter {
    /// Whether a place was handed over to it.
    granted: Cell<bool>,
    notify: Notify,
}

/// A place inside, or in the queue. Dropping it gives it up.
pub(crate) struct Place<'g> {
    gate: &'g Gate,
    waiter: Option<Rc<Waiter>>,
}

impl Gate {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            free: Cell::new(places),
            queue: RefCell::default(),
        }
    }

    /// Waits for a place.
    pub(crate) async fn enter(&self) -> Place<'_> {
        if let Some(free) = self.free.get().checked_sub(1) {
            self.free.set(free);
            return Place {
                gate: self,
                waiter: None,
            };
        }
        let waiter = Rc::new(Waiter::default());
        self.queue.borrow_mut().push_back(Rc::downgrade(&waiter));
        let place = Place {
            gate: self,
            waiter: Some(Rc::clone(&waiter)),
        };
        while !waiter.granted.get() {
            trace::waiting("another handshake", waiter.notify.notified()).await;
        }
        place
    }

    fn leave(&self) {
        loop {
            let next = self.queue.borrow_mut().pop_front();
            match next.map(|waiter| waiter.upgrade()) {
                Some(Some(waiter)) => {
                    waiter.granted.set(true);
                    return waiter.notify.notify();
                }
                // It gave up.
                Some(None) => {}
                None => return self.free.update(|free| free + 1),
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Who still waits has none.
        if self
            .waiter
            .as_ref()
            .is_none_or(|waiter| waiter.granted.get())
        {
            self.gate.leave();
        }
    }
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests {
    use super::*;
    use xenlet_kernel::hosted;
    use xenlet_kernel::run::{spawn, yield_now};
    use xenlet_kernel::time::{Duration, sleep, timeout};

    #[test]
    fn never_more_than_there_are_places_and_everybody_gets_one() {
        hosted::test(async || {
            let gate = Rc::new(Gate::new(3));
            let (inside, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let tasks: Vec<_> = (0..50)
                .map(|n| {
                    let (gate, inside, most) = (gate.clone(), inside.clone(), most.clone());
                    spawn(async move {
                        let wait = Duration::from_millis(n % 7);
                        // Some give up.
                        let Ok(_place) = timeout(wait * 4, gate.enter()).await else {
                            return;
                        };
                        inside.set(inside.get() + 1);
                        most.set(most.get().max(inside.get()));
                        sleep(wait).await;
                        inside.set(inside.get() - 1);
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            assert_eq!((most.get(), gate.free.get()), (3, 3));
            assert!(
                gate.queue
                    .borrow()
                    .iter()
                    .all(|waiter| waiter.upgrade().is_none())
            );
        });
    }

    #[test]
    fn a_place_that_comes_too_late_is_passed_on() {
        hosted::test(async || {
            let gate = Gate::new(1);
            let first = gate.enter().await;
            let mut second = Box::pin(gate.enter());
            let mut third = Box::pin(gate.enter());
            for waiting in [&mut second, &mut third] {
                assert!(timeout(Duration::ZERO, waiting).await.is_err());
            }
            drop(first);
            // Granted, and never looked at.
            drop(second);
            yield_now().await;
            drop(third.await);
            assert_eq!(gate.free.get(), 1);
        });
    }
}
