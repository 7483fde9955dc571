//! Event channels between the guest and its hosted backends.

use super::machine;
use crate::addr::Port;

/// The ports of the guest; the index is the port, 0 is never one.
#[derive(Default)]
pub(crate) struct Ports(Vec<Ends>);

#[derive(Clone, Copy, Default)]
struct Ends {
    open: bool,
    /// A backend has bound the other end.
    bound: bool,
    guest_pending: bool,
    backend_pending: bool,
}

/// As many as the two-level ABI could have is more than a test needs; a leak shows sooner with fewer.
const MAX_PORTS: usize = 1024;

impl Ports {
    /// Closes all: a new domain has none. Numbers begin again, so that an old one is now another's.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    pub(super) fn alloc(&mut self) -> Option<Port> {
        if self.0.is_empty() {
            self.0.push(Ends {
                open: true,
                ..Ends::default()
            });
        }
        let index = self.0.iter().position(|p| !p.open).unwrap_or(self.0.len());
        if index >= MAX_PORTS {
            return None;
        }
        let ends = Ends {
            open: true,
            ..Ends::default()
        };
        match self.0.get_mut(index) {
            Some(place) => *place = ends,
            None => self.0.push(ends),
        }
        u32::try_from(index).ok().map(Port)
    }

    pub(super) fn close(&mut self, port: Port) {
        if let Some(ends) = self.get(port) {
            *ends = Ends::default();
        }
    }

    pub(super) fn send(&mut self, port: Port) {
        if let Some(ends) = self.get(port) {
            ends.backend_pending = true;
        }
    }

    /// Sends the guest an event.
    pub(super) fn raise(&mut self, port: Port) {
        if let Some(ends) = self.get(port) {
            ends.guest_pending = true;
        }
    }

    pub(super) fn take_pending(&mut self, port: Port) -> bool {
        self.get(port)
            .is_some_and(|ends| core::mem::take(&mut ends.guest_pending))
    }

    pub(super) fn any_pending(&self, ports: &[u32]) -> bool {
        ports.iter().any(|port| {
            self.0
                .get(*port as usize)
                .is_some_and(|ends| ends.guest_pending)
        })
    }

    fn get(&mut self, port: Port) -> Option<&mut Ends> {
        self.0
            .get_mut(port.0 as usize)
            .filter(|ends| ends.open && port.0 != 0)
    }
}

/// How many event channels the guest has.
pub fn ports() -> usize {
    machine(|m| {
        let events = m.events.borrow();
        // Port 0 is never one.
        events.0.iter().skip(1).filter(|ends| ends.open).count()
    })
}

/// A backend's end of an event channel.
#[derive(Debug)]
pub struct BackendPort {
    port: Port,
    /// The life of the domain that it belongs to.
    life: u32,
}

impl BackendPort {
    /// Binds the other end of the guest's `port` (`EVTCHNOP_bind_interdomain`); `None` if the guest has no such port
    /// or its other end is taken. As on Xen, the guest gets an event by it.
    pub fn bind(port: Port) -> Option<Self> {
        machine(|m| {
            let mut events = m.events.borrow_mut();
            let ends = events.get(port).filter(|ends| !ends.bound)?;
            ends.bound = true;
            ends.guest_pending = true;
            let life = m.life.get();
            Some(Self { port, life })
        })
    }

    /// Sends the guest an event.
    pub fn notify(&self) {
        self.with(|m| m.events.borrow_mut().raise(self.port));
    }

    /// Whether the guest sent an event since the last time.
    pub fn take_pending(&self) -> bool {
        self.with(|m| {
            let mut events = m.events.borrow_mut();
            events
                .get(self.port)
                .is_some_and(|ends| core::mem::take(&mut ends.backend_pending))
        })
        .unwrap_or(false)
    }

    /// Calls `f` unless the domain has been restored, and the channel is gone.
    fn with<R>(&self, f: impl FnOnce(&super::Machine) -> R) -> Option<R> {
        machine(|m| (m.life.get() == self.life).then(|| f(m)))
    }
}

impl Drop for BackendPort {
    fn drop(&mut self) {
        // A process that ends takes its backends with it; there are no ports any more then.
        let _ = super::MACHINE.try_with(|machine| {
            let Some(machine) = machine.get() else { return };
            if machine.life.get() == self.life
                && let Some(ends) = machine.events.borrow_mut().get(self.port)
            {
                ends.bound = false;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosted::{Backend, add_backend};

    struct Bound(#[allow(dead_code, reason = "it is held")] BackendPort);

    impl Backend for Bound {
        fn poll(&mut self) -> bool {
            false
        }
    }

    /// As at the end of a process: what it has goes with its thread.
    #[test]
    fn a_thread_ends_with_its_backends_as_they_are() {
        let domain = std::thread::spawn(|| {
            let port = machine(|m| m.events.borrow_mut().alloc()).unwrap();
            add_backend(Box::new(Bound(BackendPort::bind(port).unwrap())));
        });
        domain.join().unwrap();
    }
}
