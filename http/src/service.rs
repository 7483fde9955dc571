//! A server on the network: the accept loop, and what one connection does.

use crate::error::rare;
use crate::metrics::{self, Counted, Numbers};
use crate::{Clock, Connection, Error, Exchange, Limits, Server, Status};
use alloc::rc::Rc;
use core::cell::Cell;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use embedded_io_async::{Read, Write};
use xenlet_kernel::run::{self, Notify};
use xenlet_kernel::time::{self, Sleep};
use xenlet_kernel::{memory, shutdown, trace};
use xenlet_net::{Stream, TcpListener, TcpStream};

/// What a connection costs in the memory of a small guest, as a rule: buffers of both directions and its task. It may
/// cost more; what keeps the guest alive then is [`RESERVE`].
const CONNECTION_BYTES: usize = 5632;

/// Connections at once, whatever the memory.
const MOST: usize = 20_000;

/// Memory that has to be free for a connection to be taken or a request to be answered: for what is allocated then.
const RESERVE: usize = 64 * 1024;

/// What the tables of timers and of tasks that are ready take for each connection at the moment when they double, in bytes.
const TABLES: usize = 96;

/// How long to wait for memory before looking again.
const PAUSE: Duration = Duration::from_millis(100);

/// What an application does with requests.
pub trait Handler: 'static {
    /// Answers one request that came to `server`.
    ///
    /// # Errors
    ///
    /// Those of the exchange: they end the connection.
    fn answer<S: Read + Write>(
        &self,
        exchange: Exchange<'_, '_, S, KernelClock>,
        server: &Server<KernelClock>,
    ) -> impl Future<Output = Result<(), Error<S::Error>>>;
}

/// A handler and those who ask it.
pub struct Service<H> {
    handler: H,
    server: Server<KernelClock>,
    /// How many connections there may be; more wait in the listener's backlog.
    max_connections: usize,
    /// How many there are, those included whose task has not run yet.
    open: Cell<usize>,
    /// Told when a connection has ended.
    ended: Notify,
}

impl<H: Handler> Service<H> {
    /// A service without connections. How many it takes depends on the memory that is free now.
    pub fn new(handler: H) -> Rc<Self> {
        Self::with_server(handler, Server::new(KernelClock, Limits::default()))
    }

    /// The same, with a server of one's own.
    pub fn with_server(handler: H, server: Server<KernelClock>) -> Rc<Self> {
        let max_connections = match memory::stats() {
            Some(stats) => (stats.free / 16 * 15 / CONNECTION_BYTES).clamp(64, MOST),
            None => MOST,
        };
        Rc::new(Self {
            handler,
            server,
            max_connections,
            open: Cell::new(0),
            ended: Notify::new(),
        })
    }

    /// Serves until the domain is asked to end; then takes no more connections, and finishes those that are busy
    /// with a request.
    pub async fn serve(self: Rc<Self>, listener: TcpListener) {
        self.serve_over(listener, async |stream| Some(stream)).await;
    }

    /// As [`serve`](Self::serve), over the streams that `layer` makes of the network's; one for which it makes none, because
    /// the peer behaves badly, is over.
    pub async fn serve_over<T: Stream>(
        self: Rc<Self>,
        listener: TcpListener,
        layer: impl AsyncFn(TcpStream) -> Option<T> + Clone + 'static,
    ) {
        metrics::add(listener.local_port(), &self);
        let mut asked_to_end = pin!(shutdown::requested());
        while let Some(accepted) = unless(asked_to_end.as_mut(), self.accept(&listener)).await {
            let stream = match accepted {
                Ok(stream) => stream,
                // The host's, where its sockets are used: it may be out of them for a moment.
                Err(error) => {
                    log::warn!(target: "http", "cannot accept a connection: {error}");
                    time::sleep(PAUSE).await;
                    continue;
                }
            };
            self.open.update(|open| open + 1);
            let (service, layer) = (Rc::clone(&self), layer.clone());
            run::spawn_named("connection", async move {
                if let Some(stream) = layer(stream).await {
                    service.connection(stream).await;
                }
                service.open.update(|open| open - 1);
                service.ended.notify();
            });
            // It allocates what it needs before memory is looked at for the next one.
            run::yield_now().await;
        }
        drop(listener);
        log::info!(target: "http", "finishing {} connections", self.open.get());
        self.server.stop();
        while self.open.get() > 0 {
            trace::waiting("a connection to end", self.ended.notified()).await;
        }
    }

    async fn accept(&self, listener: &TcpListener) -> Result<TcpStream, xenlet_net::Error> {
        while self.open.get() >= self.max_connections {
            trace::waiting("a connection to end", self.ended.notified()).await;
        }
        let (stream, _) = listener.accept().await?;
        // Only now: who has waited for long may find less. Memory comes back in other ways too than by the end of a
        // connection of ours.
        while !memory::has_room(RESERVE + self.open.get() * TABLES) {
            time::sleep(PAUSE).await;
        }
        Ok(stream)
    }

    async fn connection<T: Stream>(&self, mut stream: T) {
        #[cfg(feature = "access")]
        let peer = stream.peer();
        let mut connection = self.server.connection(&mut stream);
        #[cfg(feature = "access")]
        connection.set_peer(peer);
        if let Err(error) = self.exchanges(&mut connection).await {
            log::debug!(target: "http", "{error}");
            if matches!(error, Error::Stalled) {
                // Who took nothing for so long will not take the rest: its memory is wanted by others.
                return connection.stream().abort();
            }
        }
        // Closing is a courtesy: where it fails the peer is gone.
        let _ = connection.stream().close().await;
        connection.linger().await;
    }

    async fn exchanges<S: Read + Write>(
        &self,
        connection: &mut Connection<'_, S, KernelClock>,
    ) -> Result<(), Error<S::Error>> {
        while let Some(exchange) = connection.next().await? {
            if is_short_of_memory() {
                let why = "This guest is short of memory.";
                rare(exchange.refuse(Status::SERVICE_UNAVAILABLE, why))?.await?;
            } else {
                self.handler.answer(exchange, &self.server).await?;
            }
        }
        Ok(())
    }
}

impl<H> Counted for Service<H> {
    fn numbers(&self) -> Numbers {
        Numbers {
            counters: self.server.counters(),
            max_connections: self.max_connections,
        }
    }
}

/// Whether too little memory is free to begin anything. An allocation that fails ends the guest.
fn is_short_of_memory() -> bool {
    !memory::has_room(RESERVE)
}

/// The kernel's time.
pub struct KernelClock;

impl Clock for KernelClock {
    type Timer = Option<Sleep>;

    fn wall(&self) -> Option<Duration> {
        time::wall()
    }

    async fn timeout<F: Future + Unpin>(
        &self,
        timer: &mut Option<Sleep>,
        limit: Duration,
        future: F,
    ) -> Option<F::Output> {
        let timer = timer.get_or_insert_with(|| time::sleep_until(time::round()));
        timer.limit(limit, future).await.ok()
    }
}

/// Runs `future` unless `first` is done before: then `None`.
async fn unless<F: Future>(mut first: impl Future + Unpin, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if pin!(&mut first).poll(context).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}
