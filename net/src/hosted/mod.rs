//! The other machine: what a hosted guest's network is connected to.
//!
//! [`Peer`] is a host with a TCP/IP of its own (smoltcp, used the ordinary way) on the other end of the guest's vif. It
//! gives the guest its address by DHCP and has sockets of its own, so that a test can be the client of the guest's
//! server in one deterministic thread. [`Faulty`] puts a bad wire between the two.
//!
//! ```
//! use embedded_io_async::{Read, Write};
//! use xenlet_kernel::hosted;
//! use xenlet_net::hosted::Peer;
//! use xenlet_net::TcpListener;
//!
//! hosted::test(async || {
//!     let peer = Peer::attach_default();
//!     let listener = TcpListener::bind(80).await.unwrap();
//!     let mut client = peer.connect(80).await.unwrap();
//!     let (mut server, _) = listener.accept().await.unwrap();
//!     client.write_all(b"hello").await.unwrap();
//!     let mut buf = [0; 5];
//!     server.read_exact(&mut buf).await.unwrap();
//!     assert_eq!(&buf, b"hello");
//! });
//! ```
//!
//! A process that is a guest by itself (`cargo xtask run --target hosted`) gets a peer too, which forwards real ports of
//! the host to the guest's: `forward=80:8080`.

mod dhcp;
mod faults;
pub mod fuzz;
mod machine;
mod peer;
mod process;
mod stream;

pub use dhcp::Lease;
pub use faults::{Faults, Faulty};
pub use peer::{Peer, PeerWire};
pub use process::attach as attach_process;
pub use stream::{PeerListener, PeerStream, PeerUdp};
