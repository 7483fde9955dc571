//! The domain's network: its interfaces, and what they share. It comes up when the first socket is made.

use crate::stack::backlog::Ports;
use crate::stack::buffers::Buffers;
use crate::stack::hash::Key;
use crate::stack::{Stack, drive};
use crate::{Error, InterfaceInfo, metrics, words};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, OnceCell, RefCell};
use core::net::Ipv4Addr;
use xenlet_kernel::run::{Notify, spawn, spawn_named};
use xenlet_kernel::{local, xenbus};

local! {
    static NETWORK: OnceCell<Rc<Network>> = OnceCell::new();
}

/// What the interfaces share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Listening TCP ports.
    pub(crate) ports: Ports,
    pub(crate) buffers: Buffers,
    pub(crate) key: Key,
    /// Whether some vif was connected, and some interface had an address, for the boot's timeline.
    pub(crate) linked: Cell<bool>,
    pub(crate) addressed: Cell<bool>,
    waiting: RefCell<Vec<Rc<Notify>>>,
}

impl Shared {
    /// Tells those who wait that an interface came up, went down or has another address.
    pub(crate) fn changed(&self) {
        for place in self.waiting.take() {
            place.notify();
        }
    }

    fn join(&self, place: &Rc<Notify>) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|other| Rc::strong_count(other) > 1);
        waiting.push(Rc::clone(place));
    }

    /// Waits until `look` finds something.
    async fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let place = Rc::new(Notify::new());
        loop {
            if let Some(found) = look() {
                return found;
            }
            self.join(&place);
            place.notified().await;
        }
    }
}

/// The network.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) shared: Rc<Shared>,
    stacks: RefCell<Vec<Rc<Stack>>>,
    /// Whether all the stacks there will be are there.
    listed: Cell<bool>,
    /// Bound UDP ports.
    udp: RefCell<Vec<u16>>,
}

impl Network {
    /// The domain's network, which begins to come up if it has not.
    ///
    /// # Errors
    /// [`Error::Word`] when the command line says something of the network that makes no sense.
    pub(crate) fn get() -> Result<Rc<Self>, Error> {
        if let Some(network) = current() {
            return Ok(network);
        }
        words::check()?;
        #[cfg(not(xenlet = "xen"))]
        crate::hosted::attach_process()?;
        let shared = Shared {
            ports: Ports::default(),
            buffers: Buffers::new()?,
            key: Key::draw(),
            linked: Cell::new(false),
            addressed: Cell::new(false),
            waiting: RefCell::default(),
        };
        let network = Rc::new(Self {
            shared: Rc::new(shared),
            stacks: RefCell::default(),
            listed: Cell::new(false),
            udp: RefCell::default(),
        });
        NETWORK.with(|n| {
            n.get_or_init(|| Rc::clone(&network));
        });
        spawn(Rc::clone(&network).bring_up());
        xenlet_kernel::metrics::provide("network", metrics::write);
        Ok(network)
    }

    async fn bring_up(self: Rc<Self>) {
        let numbers = match xenbus::list("vif").await {
            Ok(numbers) => numbers,
            Err(e) => {
                log::error!(target: "net", "cannot list this guest's vifs: {e}");
                Vec::new()
            }
        };
        if numbers.is_empty() {
            log::info!(target: "net", "no vif: this guest has no network");
        }
        for (index, number) in numbers.into_iter().enumerate() {
            // A word that makes no sense was refused when the network was asked for.
            let fixed = words::address(number).unwrap_or_default();
            let stack = Stack::new(index, number, fixed, Rc::clone(&self.shared));
            for &port in self.udp.borrow().iter() {
                if let Err(e) = stack.bind_udp(port) {
                    log::error!(target: "net", "vif{number}: UDP port {port}: {e}");
                }
            }
            self.stacks.borrow_mut().push(Rc::clone(&stack));
            spawn_named("interface", drive(stack));
        }
        self.listed.set(true);
        self.shared.changed();
    }

    /// Waits until all the stacks there will be are there.
    pub(crate) async fn listed(&self) {
        self.shared
            .wait_for(|| self.listed.get().then_some(()))
            .await;
    }

