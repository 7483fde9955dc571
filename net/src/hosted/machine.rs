//! The insides of a peer: an ordinary smoltcp host, and the frames between it and the guest.

use super::dhcp::{self, Lease};
use crate::stack::packet;
use core::num::NonZeroUsize;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr};
use std::collections::VecDeque;
use xenlet_kernel::time;
use xenlet_netfront::hosted::Frame;
use xenlet_netfront::{self as netfront, Gso, GsoKind};

/// Bytes of the longest IP packet.
const MTU: usize = 1500;

/// Frames on their way, and those that a test wants to see.
#[derive(Default)]
pub(super) struct Frames {
    pub(super) from_guest: VecDeque<Vec<u8>>,
    pub(super) to_guest: VecDeque<Frame>,
    /// Whether large segments and checksums are left to the wire.
    pub(super) offloads: bool,
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
    pub(super) fn new(
        mac: [u8; 6],
        address: Ipv4Cidr,
        lease: Option<Lease>,
        offloads: bool,
    ) -> Self {
        let mac = EthernetAddress(mac);
        let mut frames = Frames {
            offloads,
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
            dhcp::Answer::Frame(reply) => self.frames.to_guest.push_back(reply.into()),
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

pub(super) struct Tx<'a> {
    frames: &'a mut Frames,
    meta: Option<PacketMeta>,
}

impl Frames {
    fn tx(&mut self) -> Tx<'_> {
        Tx {
            frames: self,
            meta: None,
        }
    }
}

impl Device for Frames {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Rx, Tx<'_>)> {
        Some((Rx(self.from_guest.pop_front()?), self.tx()))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        Some(self.tx())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU + 14;
        if self.offloads {
            capabilities.checksum.tcp = Checksum::Rx;
            capabilities.segmentation.tcpv4 = NonZeroUsize::new(65535);
        }
        capabilities
    }
}

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = Some(meta);
    }

    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = Frame::from(vec![0; len]);
        let result = f(&mut frame.bytes);
        // As a frame that this host's own stack made: what is TCP has no checksum yet.
        if self.frames.offloads && packet::sent(&frame.bytes).is_some() {
            packet::blank_checksum(&mut frame.bytes);
            frame.checksum = netfront::Checksum::Blank;
            let size = self.meta.and_then(|meta| meta.segmentation_offload_size);
            frame.gso = size.map(|size| Gso {
                kind: GsoKind::TcpV4,
                size,
            });
        }
        self.frames.to_guest.push_back(frame);
        result
    }
}
