//! UDP: smoltcp's sockets, in the set that is searched.

use super::{Inner, Stack};
use crate::Error;
use alloc::vec::Vec;
use core::net::{SocketAddr, SocketAddrV4};
use core::task::{Context, Poll};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, SendError, Socket};

/// Datagrams that wait in each direction at most, and their bytes.
const DATAGRAMS: usize = 32;
const BYTES: usize = 16 * 1024;

/// Bytes of the headers of a datagram: IPv4 without options, and UDP.
const HEADERS: usize = 28;

/// A bound port.
pub(super) struct Port {
    port: u16,
    handle: SocketHandle,
}

impl Stack {
    /// Takes datagrams to `port`, which no other socket has.
    pub(crate) fn bind_udp(&self, port: u16) -> Result<(), Error> {
        let mut inner = self.inner.borrow_mut();
        inner.udp.try_reserve(1).map_err(|_| Error::NoMemory)?;
        let mut socket = Socket::new(packets()?, packets()?);
        socket.bind(port).map_err(|_| Error::Unaddressable)?;
        let handle = inner.common.add(socket);
        inner.udp.push(Port { port, handle });
        Ok(())
    }

    /// Takes no more datagrams to `port`.
    pub(crate) fn unbind_udp(&self, port: u16) {
        let mut inner = self.inner.borrow_mut();
        let Inner { udp, common, .. } = &mut *inner;
        udp.retain(|bound| {
            if bound.port == port {
                common.remove(bound.handle);
            }
            bound.port != port
        });
    }

    /// The next datagram to `port`: how much of it is in `buf`, and who sent it.
    pub(crate) fn poll_datagram(
        &self,
        port: u16,
        buf: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<(usize, SocketAddr)> {
        let mut inner = self.inner.borrow_mut();
        let Some(socket) = inner.udp_socket(port) else {
            return Poll::Pending;
        };
        let Ok((bytes, from)) = socket.recv() else {
            socket.register_recv_waker(cx.waker());
            return Poll::Pending;
        };
        let count = bytes.len().min(buf.len());
        buf[..count].copy_from_slice(&bytes[..count]);
        Poll::Ready((
            count,
            SocketAddr::new(from.endpoint.addr.into(), from.endpoint.port),
        ))
    }

    /// Sends a datagram from `port`, when there is room for it.
    pub(crate) fn poll_send_datagram(
        &self,
        port: u16,
        buf: &[u8],
        to: SocketAddrV4,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut inner = self.inner.borrow_mut();
        let longest = inner.mtu.saturating_sub(HEADERS).min(BYTES);
        if buf.len() > longest {
            return Poll::Ready(Err(Error::TooLong(buf.len(), longest)));
        }
        let socket = inner.udp_socket(port).ok_or(Error::Closed)?;
        match socket.send_slice(buf, (*to.ip(), to.port())) {
            Ok(()) => {
                inner.common_is_due = true;
                self.wake();
                Poll::Ready(Ok(()))
            }
            Err(SendError::BufferFull) => {
                socket.register_send_waker(cx.waker());
                Poll::Pending
            }
            Err(SendError::Unaddressable) => Poll::Ready(Err(Error::Unaddressable)),
        }
    }
}

impl Inner {
    /// Every bound port: bytes of datagrams that wait for the application and to be sent, and how many may in each direction.
    pub(super) fn udp_queues(&self) -> impl Iterator<Item = (u16, [usize; 2], usize)> {
        self.udp.iter().map(|bound| {
            let socket: &Socket<'_> = self.common.get(bound.handle);
            (
                bound.port,
                [socket.recv_queue(), socket.send_queue()],
                BYTES,
            )
        })
    }

    fn udp_socket(&mut self, port: u16) -> Option<&mut Socket<'static>> {
        let handle = self.udp.iter().find(|bound| bound.port == port)?.handle;
        Some(self.common.get_mut(handle))
    }
}

fn packets() -> Result<PacketBuffer<'static>, Error> {
    let (mut headers, mut bytes) = (Vec::new(), Vec::new());
    headers
        .try_reserve_exact(DATAGRAMS)
        .map_err(|_| Error::NoMemory)?;
    headers.resize(DATAGRAMS, PacketMetadata::EMPTY);
    bytes
        .try_reserve_exact(BYTES)
        .map_err(|_| Error::NoMemory)?;
    bytes.resize(BYTES, 0);
    Ok(PacketBuffer::new(headers, bytes))
}
