//! Suspending a hosted domain, as `xl save` does, and restoring it.

use super::{machine, store};
use crate::suspend::Resumed;

/// What the toolstack does for a restored domain before it runs.
pub(super) type Prepare = Box<dyn FnOnce()>;

/// Asks the domain to suspend; it goes on in its place, as after `xl save -c`.
pub fn checkpoint() {
    ask();
}

/// Asks the domain to suspend; it is restored as a new one, with other event channels, an empty grant table and an empty place in
/// xenstore. Its backends are gone: `prepare` makes its devices, as the toolstack does before the domain runs.
pub fn restore(prepare: impl FnOnce() + 'static) {
    machine(|m| *m.next_life.borrow_mut() = Some(Box::new(prepare)));
    ask();
}

fn ask() {
    store::write(&format!("{}/control/shutdown", store::HOME), "suspend");
}

/// Suspends the domain.
pub(super) fn suspend() -> Resumed {
    let Some(prepare) = machine(|m| m.next_life.take()) else {
        // It took so long that a watchdog is about to bite.
        machine(|m| m.watchdog.set(m.watchdog.get().map(|_| m.now.get())));
        return Resumed::InPlace;
    };
    // The old domain's backends go with it.
    drop(machine(|m| m.backends.take()));
    machine(|m| {
        m.life.set(m.life.get() + 1);
        m.events.borrow_mut().forget();
        m.grants.borrow_mut().forget();
        m.watchdog.set(None);
    });
    store::restart();
    prepare();
    Resumed::Restored
}
