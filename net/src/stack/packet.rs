//! A first look at a received frame: what it is, and which connection it belongs to.
//!
//! smoltcp parses the frame again; this look is what makes its work independent of how many connections there are, and
//! it is where frames stop that smoltcp would answer although a host should not (RFC 1122 §4.2.3.10: segments to a
//! broadcast address) or take for whole although they are parts.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpPacket, EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol,
    Ipv4Address, Ipv4Packet, Ipv4Repr, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket,
};

/// The four numbers that name a TCP connection; addresses are big-endian numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) local: Ipv4Address,
    pub(crate) local_port: u16,
    pub(crate) remote: Ipv4Address,
    pub(crate) remote_port: u16,
}

/// What is to be known of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) flow: Flow,
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    pub(crate) rst: bool,
    pub(crate) fin: bool,
    /// Sequence number of the first byte.
    pub(crate) seq: u32,
    /// Acknowledgement number.
    pub(crate) ack_seq: u32,
    /// Bytes of payload.
    pub(crate) len: u32,
    /// The window, as it is told.
    pub(crate) window: u16,
    /// Whether it acknowledges and nothing else: no payload, no options, no other flag that matters.
    pub(crate) bare: bool,
}

impl Segment {
    /// The sequence number behind the last byte of payload.
    pub(crate) fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len)
    }
}

/// What a frame is to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TCP segment from one host to another.
    Tcp(Segment),
    /// An answer to our ARP request, maybe.
    ArpReply,
    /// ARP, ICMP, UDP.
    Other,
    /// A part of an IP packet.
    Fragment,
    /// Not for a host like this: malformed, another protocol, or a segment to or from many.
    Noise,
}

/// Looks at a received frame.
pub(crate) fn classify(frame: &[u8], own: EthernetAddress) -> Kind {
    look(frame, own).unwrap_or(Kind::Noise)
}

fn look(frame: &[u8], own: EthernetAddress) -> Option<Kind> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let unicast = ethernet.dst_addr() == own;
    if !unicast && !ethernet.dst_addr().is_multicast() {
        return None;
    }
    match ethernet.ethertype() {
        EthernetProtocol::Arp => {
            let arp = ArpPacket::new_checked(ethernet.payload()).ok()?;
            let reply = arp.operation() == smoltcp::wire::ArpOperation::Reply;
            Some(if reply { Kind::ArpReply } else { Kind::Other })
        }
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            if ip.version() != 4 {
                return None;
            }
            if ip.more_frags() || ip.frag_offset() != 0 {
                return Some(Kind::Fragment);
            }
            match ip.next_header() {
                IpProtocol::Tcp if unicast => segment(&ip).map(Kind::Tcp),
                IpProtocol::Tcp => None,
                // Nobody that can be answered. smoltcp would take it for the address of a DHCP server, and panic when
                // it is time to renew the lease there.
                _ if ip.src_addr().is_unspecified() => None,
                _ => Some(Kind::Other),
            }
        }
        _ => None,
    }
}

/// The segment in an IP packet, as the one who gets it sees it.
fn segment(ip: &Ipv4Packet<&[u8]>) -> Option<Segment> {
    let tcp = TcpPacket::new_checked(ip.payload()).ok()?;
    let flow = Flow {
        local: ip.dst_addr(),
        local_port: tcp.dst_port(),
        remote: ip.src_addr(),
        remote_port: tcp.src_port(),
    };
    let ports = flow.local_port != 0 && flow.remote_port != 0;
    let special = |a: Ipv4Address| a.is_unspecified() || a.is_broadcast() || a.is_multicast();
    if !ports || special(flow.local) || special(flow.remote) {
        return None;
    }
    Some(numbers(&tcp, flow))
}

#[allow(
    clippy::cast_sign_loss,
    reason = "smoltcp keeps sequence numbers as signed numbers of the same bits"
)]
fn numbers(tcp: &TcpPacket<&[u8]>, flow: Flow) -> Segment {
    let (syn, ack, rst, fin) = (tcp.syn(), tcp.ack(), tcp.rst(), tcp.fin());
    let len = u32::try_from(tcp.payload().len()).unwrap_or(u32::MAX);
    let is_short = tcp.header_len() == 20 && len == 0;
    Segment {
        flow,
        syn,
        ack,
        rst,
        fin,
        seq: tcp.seq_number().0 as u32,
        ack_seq: tcp.ack_number().0 as u32,
        len,
        window: tcp.window_len(),
        bare: is_short && ack && !(syn || rst || fin),
    }
}

/// The TCP segment in a frame of our own.
pub(crate) fn sent(frame: &[u8]) -> Option<Segment> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    if ip.next_header() != IpProtocol::Tcp {
        return None;
    }
    let tcp = TcpPacket::new_checked(ip.payload()).ok()?;
    let flow = Flow {
        local: ip.src_addr(),
        local_port: tcp.src_port(),
        remote: ip.dst_addr(),
        remote_port: tcp.dst_port(),
    };
    Some(numbers(&tcp, flow))
}

