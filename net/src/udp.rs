//! UDP sockets.

use crate::Error;
use crate::network::Network;
use crate::tcp::ipv4;
use alloc::rc::Rc;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;
use xenlet_kernel::entropy;

/// Ports for sockets that don't care: RFC 6335 §6.
const EPHEMERAL: core::ops::RangeInclusive<u16> = 49152..=65535;

/// A port for datagrams, on every interface.
///
/// Up to 32 datagrams and 16 KiB wait in each direction; what arrives beyond that is lost.
#[derive(Debug)]
pub struct UdpSocket {
    network: Rc<Network>,
    port: u16,
}

impl UdpSocket {
    /// Takes datagrams to `port` from now on, or as soon as there is an interface; 0 is any free port.
    ///
    /// # Errors
    /// [`Error::PortInUse`], [`Error::NoMemory`]; [`Error::Word`] when the command line says something of the network that
    /// makes no sense.
    #[allow(
        clippy::unused_async,
        reason = "the same shape as where the host is asked"
    )]
    pub async fn bind(port: u16) -> Result<Self, Error> {
        let network = Network::get()?;
        if port != 0 {
            let bound = network.bind_udp(port)?;
            return if bound {
                Ok(Self { network, port })
            } else {
                Err(Error::PortInUse(port))
            };
        }
        for _ in EPHEMERAL {
            let count = u64::from(EPHEMERAL.end() - EPHEMERAL.start()) + 1;
            let port = EPHEMERAL.start() + u16::try_from(entropy::seed() % count).unwrap_or(0);
            if network.bind_udp(port)? {
                return Ok(Self { network, port });
            }
        }
        Err(Error::NoPort)
    }

    /// Waits for the next datagram: how much of it is in `buf` (what does not fit is lost), and who sent it. One task at a
    /// time may wait.
    ///
    /// # Errors
    /// None here; the host's, where its sockets are used.
    pub async fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.network.listed().await;
        let stacks = self.network.stacks();
        let next = poll_fn(|cx| {
            for stack in &stacks {
                if let Poll::Ready(found) = stack.poll_datagram(self.port, buf, cx) {
                    return Poll::Ready(found);
                }
            }
            Poll::Pending
        });
        Ok(next.await)
    }

    /// Hands a datagram to the interface in whose subnet `to` is, or else to the first with a gateway. Waits for room.
    ///
    /// # Errors
    /// [`Error::TooLong`] for what does not fit in one packet; no interface, address or route;
    /// [`Error::Unaddressable`] for port 0 and address 0.0.0.0.
    pub async fn send_to(&self, buf: &[u8], to: SocketAddr) -> Result<(), Error> {
        let to = ipv4(to)?;
        let stack = self.network.route_now(*to.ip())?;
        poll_fn(|cx| stack.poll_send_datagram(self.port, buf, to, cx)).await
    }

    /// The port.
    pub fn local_port(&self) -> u16 {
        self.port
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.network.unbind_udp(self.port);
    }
}
