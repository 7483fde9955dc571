//! Frames made by hand, and a look into those of the guest.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr,
    TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};
use std::net::Ipv4Addr;

/// An address and a port.
pub(crate) type End = (Ipv4Addr, u16);

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) control: TcpControl,
    pub(crate) seq: i32,
    pub(crate) ack: Option<i32>,
    pub(crate) window: u16,
    pub(crate) scale: Option<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    pub(crate) fn syn(from: End, to: End) -> Self {
        let (seq, ack, window) = (1000, None, 60_000);
        Self {
            from,
            to,
            control: TcpControl::Syn,
            seq,
            ack,
            window,
            scale: None,
            payload: Vec::new(),
        }
    }

    pub(crate) fn is_syn_ack(&self) -> bool {
        self.control == TcpControl::Syn && self.ack.is_some()
    }

    fn repr(&self) -> TcpRepr<'_> {
        TcpRepr {
            src_port: self.from.1,
            dst_port: self.to.1,
            control: self.control,
            seq_number: TcpSeqNumber(self.seq),
            ack_number: self.ack.map(TcpSeqNumber),
            window_len: self.window,
            window_scale: self.scale,
            max_seg_size: (self.control == TcpControl::Syn).then_some(1460),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &self.payload,
        }
    }

    /// The frame that carries it from one Ethernet address to another.
    pub(crate) fn frame(&self, from: [u8; 6], to: [u8; 6]) -> Vec<u8> {
        let tcp = self.repr();
        ip_frame(
            from,
            to,
            self.from.0,
            self.to.0,
            IpProtocol::Tcp,
            tcp.buffer_len(),
            |bytes| {
                let (from, to): (IpAddress, IpAddress) = (self.from.0.into(), self.to.0.into());
                tcp.emit(
                    &mut TcpPacket::new_unchecked(bytes),
                    &from,
                    &to,
                    &ChecksumCapabilities::default(),
                );
            },
        )
    }

    /// The segment in a frame.
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetFrame::new_checked(frame).ok()?;
        let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
        if ethernet.ethertype() != EthernetProtocol::Ipv4 || ip.next_header() != IpProtocol::Tcp {
            return None;
        }
        let packet = TcpPacket::new_checked(ip.payload()).ok()?;
        let (from, to) = (ip.src_addr(), ip.dst_addr());
        let tcp = TcpRepr::parse(
            &packet,
            &from.into(),
            &to.into(),
            &ChecksumCapabilities::default(),
        )
        .ok()?;
        Some(Self {
            from: (from, tcp.src_port),
            to: (to, tcp.dst_port),
            control: tcp.control,
            seq: tcp.seq_number.0,
            ack: tcp.ack_number.map(|ack| ack.0),
            window: tcp.window_len,
            scale: tcp.window_scale,
            payload: tcp.payload.to_vec(),
        })
    }
}

/// An Ethernet frame with an IPv4 packet whose payload `emit` writes.
pub(crate) fn ip_frame(
    from: [u8; 6],
    to: [u8; 6],
    src_addr: Ipv4Addr,
    dst_addr: Ipv4Addr,
    next_header: IpProtocol,
    payload_len: usize,
    emit: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let ip = Ipv4Repr {
        src_addr,
        dst_addr,
        next_header,
        payload_len,
        hop_limit: 64,
    };
    let mut bytes = vec![0; 14 + ip.buffer_len() + payload_len];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(EthernetAddress(from));
    frame.set_dst_addr(EthernetAddress(to));
    frame.set_ethertype(EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &ChecksumCapabilities::default());
    emit(packet.payload_mut());
    bytes
}

/// The guest's Ethernet address.
pub(crate) fn mac_of_guest() -> [u8; 6] {
    xenlet_net::interfaces()[0].mac
}
