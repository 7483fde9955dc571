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
//! | `connect`, `settings` | the handshake: xenstore's keys, what the toolstack says |
//! | `data` | what is shared with the backend |
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
mod data;
mod error;
mod features;
mod frame;
pub mod proto;
mod rx;
mod settings;
mod stats;
mod tx;

#[cfg(not(xenlet = "xen"))]
pub mod hosted;

pub use error::{Error, Lie, Link, Why};
pub use features::{Features, Gso, GsoKind, TxMeta};
pub use frame::{Checksum, RxFrame};
pub use stats::{Rings, Stats};

use connect::Vif;
use core::task::{Context, Poll};
use xenlet_kernel::xenbus::Device;

/// Bytes of an Ethernet header: no frame is shorter.
pub(crate) const MIN_FRAME: usize = 14;

/// One connected interface.
///
/// Dropping it closes it in the background; [`close`](Self::close) waits for that.
#[derive(Debug)]
pub struct Netfront {
    number: u32,
    mac: [u8; 6],
    mtu: usize,
    features: Features,
    device: Device<Vif>,
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
        self.device.link()
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        Stats {
            rx_pages: self.device.shared().map_or(0, |data| data.rx.pages()),
            ..self.stats
        }
    }

    /// How full the rings are; empty when the link is down.
    pub fn rings(&self) -> Rings {
        let shared = self.device.shared();
        shared.map_or(Rings::default(), |data| Rings {
            tx: data.tx.slots(),
            tx_pages: data.tx.pages(),
            rx: data.rx.slots(),
        })
    }

    /// Takes the next whole frame; `None` when none is there.
    ///
    /// A frame of one page is where the backend put it. Its page goes back to the backend with the first
    /// [`flush`](Self::flush) after the frame is dropped.
    pub fn receive(&mut self) -> Option<RxFrame> {
        let data = self.device.shared_mut()?;
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
        self.device.shared().map_or(0, |data| data.tx.max_frame())
    }

    /// Whether a frame of `len` bytes can be sent now.
    ///
    /// After a no [`poll_ready`](Self::poll_ready) is ready when there may be room.
    pub fn can_transmit(&self, len: usize) -> bool {
        self.device
            .shared()
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
        let result = self.device.shared_mut()?.tx.transmit(len, meta, fill)?;
        self.stats.tx_frames += 1;
        self.stats.tx_bytes += len as u64;
        Some(result)
    }

    /// Frees the pages of frames that are sent, gives the backend those of frames that were read, shows it the frames
    /// that were written, and notifies it if it sleeps: at most one event per event channel.
    pub fn flush(&mut self) {
        if let Link::Down(_) = self.link() {
            self.device.retire();
        }
        let Some(data) = self.device.shared_mut() else {
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
            let Some(data) = self.device.shared_mut() else {
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
            let changed = self.device.poll_changed(cx).is_ready();
            if !event && !changed {
                return Poll::Pending;
            }
            self.stats.events += u64::from(event);
        }
    }

    /// Closes the interface and waits until its backend has let go of everything, or had its time to.
    pub async fn close(self) {
        self.device.close().await;
    }

    /// Takes the link down for a lie.
    fn fail(&mut self, lie: Lie) {
        self.device.fail(lie);
    }
}
