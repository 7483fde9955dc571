//! TCP, UDP, DHCP and ICMP for xenlet applications, behind sockets of our own.
//!
//! ```no_run
//! use embedded_io_async::{Read, Write};
//!
//! async fn echo() -> Result<(), xenlet_net::Error> {
//!     let listener = xenlet_net::TcpListener::bind(7).await?;
//!     loop {
//!         let (mut stream, peer) = listener.accept().await?;
//!         log::info!("{peer} is here");
//!         xenlet_kernel::run::spawn(async move {
//!             let mut bytes = [0; 512];
//!             while let Ok(count @ 1..) = stream.read(&mut bytes).await {
//!                 if stream.write_all(&bytes[..count]).await.is_err() {
//!                     break;
//!                 }
//!             }
//!         });
//!     }
//! }
//! ```
//!
//! The network comes up by itself when the first socket is made: every `vif` that the toolstack gave the guest, with
//! an address by DHCP or from the command line (`ip=10.0.0.2/24 gw=10.0.0.1 dns=10.0.0.3`; `ip1=`, `gw1=`, `dns1=` for
//! the second vif, and so on). A guest without a vif says so, and its listeners wait for what will never come.
//!
//! With `--cfg xenlet="unix"` the same sockets are the host's own, and `forward=80:8080` puts what the application
//! binds as port 80 on port 8080 of 127.0.0.1.
//!
//! Not supported: IPv6, IP fragments (dropped, and counted), multicast, raw sockets, path MTU discovery.
#![cfg_attr(xenlet = "xen", no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::cast_possible_truncation,
        reason = "a test that fails says so by panicking"
    )
)]

extern crate alloc;

mod error;
#[cfg(not(xenlet = "xen"))]
mod forward;
mod interface;
mod io;

#[cfg(xenlet = "unix")]
mod unix;
#[cfg(xenlet = "unix")]
use unix as sockets;

// What there is where the TCP/IP is our own.
#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
pub mod hosted;
#[cfg(not(xenlet = "unix"))]
mod metrics;
#[cfg(not(xenlet = "unix"))]
mod network;
#[cfg(not(xenlet = "unix"))]
mod stack;
pub mod tap;
#[cfg(not(xenlet = "unix"))]
mod tcp;
#[cfg(not(xenlet = "unix"))]
mod udp;
#[cfg(not(xenlet = "unix"))]
mod words;
#[cfg(not(xenlet = "unix"))]
mod sockets {
    //! The sockets, under the name that they have on every target.
    pub use crate::network::{interfaces, link_is, up};
    pub use crate::tcp::{TcpListener, TcpStream};
    pub use crate::udp::UdpSocket;
}

pub use error::Error;
pub use interface::{Cidr, InterfaceInfo, Source, Stats};
pub use io::{Peer, Stream};
pub use sockets::{TcpListener, TcpStream, UdpSocket, interfaces, link_is, up};

/// The address of the first interface that has one.
pub fn address() -> Option<Cidr> {
    interfaces().iter().find_map(|interface| interface.address)
}
