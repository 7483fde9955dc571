//! The state machine of the backend's half, as Linux's `xen-netback/xenbus.c` has it.

use super::port::Port;
use super::{Config, Wire};
use xenlet_kernel::hosted::store;
use xenlet_kernel::time::Instant;
use xenlet_kernel::xenbus::State;

/// What a netback has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames from the guest.
    pub from_guest: u64,
    /// Frames to the guest.
    pub to_guest: u64,
    /// Frames for the guest that were dropped, since it takes none so large.
    pub dropped: u64,
    /// Events from the guest.
    pub events: u64,
    /// Events sent to the guest.
    pub notified: u64,
}

pub(crate) struct Netback {
    config: Config,
    wire: Box<dyn Wire>,
    port: Option<Port>,
    state: State,
    /// The change of xenstore that was last looked at.
    seen: u64,
    /// The toolstack wants the interface gone.
    detaching: bool,
    gone: bool,
    counts: Counts,
}

impl Netback {
    pub(super) fn new(config: Config, wire: Box<dyn Wire>) -> Self {
        Self {
            config,
            wire,
            port: None,
            state: State::Initialising,
            seen: 0,
            detaching: false,
            gone: false,
            counts: Counts::default(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn detach(&mut self) {
        if self.gone {
            return;
        }
        self.detaching = true;
        self.config.ends().detach();
    }

    pub(super) fn poll(&mut self) -> bool {
        if self.gone {
            return false;
        }
        let mut progress = false;
        if store::generation() != self.seen {
            progress = self.follow();
            self.seen = store::generation();
        }
        if let Some(port) = self.port.as_mut() {
            progress |= port.poll(self.wire.as_mut(), &mut self.counts);
        }
        progress
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let port = self.port.as_ref()?;
        [port.next_deadline(), self.wire.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Goes where the frontend's state says. True if that is somewhere else.
    fn follow(&mut self) -> bool {
        let ours = self.state;
        match self.config.ends().front_state() {
            State::Initialising if !self.detaching => {
                if matches!(self.state, State::Initialising | State::Closed) {
                    self.config.write_offers();
                    self.switch(State::InitWait);
                }
            }
            State::Connected if self.state == State::InitWait => {
                self.port = Some(Port::open(&self.config));
                self.switch(State::Connected);
            }
            State::Closing => {
                self.port = None;
                if self.state != State::Closed {
                    self.switch(State::Closing);
                }
            }
            State::Closed | State::Unknown => {
                self.port = None;
                self.switch(State::Closed);
                if self.detaching {
                    self.config.ends().remove();
                    self.gone = true;
                }
            }
            _ => {}
        }
        self.state != ours
    }

    fn switch(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.config.ends().switch(state);
        }
    }
}