    /// The stack at a place of the list.
    pub(crate) fn stack(&self, index: usize) -> Option<Rc<Stack>> {
        self.stacks.borrow().get(index).cloned()
    }

    /// Every stack.
    pub(crate) fn stacks(&self) -> Vec<Rc<Stack>> {
        self.stacks.borrow().clone()
    }

    /// Waits for a stack that leads to `to`.
    pub(crate) async fn route(&self, to: Ipv4Addr) -> Result<Rc<Stack>, Error> {
        self.shared
            .wait_for(|| match self.route_now(to) {
                Err(Error::NoAddress) => None,
                other => Some(other),
            })
            .await
    }

    /// A stack that leads to `to`: the one in whose subnet it is, else the first with a gateway.
    pub(crate) fn route_now(&self, to: Ipv4Addr) -> Result<Rc<Stack>, Error> {
        let stacks = self.stacks.borrow();
        if stacks.is_empty() {
            return Err(if self.listed.get() {
                Error::NoInterface
            } else {
                Error::NoAddress
            });
        }
        let addressed = || {
            stacks
                .iter()
                .filter_map(|stack| Some((stack, stack.address()?)))
        };
        let near = addressed().find(|(_, (own, _))| own.contains(to));
        let far = || addressed().find(|(_, (_, gateway))| gateway.is_some());
        match near.or_else(far) {
            Some((stack, _)) => Ok(Rc::clone(stack)),
            None if addressed().count() == stacks.len() => Err(Error::NoRoute(to.into())),
            None => Err(Error::NoAddress),
        }
    }

    /// Takes datagrams to `port` on every interface; `false` if it is taken.
    pub(crate) fn bind_udp(&self, port: u16) -> Result<bool, Error> {
        if self.udp.borrow().contains(&port) {
            return Ok(false);
        }
        for stack in self.stacks() {
            stack.bind_udp(port)?;
        }
        self.udp.borrow_mut().push(port);
        Ok(true)
    }

    /// Takes no more datagrams to `port`.
    pub(crate) fn unbind_udp(&self, port: u16) {
        self.udp.borrow_mut().retain(|&other| other != port);
        for stack in self.stacks() {
            stack.unbind_udp(port);
        }
    }
}

/// Brings the network up, and waits until an interface has an address. Sockets bring it up by themselves too.
///
/// # Errors
/// [`Error::NoInterface`] when the guest has none; [`Error::Word`] when the command line says something of the network
/// that makes no sense.
pub async fn up() -> Result<(), Error> {
    let network = Network::get()?;
    let ready = || {
        let stacks = network.stacks.borrow();
        if network.listed.get() && stacks.is_empty() {
            return Some(Err(Error::NoInterface));
        }
        stacks
            .iter()
            .any(|stack| stack.address().is_some())
            .then_some(Ok(()))
    };
    network.shared.wait_for(ready).await
}

/// Waits until the link of vif `number` is up, or down: the backend has come, or it has gone, been detached or stayed behind when the
/// domain was restored. What is over before the caller's turn comes is not seen.
///
/// # Errors
/// [`Error::NoInterface`] when the guest has no such vif, and as [`up`].
pub async fn link_is(number: u32, up: bool) -> Result<(), Error> {
    let network = Network::get()?;
    network.listed().await;
    let stack = network
        .stacks()
        .into_iter()
        .find(|stack| stack.info().number == number);
    let stack = stack.ok_or(Error::NoInterface)?;
    network
        .shared
        .wait_for(|| (stack.info().link == up).then_some(()))
        .await;
    Ok(())
}

/// The network, once it was asked for.
pub(crate) fn current() -> Option<Rc<Network>> {
    NETWORK.with(|n| n.get().cloned())
}

/// Lists the guest's interfaces as they are now; none before the network comes up.
pub fn interfaces() -> Vec<InterfaceInfo> {
    current()
        .map(|network| {
            network
                .stacks
                .borrow()
                .iter()
                .map(|stack| stack.info())
                .collect()
        })
        .unwrap_or_default()
}
