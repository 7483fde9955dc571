//! TCP sockets.

use crate::Error;
use crate::network::Network;
use crate::stack::backlog::Backlog;
use crate::stack::table::Id;
use crate::stack::{Flow, Stack};
use alloc::rc::Rc;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr, SocketAddrV4};
use core::time::Duration;
use xenlet_kernel::time;

/// How long [`TcpStream::connect`] waits for an interface to have an address, if none has.
const ADDRESS_WAIT: Duration = Duration::from_secs(30);

/// A port that takes connections, on every interface.
///
/// Connections that wait to be accepted are the backlog. It takes half as many as there is room for in
/// the memory that is free at first, 4096 at most and 64 at least; SYNs beyond that are not answered, so that
/// their senders try again. While 256 are half open, as in a flood of SYNs, more are answered with cookies, of which nothing is
/// kept until they come back. A half-open connection is given up after 20 seconds.
#[derive(Debug)]
pub struct TcpListener {
    network: Rc<Network>,
    backlog: Rc<Backlog>,
    port: u16,
}

impl TcpListener {
    /// Takes connections to `port` from now on, or as soon as there is an interface.
    ///
    /// # Errors
    /// [`Error::PortInUse`]; [`Error::Unaddressable`] for port 0; [`Error::Word`] when the command line says something of
    /// the network that makes no sense.
    #[allow(
        clippy::unused_async,
        reason = "the same shape as where the host is asked"
    )]
    pub async fn bind(port: u16) -> Result<Self, Error> {
        if port == 0 {
            return Err(Error::Unaddressable);
        }
        let network = Network::get()?;
        let room = network.shared.buffers.room() / 2;
        let backlog = network
            .shared
            .ports
            .listen(port, room.clamp(64, 4096))
            .ok_or(Error::PortInUse(port))?;
        Ok(Self {
            network,
            backlog,
            port,
        })
    }

    /// Waits for the next connection: its stream, and who is at its other end. One task at a time may wait.
    ///
    /// # Errors
    /// None here; the host's, where its sockets are used.
    pub async fn accept(&self) -> Result<(TcpStream, SocketAddr), Error> {
        loop {
            let (index, id) = poll_fn(|cx| self.backlog.poll_next(cx)).await;
            if let Some(stack) = self.network.stack(index)
                && let Some(flow) = stack.hold(id)
            {
                let stream = TcpStream::new(stack, id, flow);
                let peer = stream.peer_addr();
                return Ok((stream, peer));
            }
        }
    }

    /// The port.
    pub fn local_port(&self) -> u16 {
        self.port
    }
}

/// Connections that nobody has accepted are broken off.
impl Drop for TcpListener {
    fn drop(&mut self) {
        self.network.shared.ports.close(&self.backlog);
        for stack in self.network.stacks() {
            stack.refuse(&self.backlog);
        }
    }
}

/// A connection.
///
/// Dropping it closes it: what was written is still sent as long as the peer takes it, and what still arrives is thrown
/// away, for a minute at most.
/// Reading and writing are [`embedded_io_async`]'s traits, for a stream and for a reference to one; one task may read
/// while another writes. What is written in one go of the loop is sent together, and at once.
///
/// A peer that is silent for two minutes while there is something to be sent has gone: [`Error::TimedOut`].
#[derive(Debug)]
pub struct TcpStream {
    stack: Rc<Stack>,
    id: Id,
    local: SocketAddr,
    peer: SocketAddr,
}

impl TcpStream {
    fn new(stack: Rc<Stack>, id: Id, flow: Flow) -> Self {
        let local = SocketAddr::new(IpAddr::V4(flow.local), flow.local_port);
        let peer = SocketAddr::new(IpAddr::V4(flow.remote), flow.remote_port);
        Self {
            stack,
            id,
            local,
            peer,
        }
    }

    /// Connects to `peer`, from the interface in whose subnet it is, or else the first with a gateway. Waits for an
    /// address if there is none yet.
    ///
    /// # Errors
    /// What keeps it from being made: no interface, address or route, or the peer refuses or does not answer.
    pub async fn connect(peer: SocketAddr) -> Result<Self, Error> {
        let SocketAddr::V4(to) = peer else {
            return Err(Error::NotIpv4(peer.ip()));
        };
        let network = Network::get()?;
        let route = time::timeout(ADDRESS_WAIT, network.route(*to.ip())).await;
        let stack = route.map_err(|_| Error::NoAddress)??;
        let (id, flow) = stack.connect(to)?;
        // From here on dropping it gives the connection up.
        let stream = Self::new(stack, id, flow);
        poll_fn(|cx| stream.stack.poll_connected(id, cx)).await?;
        Ok(stream)
    }

    pub(crate) async fn receive(&self, buf: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.stack.poll_receive(self.id, buf, cx)).await
    }

    pub(crate) async fn send(&self, buf: &[u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.stack.poll_send(self.id, buf, cx)).await
    }

    /// Closes this end for writing: the peer reads the end of the stream after what was written. Reading goes on.
    ///
    /// # Errors
    /// When the connection is gone already.
    #[allow(
        clippy::unused_async,
        reason = "the same shape as everything that may wait"
    )]
    pub async fn shutdown_write(&self) -> Result<(), Error> {
        self.stack.shutdown_write(self.id)
    }

    /// Breaks the connection off: the peer gets a reset, and what was not sent is lost.
    pub fn abort(&self) {
        self.stack.abort(self.id);
    }

    /// Gives up, with [`Error::TimedOut`], when nothing is heard of the peer for this long. `None`, the default, is never
    /// while there is nothing to be sent.
    pub fn set_timeout(&self, limit: Option<Duration>) {
        self.stack.set_timeout(self.id, limit);
    }

    /// Asks an idle peer this often whether it is still there; four questions without an answer are
    /// [`Error::TimedOut`]. `None`, the default, is never.
    pub fn set_keep_alive(&self, interval: Option<Duration>) {
        self.stack.set_keep_alive(self.id, interval);
    }

    /// Whether small writes are sent at once (`true`, the default) or wait for the acknowledgement of what was sent
    /// before (Nagle's algorithm).
    pub fn set_nodelay(&self, nodelay: bool) {
        self.stack.set_nodelay(self.id, nodelay);
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

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.stack.release(self.id);
    }
}

/// An IPv4 address and port.
pub(crate) fn ipv4(address: SocketAddr) -> Result<SocketAddrV4, Error> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(address) => Err(Error::NotIpv4(IpAddr::V6(*address.ip()))),
    }
}
