//! The interface's address: from the command line or by DHCP, and its announcement.

use super::Inner;
use super::device::Outgoing;
use crate::Error;
use crate::interface::{Cidr, Source};
use crate::words::{Static, usable};
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::Ipv4Addr;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, IpCidr,
    Ipv4Cidr,
};
use xenlet_kernel::{limit::RateLimit, timeline};

/// How often an address is announced, and how long after each other (RFC 5227 §1.1: `ANNOUNCE_NUM`, `ANNOUNCE_INTERVAL`).
/// A switch that has not heard an address may send its packets to nobody.
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCEMENT_INTERVAL: Duration = Duration::from_secs(2);

/// How long the first DHCP request waits for its answer. Each later one waits twice as long, up to the last. RFC 2131
/// §4.1 begins with 4 s, which was meant for other networks: a guest that boots in milliseconds would rather ask again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(16);

/// After so many requests without an answer somebody should know.
const SILENT_REQUESTS: u32 = 4;

/// The address, and what goes with it.
pub(super) struct Address {
    dhcp: Option<SocketHandle>,
    now: Option<Static>,
    fixed: Option<Static>,
    announcements: u8,
    announce_at: Instant,
    requests: u32,
    lines: RateLimit,
}

impl Address {
    pub(super) fn new(fixed: Option<Static>, common: &mut SocketSet<'static>) -> Self {
        let dhcp = fixed.is_none().then(|| common.add(dhcpv4::Socket::new()));
        Self {
            dhcp,
            now: None,
            fixed,
            announcements: 0,
            announce_at: Instant::ZERO,
            requests: 0,
            lines: RateLimit::new(8),
        }
    }

    pub(super) fn own(&self) -> Option<Cidr> {
        self.now.as_ref().map(|now| now.address)
    }

    pub(super) fn is_own(&self, address: Ipv4Addr) -> bool {
        self.own().is_some_and(|own| own.address == address)
    }

    pub(super) fn gateway(&self) -> Option<Ipv4Addr> {
        self.now.as_ref().and_then(|now| now.gateway)
    }

    pub(super) fn dns(&self) -> &[Ipv4Addr] {
        self.now.as_ref().map_or(&[], |now| &now.dns)
    }

    pub(super) fn source(&self) -> Source {
        if self.dhcp.is_some() {
            Source::Dhcp
        } else {
            Source::Static
        }
    }

    pub(super) fn next_announcement(&self) -> Option<Instant> {
        (self.announcements > 0).then_some(self.announce_at)
    }

    /// Sets how long the next DHCP request waits for its answer.
    pub(super) fn before_dhcp(&mut self, common: &mut SocketSet<'static>) {
        let Some(handle) = self.dhcp else { return };
        let mut retry = dhcpv4::RetryConfig::default();
        retry.discover_timeout = (FIRST_WAIT * (1 << self.requests.min(8))).min(LAST_WAIT);
        retry.initial_request_timeout = FIRST_WAIT * 2;
        common
            .get_mut::<dhcpv4::Socket<'_>>(handle)
            .set_retry_config(retry);
    }
}

impl Inner {
    /// The vif is connected: takes up the address that there is, or begins to get one. A lease outlives the vif it came
    /// by, and with it its connections; if the network behind the vif is another now, the renewal will be refused.
    pub(super) fn begin_address(&mut self) {
        let held = self.address.now.clone();
        if held.is_none()
            && let Some(handle) = self.address.dhcp
        {
            self.address.requests = 0;
            self.common.get_mut::<dhcpv4::Socket<'_>>(handle).reset();
        }
        self.common_is_due = true;
        self.use_address(held.or(self.address.fixed.clone()));
    }

