//! A DHCP server with one address to give (RFC 2131).

use crate::Cidr;
use core::net::Ipv4Addr;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    IpProtocol, Ipv4Cidr, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// What the guest is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its address.
    pub address: Cidr,
    /// Its gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Its name servers, three at most.
    pub dns: Vec<Ipv4Addr>,
    /// For how long, in seconds.
    pub secs: u32,
}

/// What the server makes of a frame.
pub(super) enum Answer {
    /// It is not for the server.
    NotDhcp,
    /// The server does not answer.
    Silence,
    /// The server answers this.
    Frame(Vec<u8>),
}

/// Looks at a frame of the guest's.
pub(super) fn answer(
    frame: &[u8],
    mac: EthernetAddress,
    own: Ipv4Cidr,
    lease: Option<&Lease>,
) -> Answer {
    match request(frame) {
        None => Answer::NotDhcp,
        Some(request) => match lease.and_then(|lease| reply(&request, own, lease)) {
            None => Answer::Silence,
            Some((kind, lease)) => Answer::Frame(emit(&request, kind, mac, own, lease)),
        },
    }
}

/// What a client asks.
struct Request {
    kind: DhcpMessageType,
    id: u32,
    mac: EthernetAddress,
    /// The address it wants, or has.
    wants: Option<Ipv4Addr>,
    has: Ipv4Addr,
    /// The server it has chosen.
    chosen: Option<Ipv4Addr>,
}

fn request(frame: &[u8]) -> Option<Request> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    if ip.next_header() != IpProtocol::Udp {
        return None;
    }
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    if (udp.src_port(), udp.dst_port()) != (CLIENT_PORT, SERVER_PORT) {
        return None;
    }
    let packet = DhcpPacket::new_checked(udp.payload()).ok()?;
    let dhcp = DhcpRepr::parse(&packet).ok()?;
    Some(Request {
        kind: dhcp.message_type,
        id: dhcp.transaction_id,
        mac: dhcp.client_hardware_address,
        wants: dhcp
            .requested_ip
            .or((!dhcp.client_ip.is_unspecified()).then_some(dhcp.client_ip)),
        has: dhcp.client_ip,
        chosen: dhcp.server_identifier,
    })
}

/// What kind of answer a request gets.
fn reply<'l>(
    request: &Request,
    own: Ipv4Cidr,
    lease: &'l Lease,
) -> Option<(DhcpMessageType, &'l Lease)> {
    if request.chosen.is_some_and(|chosen| chosen != own.address()) {
        return None;
    }
    let kind = match request.kind {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request if request.wants == Some(lease.address.address) => {
            DhcpMessageType::Ack
        }
        DhcpMessageType::Request => DhcpMessageType::Nak,
        _ => return None,
    };
    Some((kind, lease))
}

fn emit(
    request: &Request,
    kind: DhcpMessageType,
    mac: EthernetAddress,
    own: Ipv4Cidr,
    lease: &Lease,
) -> Vec<u8> {
    let mask = u32::MAX
        .checked_shl(32 - u32::from(lease.address.prefix_len))
        .unwrap_or(0);
    let mut dns = smoltcp_dns(&lease.dns);
    let dhcp = DhcpRepr {
        message_type: kind,
        transaction_id: request.id,
        secs: 0,
        client_hardware_address: request.mac,
        client_ip: request.has,
        your_ip: lease.address.address,
        server_ip: own.address(),
        router: lease.gateway,
        subnet_mask: Some(Ipv4Addr::from(mask)),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(own.address()),
        parameter_request_list: None,
        dns_servers: dns.take(),
        max_size: None,
        lease_duration: Some(lease.secs),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let udp = UdpRepr {
        src_port: SERVER_PORT,
        dst_port: CLIENT_PORT,
    };
    // A client that has its address is answered there, another by broadcast.
    let to = if request.has.is_unspecified() {
        Ipv4Addr::BROADCAST
    } else {
        request.has
    };
    let ip = Ipv4Repr {
        src_addr: own.address(),
        dst_addr: to,
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + dhcp.buffer_len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; EthernetFrame::<&[u8]>::buffer_len(ip.buffer_len() + ip.payload_len)];
    let checksums = ChecksumCapabilities::default();
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(mac);
    frame.set_dst_addr(request.mac);
    frame.set_ethertype(EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
    let fill = |payload: &mut [u8]| {
        // The buffer is as long as the message says it is.
        let _ = dhcp.emit(&mut DhcpPacket::new_unchecked(payload));
    };
    udp.emit(
        &mut datagram,
        &own.address().into(),
        &to.into(),
        dhcp.buffer_len(),
        fill,
        &checksums,
    );
    bytes
}

/// Name servers as smoltcp has them: in a vector of its own, made by collecting.
fn smoltcp_dns<T: FromIterator<Ipv4Addr>>(servers: &[Ipv4Addr]) -> Option<T> {
    (!servers.is_empty()).then(|| servers.iter().copied().take(3).collect())
}
