//! smoltcp's `phy::Device`, twice: for one received frame and what answers it at once (an acknowledgement, a reset, ARP,
//! an echo), and for frames to be sent. Both write straight into the pages that the backend reads.

use super::packet::{self, Segment};
use crate::tap::{self, Way};
use core::num::NonZeroUsize;
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::time::Instant;
use xenlet_kernel::metrics::ENABLED;
use xenlet_netfront::{Gso, GsoKind, Netfront, RxFrame, TxMeta};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// The shortest MTU that IPv4 allows (RFC 791), and the longest that a packet's length field does.
const MTU: core::ops::RangeInclusive<usize> = 576..=65535;

/// The longest frame: an IPv4 packet says its length in 16 bits.
const LONGEST: usize = ETHERNET + 65535;

/// The longest answer that needs no memory when there is nowhere to write it.
pub(crate) const MAX_UNANSWERED: usize = 2048;

/// What smoltcp is told of a vif.
fn capabilities(nic: &Netfront) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ethernet;
    capabilities.max_transmission_unit = nic.mtu().clamp(*MTU.start(), *MTU.end()) + ETHERNET;
    // Received TCP and UDP checksums are judged before: those that the backend vouches for are right or not there at
    // all (`Inner::receive`).
    capabilities.checksum.udp = Checksum::Tx;
    capabilities.checksum.tcp = if nic.features().tx_checksum {
        Checksum::None
    } else {
        Checksum::Tx
    };
    if nic.features().tx_checksum && nic.features().gso_tcpv4 {
        capabilities.segmentation.tcpv4 = NonZeroUsize::new(nic.max_frame().min(LONGEST));
    }
    capabilities
}

/// One received frame, and the way out for an answer to it.
pub(crate) struct Incoming<'f, 'o, 'n> {
    frame: Option<&'f [u8]>,
    out: &'o mut Outgoing<'n>,
}

impl<'f, 'o, 'n> Incoming<'f, 'o, 'n> {
    pub(crate) fn new(frame: &'f [u8], out: &'o mut Outgoing<'n>) -> Self {
        out.segment = None;
        Self {
            frame: Some(frame),
            out,
        }
    }
}

pub(crate) struct Received<'a>(&'a [u8]);

impl<'n> Device for Incoming<'_, '_, 'n> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = &'a mut Outgoing<'n>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, &mut Outgoing<'n>)> {
        Some((Received(self.frame.take()?), self.out))
    }

    fn transmit(&mut self, _: Instant) -> Option<&mut Outgoing<'n>> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.out.capabilities()
    }
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// The way out.
pub(crate) struct Outgoing<'a> {
    /// `None` where it leads nowhere.
    nic: Option<&'a mut Netfront>,
    capabilities: DeviceCapabilities,
    /// Bytes of the longest frame.
    longest: usize,
    /// Whether a frame was not sent for lack of room.
    pub(crate) starved: bool,
    /// The last segment that was sent.
    pub(crate) segment: Option<Segment>,
    /// Whether an ARP request was sent, so that a connection waits for the answer.
    pub(crate) asked: bool,
    /// What smoltcp says of the packet that it is about to write; ARP it says nothing of.
    meta: Option<PacketMeta>,
    /// Whether packets are TCP segments, whose checksums the backend may be left to work out.
    pub(crate) tcp: bool,
    /// The highest sequence number that the connection has sent, if it has.
    pub(crate) highest: Option<u32>,
    /// Frames sent, and bytes in them.
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(nic: &'a mut Netfront) -> Self {
        let capabilities = capabilities(nic);
        Self::with(Some(nic), capabilities)
    }

    /// A way that leads nowhere.
    pub(crate) fn nowhere() -> Self {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = *MTU.end();
        Self::with(None, capabilities)
    }

    fn with(nic: Option<&'a mut Netfront>, capabilities: DeviceCapabilities) -> Self {
        let large = capabilities.segmentation.tcpv4.map_or(0, NonZeroUsize::get);
        Self {
            longest: capabilities.max_transmission_unit.max(large),
            nic,
            capabilities,
            starved: false,
            segment: None,
            asked: false,
            meta: None,
            tcp: false,
            highest: None,
            count: 0,
            bytes: 0,
        }
    }

    /// The next frame that the backend has brought.
    pub(crate) fn receive_frame(&mut self) -> Option<RxFrame> {
        self.nic.as_mut()?.receive()
    }

    /// The vif's number, where somebody wants to know it.
    fn number(&self) -> u32 {
        match &self.nic {
            Some(nic) if ENABLED => nic.number(),
            _ => 0,
        }
    }

    /// Whether there is room for a frame of any length.
    pub(crate) fn has_room(&self) -> bool {
        let nic = self.nic.as_ref();
        nic.is_some_and(|nic| nic.can_transmit(self.longest))
    }

    /// Sends a frame that is ready, if there is room.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        if self.has_room() {
            self.consume(frame.len(), |to| to.copy_from_slice(frame));
        }
    }
}

impl Device for Outgoing<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = &'a mut Self
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, &mut Self)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<&mut Self> {
        self.starved = !self.has_room();
        (!self.starved).then_some(self)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

impl TxToken for &mut Outgoing<'_> {
    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = Some(meta);
    }

    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let meta = self.meta.take();
        let blank = self.tcp && meta.is_some() && !self.capabilities.checksum.tcp.tx();
        let size = meta.and_then(|meta| meta.segmentation_offload_size);
        let gso = size.map(|size| Gso {
            kind: GsoKind::TcpV4,
            size,
        });
        let number = self.number();
        let mut f = Some(f);
        let mut seen = (None, false);
        let fill = |frame: &mut [u8]| {
            let result = f.take().map(|f| f(frame));
            seen = (
                packet::move_up(frame, self.highest.filter(|_| self.tcp)),
                packet::is_arp(frame),
            );
            if blank {
                packet::blank_checksum(frame);
            }
            tap::show(number, Way::Out, frame);
            result
        };
        let meta = TxMeta {
            csum_blank: blank,
            gso,
        };
        let result = match &mut self.nic {
            Some(nic) => nic.transmit(len, meta, fill).flatten(),
            None => None,
        };
        if let Some(result) = result {
            (self.segment, self.asked) = (seen.0, self.asked | seen.1);
            self.count += 1;
            self.bytes += len;
            return result;
        }
        // No room for an answer: what it answers will come again.
        let mut nowhere = [0; MAX_UNANSWERED];
        match (f, nowhere.get_mut(..len)) {
            (Some(f), Some(nowhere)) => f(nowhere),
            (Some(f), None) => f(&mut alloc::vec![0; len]),
            (None, _) => unreachable!("a fill that ran has a result"),
        }
    }
}
