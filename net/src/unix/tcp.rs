//! TCP on the host's sockets.

use super::{error, no_place, place};
use crate::Error;
use async_io::Async;
use core::cell::Cell;
use core::net::SocketAddr;
use core::time::Duration;
use rustix::net::sockopt;
use std::io::{self, Read, Write};
use std::net;
use xenlet_kernel::time;

/// A port that takes connections.
#[derive(Debug)]
pub struct TcpListener {
    socket: Async<net::TcpListener>,
    port: u16,
}

impl TcpListener {
    /// Takes connections to `port`, or to the port of the host's that `forward=` names for it.
    ///
    /// # Errors
    /// When the host has another use for it; the text says how to name another.
    #[allow(
        clippy::unused_async,
        reason = "the same shape as where there is something to wait for"
    )]
    pub async fn bind(port: u16) -> Result<Self, Error> {
        let place = place(port)?;
        let socket =
            Async::<net::TcpListener>::bind(place).map_err(|e| no_place(port, place, &e))?;
        let port = match port {
            0 => socket.get_ref().local_addr().map_err(|e| error(&e))?.port(),
            port => port,
        };
        Ok(Self { socket, port })
    }

    /// Waits for the next connection: its stream, and who is at its other end.
    ///
    /// # Errors
    /// The host's.
    pub async fn accept(&self) -> Result<(TcpStream, SocketAddr), Error> {
        loop {
            match self.socket.accept().await {
                Ok((socket, peer)) => return Ok((TcpStream::new(socket)?, peer)),
                // That connection is gone; the next one need not be.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) => return Err(error(&e)),
            }
        }
    }

    /// The port as the application knows it.
    pub fn local_port(&self) -> u16 {
        self.port
    }
}

/// A connection. Dropping it closes it; what was written before is still sent.
#[derive(Debug)]
pub struct TcpStream {
    socket: Async<net::TcpStream>,
    local: SocketAddr,
    peer: SocketAddr,
    timeout: Cell<Option<Duration>>,
}

impl TcpStream {
    fn new(socket: Async<net::TcpStream>) -> Result<Self, Error> {
        let local = socket.get_ref().local_addr().map_err(|e| error(&e))?;
        let peer = socket.get_ref().peer_addr().map_err(|e| error(&e))?;
        // As on xen: what is written together is sent together, and at once.
        socket.get_ref().set_nodelay(true).map_err(|e| error(&e))?;
        Ok(Self {
            socket,
            local,
            peer,
            timeout: Cell::new(None),
        })
    }

    /// Connects to `peer`.
    ///
    /// # Errors
    /// As the host gives them.
    pub async fn connect(peer: SocketAddr) -> Result<Self, Error> {
        let socket = Async::<net::TcpStream>::connect(peer)
            .await
            .map_err(|e| error(&e))?;
        Self::new(socket)
    }

    pub(crate) async fn receive(&self, buf: &mut [u8]) -> Result<usize, Error> {
        self.limited(self.socket.read_with(|mut socket| socket.read(buf)))
            .await
    }

    pub(crate) async fn send(&self, buf: &[u8]) -> Result<usize, Error> {
        self.limited(self.socket.write_with(|mut socket| socket.write(buf)))
            .await
    }

    async fn limited<T>(&self, work: impl Future<Output = io::Result<T>>) -> Result<T, Error> {
        let result = match self.timeout.get() {
            Some(limit) => time::timeout(limit, work)
                .await
                .map_err(|_| Error::TimedOut)?,
            None => work.await,
        };
        result.map_err(|e| error(&e))
    }

    /// Closes this end for writing: the peer reads the end of the stream after what was written. Reading goes on.
    ///
    /// # Errors
    /// When the connection is gone already.
    #[allow(
        clippy::unused_async,
        reason = "the same shape as where there is something to wait for"
    )]
    pub async fn shutdown_write(&self) -> Result<(), Error> {
        self.socket
            .get_ref()
            .shutdown(net::Shutdown::Write)
            .map_err(|e| error(&e))
    }

    /// Breaks the connection off: the peer gets a reset, and what was not sent is lost.
    pub fn abort(&self) {
        // An error says that the connection is gone already.
        let _ = rustix::net::connect_unspec(self.socket.get_ref());
    }

    /// Gives up, with [`Error::TimedOut`], when a read or write gets no further for this long. `None`, the default, is never.
    pub fn set_timeout(&self, limit: Option<Duration>) {
        self.timeout.set(limit);
    }

    /// Asks an idle peer this often whether it is still there. `None`, the default, is never.
    pub fn set_keep_alive(&self, interval: Option<Duration>) {
        let socket = self.socket.get_ref();
        // The host may not have such a timer; the connection works without.
        let _ = sockopt::set_socket_keepalive(socket, interval.is_some());
        if let Some(interval) = interval {
            let _ = sockopt::set_tcp_keepidle(socket, interval);
            let _ = sockopt::set_tcp_keepintvl(socket, interval);
        }
    }

    /// Whether small writes are sent at once (`true`, the default) or wait for the acknowledgement of what was sent
    /// before (Nagle's algorithm).
    pub fn set_nodelay(&self, nodelay: bool) {
        let _ = self.socket.get_ref().set_nodelay(nodelay);
    }

    /// The other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// This end.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_io::block_on;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(0).await.unwrap();
        let to = SocketAddr::from(([127, 0, 0, 1], listener.local_port()));
        let (client, server) = futures_join(TcpStream::connect(to), listener.accept()).await;
        (client.unwrap(), server.unwrap().0)
    }

    async fn futures_join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
        let (mut a, mut b) = (core::pin::pin!(a), core::pin::pin!(b));
        let (mut of_a, mut of_b) = (None, None);
        core::future::poll_fn(move |cx| {
            use core::task::Poll;
            if of_a.is_none()
                && let Poll::Ready(value) = a.as_mut().poll(cx)
            {
                of_a = Some(value);
            }
            if of_b.is_none()
                && let Poll::Ready(value) = b.as_mut().poll(cx)
            {
                of_b = Some(value);
            }
            match (of_a.take(), of_b.take()) {
                (Some(a), Some(b)) => Poll::Ready((a, b)),
                (a, b) => {
                    (of_a, of_b) = (a, b);
                    Poll::Pending
                }
            }
        })
        .await
    }

    #[test]
    fn a_half_closed_stream_still_reads() {
        block_on(async {
            let (client, server) = pair().await;
            assert_eq!(client.send(b"question").await, Ok(8));
            client.shutdown_write().await.unwrap();
            let mut buf = [0; 16];
            assert_eq!(server.receive(&mut buf).await, Ok(8));
            assert_eq!(server.receive(&mut buf).await, Ok(0));
            assert_eq!(server.send(b"answer").await, Ok(6));
            assert_eq!(client.receive(&mut buf).await, Ok(6));
            assert_eq!(client.send(b"more").await, Err(Error::Closed));
        });
    }

    #[test]
    fn an_aborted_stream_is_reset() {
        block_on(async {
            let (client, server) = pair().await;
            server.abort();
            assert_eq!(client.receive(&mut [0; 16]).await, Err(Error::Reset));
        });
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_its_fix() {
        block_on(async {
            let first = TcpListener::bind(0).await.unwrap();
            let error = TcpListener::bind(first.local_port()).await.unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("name a free port of its own by forward="),
                "{error}"
            );
        });
    }
}
