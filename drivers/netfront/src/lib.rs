//! Xen virtual network interfaces, the guest's half (`xen/io/netif.h`).
//!
//! [`Netfront::connect`] does the whole handshake. After it frames go out of pages that were granted once
//! ([`Netfront::transmit`]) and come in in the pages that the backend copied them into ([`Netfront::receive`]), with no
//! allocation and no hypercall per frame; [`Netfront::flush`] shows the backend what there is, with one event at
//! most.
//!
//! The backend is not trusted: what it writes is copied once and checked. A lie takes the link down with one line in
//! the log ([`Lie`]), and the guest goes on.
//!
//! | file | what |
//! | --- | --- |
//! | `proto` | the messages of both rings |
//! | `connect` | xenstore keys, the handshake, closing |
//! | `rx`, `frame` | receiving, and what is received |
//! | `tx` | transmitting |
//! | `hosted/` | a netback in this process, and a hostile one, for tests |
#![forbid(unsafe_code)]
#![cfg_attr(xenlet = "xen", no_std)]
#![cfg(not(xenlet = "unix"))]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::cast_possible_truncation,
        reason = "a test that fails says so by panicking"
    )
)]

extern crate alloc;

mod connect;
mod error;
mod frame;
pub mod proto;
mod rx;
mod stats;
mod tx;

#[cfg(not(xenlet = "xen"))]
pub mod hosted;

pub use error::{Error, Lie, Link, Why};
pub use frame::{Checksum, RxFrame};
pub use stats::Stats;

use alloc::rc::Rc;
use connect::Control;
use core::num::NonZeroU16;
use core::task::{Context, Poll};
use xenlet_kernel::event::Channel;
use xenlet_kernel::run::JoinHandle;

/// Bytes of an Ethernet header: no frame is shorter.
pub(crate) const MIN_FRAME: usize = 14;

/// What the backend of an interface can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// It takes frames of several pages.
    pub sg: bool,
    /// It takes IPv4 frames whose TCP or UDP checksum is left to it ([`TxMeta::csum_blank`]).
    pub tx_checksum: bool,
    /// It cuts large TCP segments over IPv4 ([`TxMeta::gso`]).
    pub gso_tcpv4: bool,
    /// The same over IPv6.
    pub gso_tcpv6: bool,
    /// Each ring has an event channel of its own.
    pub split_channels: bool,
}

impl Features {
    /// Whether it cuts large segments of this kind.
    pub const fn gso(&self, kind: GsoKind) -> bool {
        match kind {
            GsoKind::TcpV4 => self.gso_tcpv4,
            GsoKind::TcpV6 => self.gso_tcpv6,
        }
    }
}

/// What the backend is to do with a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxMeta {
    /// The TCP or UDP checksum field holds the pseudo-header's sum, not complemented, and the backend is to do the rest.
    /// Only for a backend with [`Features::tx_checksum`].
    pub csum_blank: bool,
    /// The frame is one large TCP segment to be cut. Implies `csum_blank`. Only for a backend with that feature.
    pub gso: Option<Gso>,
}

/// How a large TCP segment is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// What it is.
    pub kind: GsoKind,
    /// Bytes of TCP payload in each piece.
    pub size: NonZeroU16,
}

/// What a large segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
}

impl GsoKind {
    const fn number(self) -> u8 {
        match self {
            Self::TcpV4 => proto::GSO_TCPV4,
            Self::TcpV6 => proto::GSO_TCPV6,
        }
    }
}

/// The event channels of an interface.
#[derive(Debug)]
enum Channels {
    One(Channel),
    Split { tx: Channel, rx: Channel },
}

impl Channels {
    /// Sends the events that the rings want; how many.
    fn notify(&self, for_tx: bool, for_rx: bool) -> u64 {
        match self {
            Self::One(channel) => {
                if for_tx || for_rx {
                    channel.notify();
                }
                u64::from(for_tx || for_rx)
            }
            Self::Split { tx, rx } => {
                if for_tx {
                    tx.notify();
                }
                if for_rx {
                    rx.notify();
                }
                u64::from(for_tx) + u64::from(for_rx)
            }
        }
    }

    /// Ready if an event came on any since the last time.
    fn poll_event(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::One(channel) => channel.poll_event(cx),
            Self::Split { tx, rx } => match (tx.poll_event(cx), rx.poll_event(cx)) {
                (Poll::Pending, Poll::Pending) => Poll::Pending,
                _ => Poll::Ready(()),
            },
        }
    }
}

/// What an interface shares with its backend.
#[derive(Debug)]
struct Data {
    tx: tx::Tx,
    rx: rx::Rx,
    channels: Channels,
}

/// One connected interface.
///
/// Dropping it closes it in the background; [`close`](Self::close) waits for that.
#[derive(Debug)]
pub struct Netfront {
    number: u32,
    mac: [u8; 6],
    mtu: usize,
    features: Features,
    /// `None` once the link is down.
    data: Option<Data>,
    control: Rc<Control>,
    /// `None` only on the way out.
    task: Option<JoinHandle<()>>,
    stats: Stats,
}

