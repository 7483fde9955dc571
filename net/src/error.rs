//! What can go wrong with a socket, in words for people.

use alloc::string::String;
use core::fmt;
use core::net::IpAddr;
use embedded_io_async::ErrorKind;

/// Why a socket could not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The toolstack gave this guest no `vif`.
    NoInterface,
    /// No interface has an address yet.
    NoAddress,
    /// No interface leads to this address.
    NoRoute(IpAddr),
    /// A port or address that nothing can be sent to: zero, unspecified, broadcast for TCP.
    Unaddressable,
    /// Only IPv4 is spoken here.
    NotIpv4(IpAddr),
    /// A socket of this guest has this port.
    PortInUse(u16),
    /// All the ports for outgoing connections to this address are in use.
    NoPort,
    /// The peer, or something before it, refused the connection.
    Refused,
    /// The peer broke the connection off.
    Reset,
    /// The peer was not heard for too long.
    TimedOut,
    /// The stream's writing half was closed before.
    Closed,
    /// The connection's local address is no longer this guest's.
    AddressLost,
    /// A datagram of this many bytes does not fit in one packet; the second number is what does.
    TooLong(usize, usize),
    /// There is no memory for another socket.
    NoMemory,
    /// A word of the command line says nothing that the network could do; the text names it and how to write it.
    Word(String),
    /// The host said no (hosted and unix).
    Host(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface => {
                f.write_str("this guest has no network: give it one by vif = [ 'bridge=…' ] in its configuration")
            }
            Self::NoAddress => f.write_str("no interface has an address yet: is there a DHCP server, or ip= on the command line?"),
            Self::NoRoute(to) => write!(f, "no interface leads to {to}: is it in the subnet, or is there a gateway?"),
            Self::Unaddressable => f.write_str("nothing can be sent to this address or port"),
            Self::NotIpv4(address) => write!(f, "{address} is not an IPv4 address; only IPv4 is spoken here"),
            Self::PortInUse(port) => write!(f, "port {port} is in use by another socket of this guest"),
            Self::NoPort => f.write_str("every port for outgoing connections is in use"),
            Self::Refused => f.write_str("the connection was refused"),
            Self::Reset => f.write_str("the peer broke the connection off"),
            Self::TimedOut => f.write_str("the peer was not heard for too long"),
            Self::Closed => f.write_str("this stream was closed for writing"),
            Self::AddressLost => f.write_str("the address of this connection is no longer this guest's"),
            Self::TooLong(len, max) => write!(f, "a datagram of {len} bytes is too long: {max} bytes fit in one packet"),
            Self::NoMemory => f.write_str("there is no memory for another socket"),
            Self::Word(text) | Self::Host(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for Error {}

impl embedded_io_async::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoInterface | Self::NoAddress | Self::NoRoute(_) => ErrorKind::NotConnected,
            Self::Unaddressable | Self::NotIpv4(_) | Self::TooLong(..) | Self::Word(_) => {
                ErrorKind::InvalidInput
            }
            Self::PortInUse(_) | Self::NoPort => ErrorKind::AddrInUse,
            Self::Refused => ErrorKind::ConnectionRefused,
            Self::Reset => ErrorKind::ConnectionReset,
            Self::TimedOut => ErrorKind::TimedOut,
            Self::Closed => ErrorKind::BrokenPipe,
            Self::AddressLost => ErrorKind::AddrNotAvailable,
            Self::NoMemory => ErrorKind::OutOfMemory,
            Self::Host(_) => ErrorKind::Other,
        }
    }
}
