//! The peer's sockets.

use super::Peer;
use super::machine::Machine;
use crate::Error;
use core::future::poll_fn;
use core::net::{SocketAddr, SocketAddrV4};
use core::task::{Context, Poll};
use embedded_io_async::{ErrorType, Read, Write};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::socket::udp;
use std::cell::RefCell;
use std::rc::Rc;

/// Bytes of each buffer.
const BUFFER: usize = 64 * 1024;

/// One of the peer's connections. Dropping it closes it in the background.
pub struct PeerStream {
    machine: Rc<RefCell<Machine>>,
    handle: SocketHandle,
}

fn socket() -> Socket<'static> {
    let mut socket = Socket::new(
        SocketBuffer::new(vec![0; BUFFER]),
        SocketBuffer::new(vec![0; BUFFER]),
    );
    socket.set_nagle_enabled(false);
    socket
}

/// Connects from port `from` to `to`.
pub(super) async fn connect(peer: &Peer, from: u16, to: SocketAddrV4) -> Result<PeerStream, Error> {
    let stream = {
        let mut machine = peer.machine.borrow_mut();
        let machine = &mut *machine;
        let mut socket = socket();
        let context = machine.interface.context();
        socket
            .connect(context, (*to.ip(), to.port()), from)
            .map_err(|_| Error::Unaddressable)?;
        let handle = machine.sockets.add(socket);
        PeerStream {
            machine: Rc::clone(&peer.machine),
            handle,
        }
    };
    let connected = poll_fn(|cx| {
        stream.with(|socket| match socket.state() {
            State::SynSent | State::SynReceived => {
                socket.register_send_waker(cx.waker());
                Poll::Pending
            }
            State::Closed => Poll::Ready(Err(Error::Refused)),
            _ => Poll::Ready(Ok(())),
        })
    });
    connected.await?;
    Ok(stream)
}

impl PeerStream {
    fn with<R>(&self, f: impl FnOnce(&mut Socket<'static>) -> R) -> R {
        f(self.machine.borrow_mut().sockets.get_mut(self.handle))
    }

    /// Ends the writing half.
    pub fn shutdown_write(&self) {
        self.with(Socket::close);
    }

    /// Breaks the connection off.
    pub fn abort(&self) {
        self.with(Socket::abort);
    }

    /// The connection's state, as RFC 9293 names it.
    pub fn state(&self) -> String {
        self.with(|socket| socket.state().to_string())
    }

    /// Bytes that the guest has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.with(|socket| socket.send_queue())
    }

    /// Reads to the end of what the guest sends.
    ///
    /// # Errors
    /// [`Error::Reset`].
    pub async fn read_to_end(&mut self) -> Result<Vec<u8>, Error> {
        let (mut all, mut part) = (Vec::new(), [0; 4096]);
        loop {
            match self.read(&mut part).await? {
                0 => return Ok(all),
                count => all.extend_from_slice(&part[..count]),
            }
        }
    }

    fn poll_read(&self, buf: &mut [u8], cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        self.with(|socket| match socket.recv_slice(buf) {
            Ok(0) if !buf.is_empty() => {
                socket.register_recv_waker(cx.waker());
                Poll::Pending
            }
            Ok(count) => Poll::Ready(Ok(count)),
            Err(RecvError::Finished) => Poll::Ready(Ok(0)),
            Err(RecvError::InvalidState) => Poll::Ready(Err(Error::Reset)),
        })
    }

    fn poll_write(&self, buf: &[u8], cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        self.with(|socket| match socket.send_slice(buf) {
            Ok(0) if !buf.is_empty() => {
                socket.register_send_waker(cx.waker());
                Poll::Pending
            }
            Ok(count) => Poll::Ready(Ok(count)),
            Err(_) if socket.state() == State::Closed => Poll::Ready(Err(Error::Reset)),
            Err(_) => Poll::Ready(Err(Error::Closed)),
        })
    }
}

impl ErrorType for PeerStream {
    type Error = Error;
}

impl Read for PeerStream {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.poll_read(buf, cx)).await
    }
}

impl Write for PeerStream {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.poll_write(buf, cx)).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl ErrorType for &PeerStream {
    type Error = Error;
}

impl Read for &PeerStream {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.poll_read(buf, cx)).await
    }
}

impl Write for &PeerStream {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.poll_write(buf, cx)).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for PeerStream {
    fn drop(&mut self) {
        self.with(Socket::close);
        self.machine.borrow_mut().orphans.push(self.handle);
    }
}

/// A port of the peer's that takes connections, one at a time: those in between are refused.
pub struct PeerListener {
    machine: Rc<RefCell<Machine>>,
    port: u16,
    next: SocketHandle,
}

impl PeerListener {
    pub(super) fn new(peer: &Peer, port: u16) -> Self {
        let machine = Rc::clone(&peer.machine);
        let next = listening(&machine, port);
        Self {
            machine,
            port,
            next,
        }
    }

    /// Waits for the guest's next connection.
    pub async fn accept(&mut self) -> PeerStream {
        poll_fn(|cx| {
            let mut machine = self.machine.borrow_mut();
            let socket = machine.sockets.get_mut::<Socket<'_>>(self.next);
            if matches!(socket.state(), State::Listen | State::SynReceived) {
                socket.register_send_waker(cx.waker());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        let handle = core::mem::replace(&mut self.next, listening(&self.machine, self.port));
        PeerStream {
            machine: Rc::clone(&self.machine),
            handle,
        }
    }
}

impl Drop for PeerListener {
    fn drop(&mut self) {
        self.machine.borrow_mut().sockets.remove(self.next);
    }
}

fn listening(machine: &Rc<RefCell<Machine>>, port: u16) -> SocketHandle {
    let mut socket = socket();
    // A closed socket and a port that is not zero: this cannot fail.
    let _ = socket.listen(port);
    machine.borrow_mut().sockets.add(socket)
}

/// A port of the peer's for datagrams.
pub struct PeerUdp {
    machine: Rc<RefCell<Machine>>,
    handle: SocketHandle,
}

impl PeerUdp {
    pub(super) fn new(peer: &Peer, port: u16) -> Self {
        let packets =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; BUFFER]);
        let mut socket = udp::Socket::new(packets(), packets());
        // A closed socket and a port that is not zero: this cannot fail.
        let _ = socket.bind(port);
        let machine = Rc::clone(&peer.machine);
        let handle = machine.borrow_mut().sockets.add(socket);
        Self { machine, handle }
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// [`Error::Unaddressable`], also when too many wait.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddrV4) -> Result<(), Error> {
        let mut machine = self.machine.borrow_mut();
        let socket = machine.sockets.get_mut::<udp::Socket<'_>>(self.handle);
        socket
            .send_slice(bytes, (*to.ip(), to.port()))
            .map_err(|_| Error::Unaddressable)
    }

    /// Waits for the next datagram, and who sent it.
    pub async fn recv_from(&self) -> (Vec<u8>, SocketAddr) {
        poll_fn(|cx| {
            let mut machine = self.machine.borrow_mut();
            let socket = machine.sockets.get_mut::<udp::Socket<'_>>(self.handle);
            let Ok((bytes, from)) = socket.recv() else {
                socket.register_recv_waker(cx.waker());
                return Poll::Pending;
            };
            let from = SocketAddr::new(from.endpoint.addr.into(), from.endpoint.port);
            Poll::Ready((bytes.to_vec(), from))
        })
        .await
    }
}

impl Drop for PeerUdp {
    fn drop(&mut self) {
        self.machine.borrow_mut().sockets.remove(self.handle);
    }
}