impl Netfront {
    /// Connects interface `number` (`device/vif/NUMBER`): waits for its backend, agrees with it on features, and posts
    /// pages to receive in.
    ///
    /// # Errors
    /// As [`Error`] says. What was done is undone, so that it can be tried again.
    pub async fn connect(number: u32) -> Result<Self, Error> {
        connect::connect(number).await
    }

    /// The interface's number: 0 for the first of `vif = [ … ]`.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The interface's Ethernet address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Bytes of the largest IP packet.
    pub fn mtu(&self) -> usize {
        self.mtu
    }

    /// What the backend can do.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Whether frames can come and go. Once down, this interface stays down: drop it and connect again.
    pub fn link(&self) -> Link {
        self.control.link.get()
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        Stats {
            rx_pages: self.data.as_ref().map_or(0, |data| data.rx.pages()),
            ..self.stats
        }
    }

    /// Takes the next whole frame; `None` when none is there.
    ///
    /// A frame of one page is where the backend put it. Its page goes back to the backend with the first
    /// [`flush`](Self::flush) after the frame is dropped.
    pub fn receive(&mut self) -> Option<RxFrame> {
        let data = self.data.as_mut()?;
        match data.rx.receive(&mut self.stats) {
            Ok(frame) => frame,
            Err(lie) => {
                self.fail(lie);
                None
            }
        }
    }

    /// Bytes of the largest frame that can be sent, Ethernet header included.
    pub fn max_frame(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.tx.max_frame())
    }

    /// Whether a frame of `len` bytes can be sent now.
    ///
    /// After a no [`poll_ready`](Self::poll_ready) is ready when there may be room.
    pub fn can_transmit(&self, len: usize) -> bool {
        self.data
            .as_ref()
            .is_some_and(|data| data.tx.can_transmit(len))
    }

    /// Sends a frame of `len` bytes, which `fill` writes into the pages that the backend reads; gives what `fill` gives.
    /// `fill` is handed old bytes and must write all of them. The backend sees the frame at the next
    /// [`flush`](Self::flush).
    ///
    /// `None`, and `fill` is not called, when there is no room ([`can_transmit`](Self::can_transmit)), or never can
    /// be: less than an Ethernet header, more than [`max_frame`](Self::max_frame), a link that is down.
    pub fn transmit<R>(
        &mut self,
        len: usize,
        meta: TxMeta,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> Option<R> {
        let result = self.data.as_mut()?.tx.transmit(len, meta, fill)?;
        self.stats.tx_frames += 1;
        self.stats.tx_bytes += len as u64;
        Some(result)
    }

    /// Frees the pages of frames that are sent, gives the backend those of frames that were read, shows it the frames
    /// that were written, and notifies it if it sleeps: at most one event per event channel.
    pub fn flush(&mut self) {
        if let Link::Down(_) = self.link() {
            self.retire();
        }
        let Some(data) = self.data.as_mut() else {
            return;
        };
        let done = data
            .tx
            .reap(&mut self.stats)
            .and_then(|_| Ok((data.tx.publish(), data.rx.publish()?)));
        match done {
            Ok((for_tx, for_rx)) => {
                self.stats.notified += data.channels.notify(for_tx, for_rx);
            }
            Err(lie) => self.fail(lie),
        }
    }

    /// Ready when frames may have come, when there may be room to send after there was none, and when the link is down.
    /// Otherwise whoever waits is woken by the next of these. Flushes first, so that nothing is left behind.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.flush();
            let Some(data) = self.data.as_mut() else {
                return Poll::Ready(());
            };
            match data.arm(&mut self.stats) {
                Ok(true) => return Poll::Ready(()),
                Ok(false) => {}
                Err(lie) => {
                    self.fail(lie);
                    return Poll::Ready(());
                }
            }
            // Whatever is already set is from before the rings were looked at: look again.
            let event = data.channels.poll_event(cx).is_ready();
            let changed = self.control.changed.poll_notified(cx).is_ready();
            if !event && !changed {
                return Poll::Pending;
            }
            self.stats.events += u64::from(event);
        }
    }

    /// Closes the interface and waits until its backend has let go of everything, or had its time to.
    pub async fn close(mut self) {
        self.retire();
        if let Some(task) = self.task.take() {
            task.await;
        }
    }

    /// Takes the link down for a lie.
    fn fail(&mut self, lie: Lie) {
        connect::log_lie(self.number, lie);
        self.control.link.set(Link::Down(Why::Lied(lie)));
        self.retire();
    }

    /// Hands rings and pages over, to be taken back.
    fn retire(&mut self) {
        if let Some(data) = self.data.take() {
            self.control.retire(data);
        }
    }
}

impl Drop for Netfront {
    fn drop(&mut self) {
        self.retire();
    }
}

impl Data {
    /// Asks for events. True when there is no need to wait for one.
    fn arm(&mut self, stats: &mut Stats) -> Result<bool, Lie> {
        Ok(self.rx.ready()? || self.tx.poll_room(stats)? || self.rx.arm()?)
    }
}
