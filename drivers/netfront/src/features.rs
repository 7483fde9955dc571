//! What a backend can do, and what it is asked to do with a frame.

use crate::proto;
use core::num::NonZeroU16;

/// What the backend of an interface can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// It takes frames of several pages.
    pub sg: bool,
    /// It takes IPv4 frames whose TCP or UDP checksum is left to it ([`TxMeta::csum_blank`]).
    pub tx_checksum: bool,
    /// It cuts large TCP segments over IPv4 ([`TxMeta::gso`]).
    pub gso_tcpv4: bool,
    /// The same over IPv6.
    pub gso_tcpv6: bool,
    /// Each ring has an event channel of its own.
    pub split_channels: bool,
}

impl Features {
    /// Whether it cuts large segments of this kind.
    pub const fn gso(&self, kind: GsoKind) -> bool {
        match kind {
            GsoKind::TcpV4 => self.gso_tcpv4,
            GsoKind::TcpV6 => self.gso_tcpv6,
        }
    }
}

/// What the backend is to do with a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxMeta {
    /// The TCP or UDP checksum field holds the pseudo-header's sum, not complemented, and the backend is to do the rest.
    /// Only for a backend with [`Features::tx_checksum`].
    pub csum_blank: bool,
    /// The frame is one large TCP segment to be cut. Implies `csum_blank`. Only for a backend with that feature.
    pub gso: Option<Gso>,
}

/// How a large TCP segment is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// What it is.
    pub kind: GsoKind,
    /// Bytes of TCP payload in each piece.
    pub size: NonZeroU16,
}

/// What a large segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
}

impl GsoKind {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::TcpV4 => proto::GSO_TCPV4,
            Self::TcpV6 => proto::GSO_TCPV6,
        }
    }
}
