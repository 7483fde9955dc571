//! A blkback that lies about whatever a string of bytes tells it to: what property tests and fuzzers drive.
//!
//! It begins as an honest one, but for what it may say of the disk, so that the guest connects, and then each byte of
//! its script is something that a backend could do: honest or not, to the ring, its indices, the pages, the events or
//! the keys. With the script used up it does nothing any more but let go of what it holds when the guest closes.

mod steps;

use super::config::Config;
use crate::block::{Geometry, SECTOR};
use crate::proto::{Blkif, RSP_OKAY, Request, Response, SEGMENT_SIZE, Segment};
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use xenlet_kernel::addr::{GrantRef, PAGE_SIZE, Port};
use xenlet_kernel::hosted::{Backend, BackendPort, MappedPage, add_backend, map_grant, store};
use xenlet_kernel::ring::BackRing;
use xenlet_kernel::time::{Duration, Instant, now};
use xenlet_kernel::xenbus::State;

/// How long a pause in the script lets the guest run.
const PAUSE: Duration = Duration::from_millis(1);
/// The disk, as far as it does not lie about it.
const GEOMETRY: Geometry = Geometry {
    sectors: 1 << 16,
    sector_size: SECTOR,
    read_only: false,
    discard: true,
};
/// What it says when it lies about the disk.
const NONSENSE: [&str; 16] = [
    "",
    "0",
    "1",
    "3",
    "200",
    "511",
    "513",
    "2048",
    "4096",
    "8192",
    "2147483648",
    "4294967295",
    "36028797018963968",
    "18446744073709551615",
    "-1",
    "x",
];
/// What it lies about.
const OFFERS: [&str; 12] = [
    "sectors",
    "sector-size",
    "info",
    "mode",
    "max-ring-page-order",
    "feature-max-indirect-segments",
    "feature-persistent",
    "feature-flush-cache",
    "feature-barrier",
    "feature-discard",
    "discard-granularity",
    "discard-alignment",
];

/// Gives this thread's domain a disk whose blkback does what `script` says.
pub fn attach(config: Config, script: Vec<u8>) -> Hostile {
    config.write_keys(false);
    let hostile = Hostile(Rc::new(RefCell::new(Liar {
        config,
        script,
        at: 0,
        ring: None,
        kept: Vec::new(),
        ever: BTreeSet::new(),
        seen: 0,
        pause: None,
    })));
    add_backend(Box::new(hostile.clone()));
    hostile
}

/// A hostile blkback's handle.
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

    /// Lets a test do to the ring what it likes, and then shows it to the guest.
    ///
    /// # Panics
    /// If the guest has not connected.
    #[cfg(test)]
    pub(super) fn ring<R>(&self, f: impl FnOnce(&mut Ring) -> R) -> R {
        let mut liar = self.0.borrow_mut();
        let ring = liar.ring.as_mut().expect("connected");
        ring.take();
        let result = f(ring);
        ring.publish();
        result
    }

    /// Keeps a page mapped, for a test.
    #[cfg(test)]
    pub(super) fn keep(&self, gref: GrantRef) {
        let mut liar = self.0.borrow_mut();
        liar.kept.push(map_grant(gref, false).unwrap());
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
pub(in crate::hosted) struct Ring {
    grefs: Vec<GrantRef>,
    pub(in crate::hosted) back: BackRing<Blkif, MappedPage>,
    end: BackendPort,
    /// Requests that came and were not answered.
    pub(in crate::hosted) asked: VecDeque<Request>,
}

impl Ring {
    fn open(config: &Config) -> Option<Self> {
        let key = |key: &str| config.front_key(key)?.parse::<u32>().ok();
        let grefs: Vec<GrantRef> = match key("ring-ref") {
            Some(gref) if key("ring-page-order").is_none() => vec![GrantRef(gref)],
            _ => (0..1 << key("ring-page-order")?.min(4))
                .map_while(|i| key(&format!("ring-ref{i}")).map(GrantRef))
                .collect(),
        };
        let pages: Result<Vec<_>, _> = grefs.iter().map(|gref| map_grant(*gref, true)).collect();
        Some(Self {
            grefs,
            back: BackRing::new(pages.ok().filter(|pages| !pages.is_empty())?),
            end: BackendPort::bind(Port(key("event-channel")?))?,
            asked: VecDeque::new(),
        })
    }

    /// Looks what the guest asks for.
    fn take(&mut self) {
        while let Ok(Some(request)) = self.back.pop() {
            self.asked.push_back(request);
        }
    }

    /// Shows the guest what was pushed and sends it an event, whether it asked for one or not.
    fn publish(&mut self) {
        let _ = self.back.publish();
        self.end.notify();
    }

    /// Answers `request` as it should be, but for what `change` makes of it.
    pub(in crate::hosted) fn answer(
        &mut self,
        request: &Request,
        change: impl FnOnce(&mut Response),
    ) {
        let mut response = Response {
            id: request.id(),
            operation: request.operation(),
            status: RSP_OKAY,
        };
        change(&mut response);
        self.back.push(&response);
    }
}

/// The pages that come with a request.
pub(in crate::hosted) fn grants(request: &Request) -> Vec<GrantRef> {
    match request {
        Request::Discard(_) => Vec::new(),
        Request::Direct(direct) => {
            let count = usize::from(direct.nr_segments);
            direct.segments.iter().take(count).map(|s| s.gref).collect()
        }
        Request::Indirect(indirect) => {
            let mut grants = vec![indirect.pages[0]];
            let mut bytes = [0; PAGE_SIZE];
            if let Ok(page) = map_grant(indirect.pages[0], false) {
                page.as_ref().read(0, &mut bytes);
            }
            let (segments, _) = bytes.as_chunks::<SEGMENT_SIZE>();
            let count = usize::from(indirect.nr_segments);
            grants.extend(segments.iter().take(count).map(|s| Segment::parse(*s).gref));
            grants
        }
    }
}

struct Liar {
    config: Config,
    script: Vec<u8>,
    at: usize,
    ring: Option<Ring>,
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
        if self.ring.is_none() || self.at >= self.script.len() {
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

    /// Follows the guest's state, mostly.
    fn follow(&mut self) {
        match self
            .config
            .front_key("state")
            .as_deref()
            .map(State::from_text)
        {
            Some(State::Initialising) => {
                let ours = store::read(&format!("{}/state", self.config.back()));
                if ours.as_deref() != Some(State::InitWait.text()) {
                    self.config.write_offers(GEOMETRY);
                    self.lie_about_the_disk();
                    self.config.write_back("state", State::InitWait.text());
                }
            }
            Some(State::Initialised | State::Connected) if self.ring.is_none() => {
                self.ring = Ring::open(&self.config);
                self.config.write_disk(GEOMETRY);
                self.lie_about_the_disk();
                self.config.write_back("state", State::Connected.text());
            }
            Some(State::Closing | State::Closed) | None => {
                // One in four does not let go.
                if self.at >= self.script.len() || self.byte() >= 64 {
                    self.ring = None;
                    self.kept.clear();
                    self.config.write_back("state", State::Closed.text());
                } else if let Some(ring) = &self.ring {
                    self.ever.extend(&ring.grefs);
                }
            }
            _ => {}
        }
    }

    /// Up to three offers that make no sense, in one of two connections.
    fn lie_about_the_disk(&mut self) {
        for _ in 0..self.byte().saturating_sub(128) / 32 {
            let key = OFFERS[usize::from(self.byte()) % OFFERS.len()];
            let value = NONSENSE[usize::from(self.byte()) % NONSENSE.len()];
            self.config.write_back(key, value);
        }
    }
}
