//! The insides of a peer: an ordinary smoltcp host, and the frames between it and the guest.

use super::dhcp::{self, Lease};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr};
use std::collections::VecDeque;
use xenlet_kernel::time;

/// Frames on their way, and those that a test wants to see.
#[derive(Default)]
pub(super) struct Frames {
    pub(super) from_guest: VecDeque<Vec<u8>>,
    pub(super) to_guest: VecDeque<Vec<u8>>,
    /// Bytes of the longest frame.
    longest: usize,
}

/// The host.
pub(super) struct Machine {
    pub(super) mac: EthernetAddress,
    pub(super) address: Ipv4Cidr,
    pub(super) interface: Interface,
    pub(super) sockets: SocketSet<'static>,
    pub(super) frames: Frames,
    /// What DHCP gives the guest; `None` is no answer.
    pub(super) lease: Option<Lease>,
    /// Whether the wire is cut.
    pub(super) cut: bool,
    /// How many more frames of the guest's get lost.
    pub(super) lose: usize,
    /// Every frame of the guest's, as long as somebody wants them.
    pub(super) heard: Option<Vec<Vec<u8>>>,
    pub(super) next_port: u16,
    /// Sockets whose owner is gone.
    pub(super) orphans: Vec<SocketHandle>,
}

impl Machine {
    pub(super) fn new(mac: [u8; 6], address: Ipv4Cidr, lease: Option<Lease>, mtu: usize) -> Self {
        let mac = EthernetAddress(mac);
        let mut frames = Frames {
            longest: mtu + 14,
            ..Frames::default()
        };
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = xenlet_kernel::entropy::seed();
        let mut interface = Interface::new(config, &mut frames, now());
        interface.update_ip_addrs(|addresses| {
            // There is room for one.
            let _ = addresses.push(IpCidr::Ipv4(address));
        });
        Self {
            mac,
            address,
            interface,
            sockets: SocketSet::new(Vec::new()),
            frames,
            lease,
            cut: false,
            lose: 0,
            heard: None,
            next_port: 40_000,
            orphans: Vec::new(),
        }
    }

    /// Takes a frame of the guest's.
    pub(super) fn hear(&mut self, frame: Vec<u8>) {
        if self.cut || self.lose > 0 {
            self.lose = self.lose.saturating_sub(1);
            return;
        }
        if let Some(heard) = &mut self.heard {
            heard.push(frame.clone());
        }
        match dhcp::answer(&frame, self.mac, self.address, self.lease.as_ref()) {
            dhcp::Answer::NotDhcp => self.frames.from_guest.push_back(frame),
            dhcp::Answer::Silence => {}
            dhcp::Answer::Frame(reply) => self.frames.to_guest.push_back(reply),
        }
    }

    /// Does all that can be done now.
    pub(super) fn turn(&mut self) {
        self.interface
            .poll(now(), &mut self.frames, &mut self.sockets);
        let Self {
            orphans, sockets, ..
        } = self;
        orphans.retain(|&handle| {
            let socket = sockets.get::<tcp::Socket<'_>>(handle);
            let over = !socket.is_open() && socket.remote_endpoint().is_none();
            if over {
                sockets.remove(handle);
            }
            !over
        });
    }

    pub(super) fn next_deadline(&mut self) -> Option<time::Instant> {
        let at = self.interface.poll_at(now(), &self.sockets)?;
        let micros = u64::try_from(at.total_micros()).unwrap_or(0);
        Some(time::Instant::from_nanos(micros.saturating_mul(1000)))
    }
}

/// The time as smoltcp counts it.
pub(super) fn now() -> Instant {
    Instant::from_micros(i64::try_from(time::now().as_nanos() / 1000).unwrap_or(i64::MAX))
}

pub(super) struct Rx(Vec<u8>);
pub(super) struct Tx<'a>(&'a mut VecDeque<Vec<u8>>);

impl Device for Frames {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Rx, Tx<'_>)> {
        Some((Rx(self.from_guest.pop_front()?), Tx(&mut self.to_guest)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.to_guest))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.longest;
        capabilities
    }
}

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}