    /// Acts on what DHCP has come to.
    pub(super) fn address_event(&mut self) {
        let Some(handle) = self.address.dhcp else {
            return;
        };
        let found = match self.common.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
            None => return,
            Some(dhcpv4::Event::Deconfigured) => None,
            Some(dhcpv4::Event::Configured(lease)) => {
                let address = Cidr {
                    address: lease.address.address(),
                    prefix_len: lease.address.prefix_len(),
                };
                let gateway = lease.router.filter(|&router| {
                    usable(Cidr {
                        address: router,
                        prefix_len: 32,
                    })
                });
                Some(Static {
                    address,
                    gateway,
                    dns: lease.dns_servers.iter().copied().collect(),
                })
            }
        };
        self.address.requests = 0;
        if found != self.address.now {
            self.use_address(found.filter(|found| usable(found.address)));
        }
    }

    /// Makes `new` the interface's address, or takes away the one it has.
    fn use_address(&mut self, new: Option<Static>) {
        let Some(interface) = &mut self.interface else {
            return;
        };
        interface.update_ip_addrs(|addresses| {
            addresses.clear();
            if let Some(new) = &new {
                let cidr = Ipv4Cidr::new(new.address.address, new.address.prefix_len);
                // There is room for one.
                let _ = addresses.push(IpCidr::Ipv4(cidr));
            }
        });
        interface.routes_mut().remove_default_ipv4_route();
        if let Some(gateway) = new.as_ref().and_then(|new| new.gateway) {
            // There is room for one.
            let _ = interface.routes_mut().add_default_ipv4_route(gateway);
        }
        let old = core::mem::replace(&mut self.address.now, new);
        if self.address.now.is_some() {
            self.address.announcements = ANNOUNCEMENTS;
            self.address.announce_at = super::now();
            if !self.shared.addressed.replace(true) {
                timeline::mark("address");
            }
        }
        self.log_address(old.is_some());
        // Connections of an address that is gone find that out when they are looked at.
        let ids: Vec<_> = self.table.ids().collect();
        for id in ids {
            match self.table.resting_mut(id) {
                Some(resting) if !self.address.is_own(resting.flow.local) => {
                    resting.end(Error::AddressLost);
                    self.table.unmap(id);
                }
                _ => {
                    if let Some(connection) = self.table.get_mut(id) {
                        connection.say_again();
                    }
                    self.table.enqueue(id);
                }
            }
        }
        self.shared.changed();
    }

    fn log_address(&self, had_one: bool) {
        let number = self.number;
        let Some(now) = &self.address.now else {
            if had_one && self.address.lines.take().is_some() {
                log::warn!(target: "net", "vif{number}: the lease of the address has ended; asking for another");
            }
            return;
        };
        if self.address.lines.take().is_none() {
            return;
        }
        let mut line = alloc::format!("vif{number}: {} {}", now.address, self.address.source());
        // Writing to a string does not fail.
        let _ = match now.gateway {
            Some(gateway) => write!(line, ", gateway {gateway}"),
            None => write!(line, ", no gateway"),
        };
        log::info!(target: "net", "{line}");
    }

    /// Announces the address when it is time to.
    pub(super) fn announce(&mut self, out: &mut Outgoing<'_>, now: Instant) {
        let Some(own) = self.address.own() else {
            self.address.announcements = 0;
            return;
        };
        if self.address.announcements == 0 || now < self.address.announce_at || !out.has_room() {
            return;
        }
        out.send(&announcement(self.mac, own.address));
        self.address.announcements -= 1;
        self.address.announce_at = now + ANNOUNCEMENT_INTERVAL;
    }

    /// Counts a DHCP request that was sent.
    pub(super) fn dhcp_asked(&mut self) {
        if self.address.dhcp.is_none() || self.address.now.is_some() {
            return;
        }
        self.address.requests += 1;
        if self.address.requests == SILENT_REQUESTS {
            let number = self.number;
            let word = crate::words::key("ip", number);
            log::warn!(
                target: "net",
                "vif{number}: no DHCP server answers; still asking ({word}=10.0.0.2/24 on the command line is an address without one)"
            );
        }
    }
}

/// An ARP request for our own address from our own address: RFC 5227 §3.
fn announcement(mac: EthernetAddress, address: Ipv4Addr) -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: mac,
        source_protocol_addr: address,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: address,
    };
    let mut bytes = alloc::vec![0; EthernetFrame::<&[u8]>::buffer_len(arp.buffer_len())];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(mac);
    frame.set_dst_addr(EthernetAddress::BROADCAST);
    frame.set_ethertype(EthernetProtocol::Arp);
    arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    bytes
}
