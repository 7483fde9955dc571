//! The peer, and the wire to it.

use super::dhcp::Lease;
use super::machine::Machine;
use super::stream::{self, PeerListener, PeerStream, PeerUdp};
use crate::{Cidr, Error};
use core::net::{Ipv4Addr, SocketAddrV4};
use smoltcp::wire::Ipv4Cidr;
use std::cell::RefCell;
use std::rc::Rc;
use xenlet_kernel::time::Instant;
use xenlet_netfront::hosted::{self as netfront, Frame, Wire, offload};

/// A host on the other end of the guest's wire. Clones are the same host.
#[derive(Clone)]
pub struct Peer {
    pub(super) machine: Rc<RefCell<Machine>>,
    /// Where the guest is.
    guest: Ipv4Addr,
}

impl Peer {
    /// The peer's own address, which is the guest's gateway and name server.
    pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

    /// What DHCP gives the guest.
    pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

    /// Bits of the subnet that both are in.
    const PREFIX: u8 = 24;

    /// A host at 10.0.2.2 that gives the guest 10.0.2.15.
    pub fn new() -> Self {
        Self::with_network(0, Self::ADDRESS, Self::GUEST)
    }

    /// A host at `own` that gives the guest `guest`, both in a subnet of 24 bits, for the vif of this number: each has
    /// another hardware address.
    pub fn with_network(number: u8, own: Ipv4Addr, guest: Ipv4Addr) -> Self {
        Self::with_machine(number, own, guest, false)
    }

    /// A peer that leaves checksums and the cutting of large segments to the wire, as Linux does: the guest gets segments of
    /// up to 64 KiB.
    pub fn with_offloads() -> Self {
        Self::with_machine(0, Self::ADDRESS, Self::GUEST, true)
    }

    fn with_machine(number: u8, own: Ipv4Addr, guest: Ipv4Addr, offloads: bool) -> Self {
        let lease = Lease {
            address: Cidr {
                address: guest,
                prefix_len: Self::PREFIX,
            },
            gateway: Some(own),
            dns: vec![own],
            secs: 3600,
        };
        let address = Ipv4Cidr::new(own, Self::PREFIX);
        let mac = [0x52, 0x54, 0, 0x12, 0x34, number];
        let machine = Machine::new(mac, address, Some(lease), offloads);
        Self {
            machine: Rc::new(RefCell::new(machine)),
            guest,
        }
    }

    /// A peer on the wire of the guest's first vif, which has all that Linux's netback offers.
    pub fn attach_default() -> Self {
        let peer = Self::new();
        netfront::attach(netfront::Config::default(), peer.wire());
        peer
    }

    /// A peer with these addresses on the wire of the guest's second vif.
    pub fn attach_second(own: Ipv4Addr, guest: Ipv4Addr) -> Self {
        let peer = Self::with_network(1, own, guest);
        let config = netfront::Config {
            number: 1,
            mac: [0, 0x16, 0x3e, 0, 0, 2],
            ..netfront::Config::default()
        };
        netfront::attach(config, peer.wire());
        peer
    }

    /// The wire's other end, for [`netfront::attach`].
    pub fn wire(&self) -> PeerWire {
        PeerWire(Rc::clone(&self.machine))
    }

    /// Changes what DHCP gives the guest from now on; `None` is no answer.
    pub fn set_lease(&self, lease: Option<Lease>) {
        self.machine.borrow_mut().lease = lease;
    }

    /// What DHCP gives the guest.
    pub fn lease(&self) -> Option<Lease> {
        self.machine.borrow().lease.clone()
    }

    /// Connects to a port of the guest.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Reset`].
    pub async fn connect(&self, port: u16) -> Result<PeerStream, Error> {
        let from = {
            let mut machine = self.machine.borrow_mut();
            machine.next_port = machine.next_port.checked_add(1).unwrap_or(40_000);
            machine.next_port
        };
        self.connect_from(from, port).await
    }

    /// Connects from a port of the peer's to a port of the guest.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); [`Error::Unaddressable`] for port 0.
    pub async fn connect_from(&self, from: u16, port: u16) -> Result<PeerStream, Error> {
        stream::connect(self, from, SocketAddrV4::new(self.guest, port)).await
    }

    /// Takes connections of the guest's to `port`.
    pub fn listen(&self, port: u16) -> PeerListener {
        PeerListener::new(self, port)
    }

    /// Takes datagrams of the guest's to `port`.
    pub fn udp(&self, port: u16) -> PeerUdp {
        PeerUdp::new(self, port)
    }

    /// Cuts the wire, so that frames of both sides vanish, or mends it.
    pub fn set_cut(&self, cut: bool) {
        self.machine.borrow_mut().cut = cut;
    }

    /// Loses the guest's next `count` frames.
    pub fn lose(&self, count: usize) {
        self.machine.borrow_mut().lose = count;
    }

    /// Puts a frame on the wire to the guest, whatever it is.
    pub fn inject(&self, frame: &[u8]) {
        self.machine
            .borrow_mut()
            .frames
            .to_guest
            .push_back(frame.to_vec().into());
    }

    /// The frames of the guest's since the last time this was asked; the first time only begins to listen.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.machine
            .borrow_mut()
            .heard
            .replace(Vec::new())
            .unwrap_or_default()
    }

    /// The peer's hardware address.
    pub fn mac(&self) -> [u8; 6] {
        self.machine.borrow().mac.0
    }

    /// How many TCP and UDP sockets the peer has, those included that are still closing.
    pub fn sockets(&self) -> usize {
        self.machine.borrow().sockets.iter().count()
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self::new()
    }
}

/// The wire between the guest's netback and a peer.
pub struct PeerWire(Rc<RefCell<Machine>>);

impl Wire for PeerWire {
    fn send(&mut self, frame: Frame) {
        // What the guest left to the host is done as a network card would.
        for frame in offload::finish(frame) {
            self.0.borrow_mut().hear(frame.bytes);
        }
    }

    fn recv(&mut self) -> Option<Frame> {
        let mut machine = self.0.borrow_mut();
        if machine.frames.to_guest.is_empty() {
            machine.turn();
        }
        if machine.cut {
            machine.frames.to_guest.clear();
        }
        machine.frames.to_guest.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.0.borrow_mut().next_deadline()
    }
}