/// Where the TCP header is in a packet without options, as all of ours are.
const TCP: usize = 34;

/// Makes `highest`, the highest sequence number that was sent, that of a segment of ours which has no bytes of its own.
/// Returns the segment as it is then, if there is one in the frame.
///
/// smoltcp gives it the number from which it sends again after a loss. For a peer that has received more than that the
/// segment is out of its window: it does not look at the acknowledgement, nor believe a reset (RFC 9293 §3.10.7.4), and two
/// peers that have both lost something never hear each other again.
pub(crate) fn move_up(frame: &mut [u8], highest: Option<u32>) -> Option<Segment> {
    let mut segment = sent(frame)?;
    let has_number = segment.len > 0 || segment.syn || segment.fin;
    if let Some(highest) = highest
        && !has_number
        && is_after(highest, segment.seq)
    {
        segment.seq = highest;
        let mut tcp = TcpPacket::new_unchecked(&mut frame[TCP..]);
        tcp.set_seq_number(TcpSeqNumber(highest.cast_signed()));
        tcp.fill_checksum(&segment.flow.local.into(), &segment.flow.remote.into());
    }
    Some(segment)
}

/// What a SYN says beside its numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// The longest segment.
    pub(crate) mss: Option<u16>,
    /// By how many bits the windows that it tells are shifted.
    pub(crate) scale: Option<u8>,
    /// Whether it wants to be told what arrived after a gap.
    pub(crate) sack: bool,
}

/// The options of a received segment that was looked at before.
pub(crate) fn options(frame: &[u8]) -> Options {
    let ethernet = EthernetFrame::new_unchecked(frame);
    let summary = Ipv4Packet::new_checked(ethernet.payload())
        .and_then(|ip| TcpPacket::new_checked(ip.payload())?.options_summary());
    let Ok(summary) = summary else {
        return Options::default();
    };
    Options {
        mss: summary.max_segment_size,
        scale: summary.window_scale,
        sack: summary.sack_permitted,
    }
}

/// Bytes of the longest headers that [`write`] writes: of a SYN with its options.
pub(crate) const LONGEST_HEADERS: usize = TCP + 20 + 12;

/// Writes a frame with one TCP segment. Returns its length.
pub(crate) fn write(
    bytes: &mut [u8],
    (from, to): (EthernetAddress, EthernetAddress),
    (source, destination): (Ipv4Address, Ipv4Address),
    tcp: &TcpRepr<'_>,
) -> usize {
    let ip = Ipv4Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let checksums = ChecksumCapabilities::default();
    let mut frame = EthernetFrame::new_unchecked(&mut *bytes);
    frame.set_src_addr(from);
    frame.set_dst_addr(to);
    frame.set_ethertype(EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
    tcp.emit(
        &mut segment,
        &source.into(),
        &destination.into(),
        &checksums,
    );
    TCP + tcp.buffer_len()
}

/// Whether sequence number `a` comes after `b`.
pub(crate) fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

/// Leaves the checksum of a TCP segment of ours to the backend: it finds the sum of the
/// pseudo-header where the checksum will be (Xen's `netif.h`: `csum_blank`).
pub(crate) fn blank_checksum(frame: &mut [u8]) {
    const ADDRESSES: core::ops::Range<usize> = 26..34;
    let Some(addresses) = frame.get(ADDRESSES) else {
        return;
    };
    let words = addresses
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let length = u32::try_from(frame.len() - TCP).unwrap_or(u32::MAX);
    let mut sum = words.sum::<u32>() + u32::from(u8::from(IpProtocol::Tcp)) + length;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = u16::try_from(sum).unwrap_or(u16::MAX);
    TcpPacket::new_unchecked(&mut frame[TCP..]).set_checksum(sum);
}

/// The Ethernet address that a frame came from.
pub(crate) fn source(frame: &[u8]) -> Option<EthernetAddress> {
    EthernetFrame::new_checked(frame)
        .ok()
        .map(|frame| frame.src_addr())
}

/// Whether a frame is an ARP request of our own.
pub(crate) fn is_arp(frame: &[u8]) -> bool {
    EthernetFrame::new_checked(frame).is_ok_and(|frame| frame.ethertype() == EthernetProtocol::Arp)
}

/// Whether the TCP or UDP checksum of a whole IP packet is right. Other packets, and malformed ones, are smoltcp's to
/// judge.
pub(crate) fn checksum_is_right(frame: &[u8]) -> bool {
    verify(frame).unwrap_or(true)
}

fn verify(frame: &[u8]) -> Option<bool> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    let (from, to): (IpAddress, IpAddress) = (ip.src_addr().into(), ip.dst_addr().into());
    match ip.next_header() {
        IpProtocol::Tcp => Some(
            TcpPacket::new_checked(ip.payload())
                .ok()?
                .verify_checksum(&from, &to),
        ),
        IpProtocol::Udp => Some(
            UdpPacket::new_checked(ip.payload())
                .ok()?
                .verify_checksum(&from, &to),
        ),
        _ => None,
    }
}
