//! The data path of the backend's half: frames out of the guest's pages and into them.
//!
//! It sleeps as netback does: each ring is looked at after an event for it, until it is empty and armed. So a frontend
//! that forgets to notify hangs here as it would on Xen.

mod rx;
mod tx;

use super::{Config, Counts, Frame, Wire};
use crate::proto::{self, TxResponse};
use std::collections::VecDeque;
use xenlet_kernel::addr::{self, GrantRef};
use xenlet_kernel::hosted::{BackendPort, MappedPage, map_grant};
use xenlet_kernel::ring::BackRing;
use xenlet_kernel::time::Instant;

/// What the guest said it takes.
struct Takes {
    sg: bool,
    gso_tcpv4: bool,
    gso_tcpv6: bool,
    checksum: bool,
}

pub(super) struct Port {
    config: Config,
    takes: Takes,
    tx: BackRing<proto::Tx, MappedPage>,
    rx: BackRing<proto::Rx, MappedPage>,
    /// The transmit ring's event channel, or the only one.
    tx_end: BackendPort,
    rx_end: Option<BackendPort>,
    tx_awake: bool,
    /// A frame that the receive ring had too few slots for.
    stuck: Option<Frame>,
    rx_awake: bool,
    /// Answers to frames, not yet given.
    held: VecDeque<Vec<TxResponse>>,
    release: Option<Instant>,
}

/// Maps what the guest granted, as netback must be able to.
fn map(gref: GrantRef, write: bool) -> MappedPage {
    match map_grant(gref, write) {
        Ok(page) => page,
        Err(e) => panic!("netback could not map a page of the guest's: {e:?}"),
    }
}

fn bind(port: u32) -> BackendPort {
    match BackendPort::bind(addr::Port(port)) {
        Some(end) => end,
        None => panic!("netback could not bind the guest's event channel {port}"),
    }
}

impl Port {
    /// Reads the frontend's keys and maps its rings.
    pub(super) fn open(config: &Config) -> Self {
        let ends = config.ends();
        assert!(
            ends.front_flag("request-rx-copy"),
            "netback refuses a frontend that does not say request-rx-copy"
        );
        assert!(
            ends.front_flag("feature-rx-notify"),
            "netback refuses a frontend that does not say feature-rx-notify"
        );
        let (tx_end, rx_end) = if config.split_channels {
            (
                bind(ends.need("event-channel-tx")),
                Some(bind(ends.need("event-channel-rx"))),
            )
        } else {
            (bind(ends.need("event-channel")), None)
        };
        Self {
            takes: Takes {
                sg: ends.front_flag("feature-sg"),
                gso_tcpv4: ends.front_flag("feature-gso-tcpv4"),
                gso_tcpv6: ends.front_flag("feature-gso-tcpv6"),
                checksum: !ends.front_flag("feature-no-csum-offload"),
            },
            tx: BackRing::new(vec![map(GrantRef(ends.need("tx-ring-ref")), true)]),
            rx: BackRing::new(vec![map(GrantRef(ends.need("rx-ring-ref")), true)]),
            tx_end,
            rx_end,
            tx_awake: true,
            stuck: None,
            rx_awake: true,
            held: VecDeque::new(),
            release: None,
            config: config.clone(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.release
    }

    pub(super) fn poll(&mut self, wire: &mut dyn Wire, counts: &mut Counts) -> bool {
        if self.tx_end.take_pending() {
            counts.events += 1;
            self.tx_awake = true;
            self.rx_awake |= self.rx_end.is_none();
        }
        if self.rx_end.as_ref().is_some_and(BackendPort::take_pending) {
            counts.events += 1;
            self.rx_awake = true;
        }
        let before = (counts.from_guest, counts.to_guest, self.held.len());
        self.take_frames(wire, counts);
        self.answer();
        self.give_frames(wire, counts);
        let (for_tx, for_rx) = (self.tx.publish(), self.rx.publish());
        match &self.rx_end {
            Some(rx_end) => {
                counts.notified += u64::from(for_tx) + u64::from(for_rx);
                if for_tx {
                    self.tx_end.notify();
                }
                if for_rx {
                    rx_end.notify();
                }
            }
            None if for_tx || for_rx => {
                counts.notified += 1;
                self.tx_end.notify();
            }
            None => {}
        }
        self.tx_awake || before != (counts.from_guest, counts.to_guest, self.held.len())
    }
}
