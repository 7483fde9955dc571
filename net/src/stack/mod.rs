//! One interface's TCP/IP: smoltcp, given for each packet only the connection that the packet is for.
//!
//! ```text
//!           ┌────────────────────── one turn of the driver's task ──────────────────────┐
//!  vif ───► │ frames in: classify ─► the connection's set of one ─► smoltcp ─► its buffer │
//!           │ the applications that this woke run, and write their answers                │
//!  vif ◄─── │ frames out: each connection with something to do, in its turn; one notify   │
//!           └── sleep until the vif, an application or the earliest deadline ─────────────┘
//! ```
//!
//! The work for a packet does not depend on how many connections are open, and an idle connection costs nothing.
//! Work in one turn is bounded, and between turns others run.

mod acks;
mod address;
pub(crate) mod backlog;
pub(crate) mod buffers;
pub(crate) mod connection;
mod cookies;
mod device;
mod driver;
mod egress;
pub(crate) mod hash;
mod ingress;
mod metrics;
pub(crate) mod packet;
mod rest;
mod sockets;
pub(crate) mod table;
mod timewait;
mod udp;

pub(crate) use driver::drive;
pub(crate) use metrics::{Picture, STATES};
pub(crate) use packet::Flow;

use crate::interface::{InterfaceInfo, Stats};
use crate::network::Shared;
use crate::words::Static;
use acks::Acks;
use address::Address;
use alloc::rc::Rc;
use alloc::vec::Vec;
use buffers::Sizes;
use connection::{Connection, Phase, Seat};
use cookies::Cookies;
use core::cell::RefCell;
use smoltcp::iface::{Interface, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;
use table::{Id, Table};
use timewait::TimeWait;
use xenlet_kernel::run::Notify;
use xenlet_kernel::time;

/// One interface.
#[derive(Debug)]
pub(crate) struct Stack {
    /// The number of its vif.
    number: u32,
    inner: RefCell<Inner>,
    /// Wakes the driver's task.
    wake: Notify,
}

/// All that a turn works on.
struct Inner {
    /// Its place in the list of stacks.
    index: usize,
    number: u32,
    shared: Rc<Shared>,
    /// smoltcp, while the vif is connected.
    interface: Option<Interface>,
    mac: EthernetAddress,
    mtu: usize,
    table: Table,
    waits: TimeWait,
    cookies: Cookies,
    acks: Acks,
    /// The sockets that are few, and searched: DHCP and UDP.
    common: SocketSet<'static>,
    /// Whether one of them may have something to send.
    common_is_due: bool,
    common_deadline: Option<Instant>,
    /// No sockets: what belongs to nobody is answered from here, with resets.
    nobody: SocketSet<'static>,
    udp: Vec<udp::Port>,
    address: Address,
    /// Whether a connection waits for an answer to our ARP request.
    asked: bool,
    stats: Stats,
}

impl core::fmt::Debug for Inner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Inner")
            .field("number", &self.number)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl Stack {
    /// The stack of vif `number`, whose address comes from `fixed` or else by DHCP.
    pub(crate) fn new(
        index: usize,
        number: u32,
        fixed: Option<Static>,
        shared: Rc<Shared>,
    ) -> Rc<Self> {
        let mut common = SocketSet::new(Vec::new());
        let address = Address::new(fixed, &mut common);
        let inner = Inner {
            index,
            number,
            interface: None,
            mac: EthernetAddress([0; 6]),
            mtu: 0,
            table: Table::new(shared.key),
            waits: TimeWait::new(shared.key),
            cookies: Cookies::new(),
            acks: Acks::default(),
            common,
            common_is_due: true,
            common_deadline: None,
            nobody: SocketSet::new(Vec::new()),
            udp: Vec::new(),
            address,
            asked: false,
            stats: Stats::default(),
            shared,
        };
        Rc::new(Self {
            number,
            inner: RefCell::new(inner),
            wake: Notify::new(),
        })
    }

    /// What an application may know.
    pub(crate) fn info(&self) -> InterfaceInfo {
        let inner = self.inner.borrow();
        InterfaceInfo {
            number: self.number,
            mac: inner.mac.0,
            mtu: inner.mtu,
            address: inner.address.own(),
            gateway: inner.address.gateway(),
            dns: inner.address.dns().to_vec(),
            source: inner.address.source(),
            link: inner.interface.is_some(),
            stats: Stats {
                connections: inner.table.len() as u64,
                resting: inner.table.resting() as u64,
                spare_bytes: inner.table.spare_bytes() as u64,
                ..inner.stats
            },
        }
    }
}

impl Inner {
    /// A connection that has not begun.
    ///
    /// # Errors
    /// When memory is short.
    fn new_connection(&mut self, flow: Flow, phase: Phase) -> Result<Connection, OutOfMemory> {
        Ok(Connection::new(flow, phase, self.seat(0)?))
    }

    /// A socket for one more connection, with room to receive `rx` bytes at least: where there is no memory for buffers that
    /// are large enough to be fast, by putting those to rest that have nothing to do.
    ///
    /// # Errors
    /// When memory is short.
    fn seat(&mut self, rx: usize) -> Result<Seat, OutOfMemory> {
        let enough = self.shared.buffers.enough(rx);
        let mut sizes = self.sizes();
        while !sizes.is_some_and(|sizes| sizes.hold(enough)) {
            if self.table.resting() > 0 && self.shared.buffers.have_left(enough) {
                sizes = Some(enough);
                break;
            }
            match self.table.put_to_rest() {
                Some(seat) if seat.sizes() == enough => return Ok(seat),
                Some(seat) => drop(seat),
                None => break,
            }
            sizes = self.sizes();
        }
        let sizes = sizes.ok_or(OutOfMemory)?.or_more(rx);
        if !self.shared.buffers.have_room(sizes) {
            return Err(OutOfMemory);
        }
        match self.table.spare().filter(|seat| seat.sizes().hold(sizes)) {
            Some(seat) => Ok(seat),
            None => Seat::new(sizes, &self.shared.buffers).map_err(|_| OutOfMemory),
        }
    }

    /// How large the buffers of the next connection can be.
    fn sizes(&mut self) -> Option<Sizes> {
        let buffers = &self.shared.buffers;
        buffers.next(self.table.spare_bytes()).or_else(|| {
            self.table.forget_spares();
            buffers.next(0)
        })
    }
}

/// One connection more would be too many for this memory.
#[derive(Debug)]
struct OutOfMemory;

/// The time as smoltcp counts it.
fn now() -> Instant {
    instant(time::round())
}

/// A moment of the kernel's as smoltcp counts it.
fn instant(at: time::Instant) -> Instant {
    Instant::from_micros(i64::try_from(at.as_nanos() / 1000).unwrap_or(i64::MAX))
}

/// A moment of smoltcp's as the kernel counts it.
fn moment(at: Instant) -> time::Instant {
    let micros = u64::try_from(at.total_micros()).unwrap_or(0);
    time::Instant::from_nanos(micros.saturating_mul(1000))
}
