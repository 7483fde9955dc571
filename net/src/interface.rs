//! What an application may know of the guest's interfaces.

use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

/// An address and how many of its leading bits name its subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address.
    pub address: Ipv4Addr,
    /// The subnet's bits, 32 at most.
    pub prefix_len: u8,
}

impl Cidr {
    /// Whether `other` is in the same subnet.
    pub fn contains(&self, other: Ipv4Addr) -> bool {
        let mask = u32::MAX
            .checked_shl(32 - u32::from(self.prefix_len.min(32)))
            .unwrap_or(0);
        u32::from(self.address) & mask == u32::from(other) & mask
    }
}

impl fmt::Display for Cidr {
    /// As `10.0.2.15/24`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// Where an interface's address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A DHCP server.
    Dhcp,
    /// The command line (or, on unix, the host).
    Static,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dhcp => "by DHCP",
            Self::Static => "static",
        })
    }
}

/// One interface as it is now.
#[derive(Clone, Debug)]
pub struct InterfaceInfo {
    /// The number of the vif: 0 for the first of the guest's configuration.
    pub number: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The longest IP packet that it carries, in bytes.
    pub mtu: usize,
    /// Its address, once it has one.
    pub address: Option<Cidr>,
    /// The router that leads out of its subnet.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers, in order of preference.
    pub dns: Vec<Ipv4Addr>,
    /// Where the address comes from.
    pub source: Source,
    /// Whether the backend is connected.
    pub link: bool,
    /// Counts since the start of the domain.
    pub stats: Stats,
}

/// Counts since the start of the domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes in them.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes in them.
    pub tx_bytes: u64,
    /// TCP connections there are now, in any state but closed.
    pub connections: u64,
    /// Those of them that have nothing to do, and whose buffers others have for as long.
    pub resting: u64,
    /// Bytes of the buffers of connections that have ended, which are kept for the next ones.
    pub spare_bytes: u64,
    /// Received frames that were no packet for this guest: other protocols, other addresses, malformed.
    pub ignored: u64,
    /// Received frames with a wrong checksum.
    pub bad_checksums: u64,
    /// Received IP fragments: they are dropped.
    pub fragments: u64,
    /// SYNs that were answered while too many connections were half open: nothing of them is kept (RFC 4987 §3.6).
    pub cookies: u64,
    /// SYNs that were not answered, for lack of room in the backlog or of memory: their senders try again.
    pub deferred_syns: u64,
    /// Segments that belong to no connection, of which most are answered with a reset: connections to ports where nobody listens, for one.
    pub refused: u64,
    /// Segments that were sent again.
    pub retransmissions: u64,
    /// Times that a connection was looked at to see what it has to send.
    pub polls: u64,
}
