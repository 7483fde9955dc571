//! The same sockets on the host's own, for writing an application with ordinary tools.

mod tcp;
mod udp;

pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;

use crate::{Cidr, Error, InterfaceInfo, Source, Stats, forward};
use core::net::{Ipv4Addr, SocketAddr};
use std::io;
use xenlet_kernel::cmdline;

/// Does nothing here: the host's network is up.
///
/// # Errors
/// None.
#[allow(
    clippy::unused_async,
    reason = "the same shape as where there is something to wait for"
)]
pub async fn up() -> Result<(), Error> {
    Ok(())
}

/// Ready at once for a link that is up, which the host's is here; never for one that is down.
///
/// # Errors
/// [`Error::NoInterface`] for any other than the first.
pub async fn link_is(number: u32, up: bool) -> Result<(), Error> {
    match (number, up) {
        (0, true) => Ok(()),
        (0, false) => core::future::pending().await,
        _ => Err(Error::NoInterface),
    }
}

/// Lists one interface, the host as the application sees it.
pub fn interfaces() -> alloc::vec::Vec<InterfaceInfo> {
    alloc::vec![InterfaceInfo {
        number: 0,
        mac: [0; 6],
        mtu: 65535,
        address: Some(Cidr {
            address: Ipv4Addr::LOCALHOST,
            prefix_len: 8
        }),
        gateway: None,
        dns: alloc::vec::Vec::new(),
        source: Source::Static,
        link: true,
        stats: Stats::default(),
    }]
}

/// The port of the host's that `forward=` names for the application's `port`.
fn host_port(port: u16) -> Result<Option<u16>, Error> {
    let forwards = forward::forwards(cmdline::line())?;
    Ok(forwards
        .into_iter()
        .find_map(|(guest, host)| (guest == port).then_some(host)))
}

/// Where the host is asked for the application's port `port`.
fn place(port: u16) -> Result<SocketAddr, Error> {
    Ok(match host_port(port)? {
        Some(host_port) => SocketAddr::from((Ipv4Addr::LOCALHOST, host_port)),
        None => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    })
}

/// Why the host does not give `place` for `port`, and what to do about it.
fn no_place(port: u16, place: SocketAddr, e: &io::Error) -> Error {
    let other = if port < 1000 {
        8000 + port
    } else {
        port.wrapping_add(1)
    };
    Error::Host(format!(
        "port {port}: the host does not give {place}: {e}; name a free port of its own by forward={port}:{other}"
    ))
}

/// The host's error as ours.
fn error(e: &io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => Error::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Error::Reset,
        io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected => Error::Closed,
        io::ErrorKind::TimedOut => Error::TimedOut,
        _ => Error::Host(e.to_string()),
    }
}
