//! UDP on the host's sockets.

use super::{error, no_place, place};
use crate::Error;
use async_io::Async;
use core::net::SocketAddr;
use std::net;

/// A port for datagrams.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Async<net::UdpSocket>,
    port: u16,
}

impl UdpSocket {
    /// Takes datagrams to `port`, or to the port of the host's that `forward=` names for it; 0 is any free port.
    ///
    /// # Errors
    /// When the host has another use for it; the text says how to name another.
    #[allow(
        clippy::unused_async,
        reason = "the same shape as where there is something to wait for"
    )]
    pub async fn bind(port: u16) -> Result<Self, Error> {
        let place = place(port)?;
        let socket = Async::<net::UdpSocket>::bind(place).map_err(|e| no_place(port, place, &e))?;
        let port = match port {
            0 => socket.get_ref().local_addr().map_err(|e| error(&e))?.port(),
            port => port,
        };
        Ok(Self { socket, port })
    }

    /// Waits for the next datagram: how much of it is in `buf` (what does not fit is lost), and who sent it.
    ///
    /// # Errors
    /// The host's.
    pub async fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.socket.recv_from(buf).await.map_err(|e| error(&e))
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// The host's.
    pub async fn send_to(&self, buf: &[u8], to: SocketAddr) -> Result<(), Error> {
        self.socket
            .send_to(buf, to)
            .await
            .map(|_| ())
            .map_err(|e| error(&e))
    }

    /// The port as the application knows it.
    pub fn local_port(&self) -> u16 {
        self.port
    }
}
