//! A netback that lies about whatever a string of bytes tells it to: what property tests and fuzzers drive.
//!
//! It begins as an honest one, so that the guest connects, and then each byte of its script is something that a backend
//! could do: honest or not, to the rings, the indices, the pages, the events or the keys. With the script used
//! up it does nothing any more but let go of what it holds when the guest closes.

mod steps;

use super::Config;
use crate::proto::{self, RxResponse, TxRequest};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use xenlet_kernel::addr::{GrantRef, Port};
use xenlet_kernel::hosted::{Backend, BackendPort, MappedPage, add_backend, map_grant, store};
use xenlet_kernel::ring::BackRing;
use xenlet_kernel::time::{Duration, Instant, now};
use xenlet_kernel::xenbus::State;

/// How long a pause in the script lets the guest run.
const PAUSE: Duration = Duration::from_millis(1);

/// Gives this thread's domain an interface whose netback does what `script` says.
pub fn attach(config: Config, script: Vec<u8>) -> Hostile {
    config.write_keys();
    let hostile = Hostile(Rc::new(RefCell::new(Liar {
        config,
        script,
        at: 0,
        rings: None,
        kept: Vec::new(),
        ever: BTreeSet::new(),
        seen: 0,
        pause: None,
    })));
    add_backend(Box::new(hostile.clone()));
    hostile
}

/// A hostile netback's handle.
#[derive(Clone)]
pub struct Hostile(Rc<RefCell<Liar>>);

impl Hostile {
    /// Whether the script is used up.
    pub fn done(&self) -> bool {
        let liar = self.0.borrow();
        liar.at >= liar.script.len()
    }

    /// How many of the guest's grants it ever kept mapped when it should not have: as many may be lost to the guest.
    pub fn kept(&self) -> usize {
        self.0.borrow().ever.len()
    }

    /// Lets a test put into the rings what it likes.
    ///
    /// # Panics
    /// If the guest has not connected.
    #[cfg(test)]
    pub(super) fn rings<R>(&self, f: impl FnOnce(&mut Rings) -> R) -> R {
        f(self.0.borrow_mut().rings.as_mut().expect("connected"))
    }
}

impl Backend for Hostile {
    fn poll(&mut self) -> bool {
        self.0.borrow_mut().poll()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.0.borrow().pause
    }
}

/// What the guest shared when it connected.
pub(super) struct Rings {
    grefs: [GrantRef; 2],
    pub(super) tx: BackRing<proto::Tx, MappedPage>,
    pub(super) rx: BackRing<proto::Rx, MappedPage>,
    ends: Vec<BackendPort>,
}

impl Rings {
    fn open(config: &Config) -> Option<Self> {
        let key = |key: &str| {
            store::read(&format!("{}/{key}", config.front()))?
                .parse()
                .ok()
        };
        let grefs = [GrantRef(key("tx-ring-ref")?), GrantRef(key("rx-ring-ref")?)];
        let ports = ["event-channel", "event-channel-tx", "event-channel-rx"];
        Some(Self {
            grefs,
            tx: BackRing::new(vec![map_grant(grefs[0], true).ok()?]),
            rx: BackRing::new(vec![map_grant(grefs[1], true).ok()?]),
            ends: ports
                .into_iter()
                .filter_map(|port| BackendPort::bind(Port(key(port)?)))
                .collect(),
        })
    }

    /// Shows the guest what was pushed and sends it an event, whether it asked for one or not.
    pub(super) fn publish(&mut self) {
        let _ = self.tx.publish();
        let _ = self.rx.publish();
        self.notify();
    }

    fn notify(&self) {
        self.ends.iter().for_each(BackendPort::notify);
    }

    /// Answers `request` as it is, but for what `change` makes of it.
    fn receive(&mut self, change: impl FnOnce(&mut RxResponse, GrantRef)) {
        if let Ok(Some(request)) = self.rx.pop() {
            let mut response = RxResponse {
                id: request.id,
                offset: 0,
                flags: 0,
                status: 60,
            };
            change(&mut response, request.gref);
            self.rx.push(&response);
        }
    }

    fn transmitted(&mut self) -> Option<(u16, GrantRef)> {
        match self.tx.pop() {
            Ok(Some(TxRequest::Data(data))) => Some((data.id, data.gref)),
            _ => None,
        }
    }
}

struct Liar {
    config: Config,
    script: Vec<u8>,
    at: usize,
    rings: Option<Rings>,
    /// Pages that it should have let go of.
    kept: Vec<MappedPage>,
    ever: BTreeSet<GrantRef>,
    seen: u64,
    pause: Option<Instant>,
}

impl Liar {
    fn poll(&mut self) -> bool {
        if store::generation() != self.seen {
            self.follow();
            self.seen = store::generation();
        }
        if self.pause.is_some_and(|until| now() < until) {
            return false;
        }
        self.pause = None;
        if self.rings.is_none() || self.at >= self.script.len() {
            return false;
        }
        self.step();
        true
    }

    fn byte(&mut self) -> u8 {
        let byte = self.script.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn long(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    fn switch(&self, text: &str) {
        store::write(&format!("{}/state", self.config.back()), text);
    }

    /// Follows the guest's state, mostly.
    fn follow(&mut self) {
        let front = store::read(&format!("{}/state", self.config.front()));
        match front.as_deref().map(State::from_text) {
            Some(State::Initialising) => {
                let ours = store::read(&format!("{}/state", self.config.back()));
                if ours.as_deref() != Some(State::InitWait.text()) {
                    self.config.write_offers();
                    self.switch(State::InitWait.text());
                }
            }
            Some(State::Connected) if self.rings.is_none() => {
                self.rings = Rings::open(&self.config);
                self.switch(State::Connected.text());
            }
            Some(State::Closing | State::Closed) | None => {
                // One in four does not let go.
                if self.at >= self.script.len() || self.byte() >= 64 {
                    self.rings = None;
                    self.kept.clear();
                    self.switch(State::Closed.text());
                } else if let Some(rings) = &self.rings {
                    // It does not let go.
                    self.ever.extend(rings.grefs);
                }
            }
            _ => {}
        }
    }
}
