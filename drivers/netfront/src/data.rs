//! What an interface shares with its backend: both rings and their event channels.

use crate::rx::Rx;
use crate::tx::Tx;
use crate::{Features, Lie, Stats};
use core::task::{Context, Poll};
use xenlet_kernel::addr::DomId;
use xenlet_kernel::event::Channel;
use xenlet_kernel::xenbus::Failure;

/// The event channels of an interface.
#[derive(Debug)]
pub(crate) enum Channels {
    One(Channel),
    Split { tx: Channel, rx: Channel },
}

impl Channels {
    /// Sends the events that the rings want; how many.
    pub(crate) fn notify(&self, for_tx: bool, for_rx: bool) -> u64 {
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
    pub(crate) fn poll_event(&self, cx: &mut Context<'_>) -> Poll<()> {
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
pub(crate) struct Data {
    pub(crate) tx: Tx,
    pub(crate) rx: Rx,
    pub(crate) channels: Channels,
}

impl Data {
    /// Rings with pages posted, granted to `peer`, and channels that it can bind.
    pub(crate) fn new(peer: DomId, features: Features) -> Result<Self, Failure> {
        let channel = || Channel::unbound(peer);
        Ok(Self {
            tx: Tx::new(peer, features)?,
            rx: Rx::new(peer)?,
            channels: if features.split_channels {
                Channels::Split {
                    tx: channel()?,
                    rx: channel()?,
                }
            } else {
                Channels::One(channel()?)
            },
        })
    }

    /// Asks for events. True when there is no need to wait for one.
    pub(crate) fn arm(&mut self, stats: &mut Stats) -> Result<bool, Lie> {
        Ok(self.rx.ready()? || self.tx.poll_room(stats)? || self.rx.arm()?)
    }
}
