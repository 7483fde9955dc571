//! The state machine of the backend's half, as Linux's `xen-netback/xenbus.c` has it.

use super::port::Port;
use super::{Config, Wire};
use std::fmt::Display;
use std::str::FromStr;
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
        store::write(&format!("{}/online", self.config.back()), "0");
        store::write(
            &format!("{}/state", self.config.back()),
            State::Closing.text(),
        );
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
        let front = store::read(&format!("{}/state", self.config.front()));
        match front.as_deref().map_or(State::Unknown, State::from_text) {
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
                    store::remove(&self.config.front());
                    store::remove(&self.config.back());
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
            store::write(&format!("{}/state", self.config.back()), state.text());
        }
    }
}

/// The frontend's key, which netback could not do without.
pub(super) fn key<T: FromStr<Err: Display>>(config: &Config, key: &str) -> T {
    let path = format!("{}/{key}", config.front());
    let value = store::read(&path).unwrap_or_default();
    match value.parse() {
        Ok(value) => value,
        Err(e) => panic!("netback would refuse {path} = {value:?}: {e}"),
    }
}

/// Whether the frontend says 1 under a key that it may leave out.
pub(super) fn flag(config: &Config, key: &str) -> bool {
    store::read(&format!("{}/{key}", config.front())).is_some_and(|value| value == "1")
}
