//! The state machine of the backend's half, as Linux's `xen-blkback/xenbus.c` has it.

use super::config::Config;
use super::faults::Fates;
use super::medium::Medium;
use super::queue::Queue;
use xenlet_kernel::hosted::store;
use xenlet_kernel::time::{Duration, Instant, now};
use xenlet_kernel::xenbus::State;

/// What a blkback has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads, done or failed.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Barriers, with or without something to write.
    pub barriers: u64,
    /// Discards.
    pub discards: u64,
    /// Reads and writes that were indirect.
    pub indirect: u64,
    /// Segments of all of them.
    pub segments: u64,
    /// Requests that were answered with an error.
    pub failed: u64,
    /// Pages that were mapped.
    pub mapped: u64,
    /// Pages that are kept mapped from one request to another.
    pub persistent: usize,
    /// The most requests that were in flight at once.
    pub deepest: usize,
    /// Events from the guest.
    pub events: u64,
    /// Events sent to the guest.
    pub notified: u64,
}

/// How often a backend looks at xenstore that was bound anew: of several changes it sees the last.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Blkback {
    config: Config,
    medium: Medium,
    fates: Fates,
    queue: Option<Queue>,
    /// Of frontends that have gone, and whose requests are still being done.
    late: Vec<Queue>,
    state: State,
    /// The change of xenstore that was last looked at.
    seen: u64,
    /// It is busy with other things, and looks again only then.
    looks: Option<Instant>,
    /// It was bound anew, and the guest has yet to begin again. (Linux's takes the ring as it is, if it is quicker than the guest.)
    anew: bool,
    /// Cuts of the medium before it was attached: with one more the host is dark.
    cuts: u64,
    /// Steps of connecting that are done.
    steps: u32,
    /// The toolstack wants the disk gone.
    detaching: bool,
    gone: bool,
    counts: Counts,
}

impl Blkback {
    pub(super) fn new(config: Config, medium: Medium) -> Self {
        Self {
            fates: Fates::new(config.faults),
            cuts: medium.cuts(),
            config,
            medium,
            queue: None,
            late: Vec::new(),
            state: State::Initialising,
            seen: 0,
            looks: None,
            anew: false,
            steps: 0,
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
        if !self.gone {
            self.detaching = true;
            self.config.ends().detach();
        }
    }

    pub(super) fn vanish(&mut self) {
        self.queue = None;
        self.late.clear();
        self.gone = true;
        store::remove(&self.config.ends().back());
    }

    pub(super) fn rebind(&mut self) {
        self.late.extend(self.queue.take().filter(Queue::is_busy));
        self.counts.persistent = 0;
        self.looks = Some(now());
        self.anew = true;
        self.config.write_offers(self.medium.geometry());
        self.switch(State::InitWait);
    }

    pub(super) fn poll(&mut self) -> bool {
        if self.is_dark() {
            return false;
        }
        let mut progress = false;
        let (medium, fates, counts) = (&self.medium, &mut self.fates, &mut self.counts);
        for queue in &mut self.late {
            progress |= queue.finish_due(medium, fates, counts);
        }
        self.late.retain(Queue::is_busy);
        if self.gone {
            return progress;
        }
        if store::generation() != self.seen && self.looks.is_none_or(|at| at <= now()) {
            progress = self.follow();
            self.seen = store::generation();
            self.looks = self.looks.map(|_| now() + LOOK);
        }
        if let Some(queue) = self.queue.as_mut() {
            progress |= queue.poll(&self.medium, &mut self.fates, &mut self.counts);
        }
        progress
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone && self.late.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let queues = self.queue.iter().chain(&self.late);
        let queues = queues.filter(|_| !self.is_dark());
        let looks = self.looks.filter(|at| *at > now() && !self.is_dark());
        queues.filter_map(Queue::next_deadline).chain(looks).min()
    }

    /// Whether the power was cut.
    fn is_dark(&self) -> bool {
        self.medium.cuts() != self.cuts
    }

    /// Goes where the frontend's state says. True if that is somewhere else.
    fn follow(&mut self) -> bool {
        let ours = self.state;
        let theirs = self.config.ends().front_state();
        self.anew &= theirs == State::Connected;
        match theirs {
            State::Initialising
                if !self.detaching
                    && matches!(self.state, State::Initialising | State::Closed)
                    && self.step() =>
            {
                self.config.write_offers(self.medium.geometry());
                self.switch(State::InitWait);
            }
            State::Initialised | State::Connected
                if self.state == State::InitWait && !self.anew =>
            {
                if !self.step() {
                    return false;
                }
                self.queue = Some(Queue::open(&self.config, self.medium.geometry()));
                if self.step() {
                    self.config.write_disk(self.medium.geometry());
                    self.switch(State::Connected);
                }
            }
            // What is mapped stays so until the guest is at `Closed`.
            State::Closing if self.state != State::Closed => self.switch(State::Closing),
            State::Closed | State::Unknown => {
                // As Linux has it: nothing more is taken, and what the disk is busy with is done later.
                self.late.extend(self.queue.take().filter(Queue::is_busy));
                self.counts.persistent = 0;
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

    /// Goes on with connecting; false if the power is cut here.
    fn step(&mut self) -> bool {
        let now = self.steps;
        self.steps += 1;
        if self.config.cut_connecting == Some(now) {
            self.medium.cut(self.fates.dice.throw());
            return false;
        }
        true
    }

    fn switch(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.config.ends().switch(state);
        }
    }
}
