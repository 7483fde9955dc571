//! A blkback that lies about whatever a string of bytes tells it to: what property tests and fuzzers drive. What each byte
//! does, to the ring, its indices, the pages, the events or the keys, is in `steps`; it may lie about the disk before that.

mod steps;

use super::config::Config;
use crate::block::{Geometry, SECTOR};
use crate::proto::{Blkif, RSP_OKAY, Request, Response, SEGMENT_SIZE, Segment};
use std::collections::VecDeque;
use xenlet_kernel::addr::{GrantRef, PAGE_SIZE, Port};
use xenlet_kernel::hosted::hostile::{self, Device, Script};
use xenlet_kernel::hosted::{BackendPort, Ends, MappedPage, map_grant};
use xenlet_kernel::ring::BackRing;

/// The disk, as far as it does not lie about it.
const GEOMETRY: Geometry = Geometry {
    sectors: 1 << 16,
    sector_size: SECTOR,
    read_only: false,
    discard: true,
};
/// What it lies about.
const OFFERS: [&str; 13] = [
    "sectors",
    "sector-size",
    "physical-sector-size",
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
    Hostile::attach(Liar { config, ring: None }, script)
}

/// What the guest shared when it connected.
pub struct Ring {
    grefs: Vec<GrantRef>,
    pub(in crate::hosted) back: BackRing<Blkif, MappedPage>,
    end: BackendPort,
    /// Requests that came and were not answered.
    pub(in crate::hosted) asked: VecDeque<Request>,
}

impl Ring {
    fn open(config: &Config) -> Option<Self> {
        let key = |key: &str| config.ends().front_key(key)?.parse::<u32>().ok();
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

/// A handle of it.
pub type Hostile = hostile::Hostile<Liar>;

/// A disk whose blkback lies.
pub struct Liar {
    config: Config,
    ring: Option<Ring>,
}

impl Liar {
    /// Lets a test do to the ring what it likes, and then shows it to the guest.
    ///
    /// # Panics
    /// If the guest has not connected.
    #[cfg(test)]
    pub(super) fn tell<R>(&mut self, f: impl FnOnce(&mut Ring) -> R) -> R {
        let ring = self.ring.as_mut().expect("connected");
        ring.take();
        let result = f(ring);
        ring.publish();
        result
    }
}

impl Device for Liar {
    fn ends(&self) -> Ends {
        self.config.ends()
    }

    fn create(&mut self) {
        self.config.write_keys(false);
    }

    fn offer(&mut self, script: &mut Script) {
        self.config.write_offers(GEOMETRY);
        script.lie_about(self.ends(), &OFFERS);
    }

    fn connect(&mut self, script: &mut Script) {
        self.ring = Ring::open(&self.config);
        self.config.write_disk(GEOMETRY);
        script.lie_about(self.ends(), &OFFERS);
    }

    fn rings(&self) -> Vec<GrantRef> {
        self.ring
            .iter()
            .flat_map(|ring| &ring.grefs)
            .copied()
            .collect()
    }

    fn disconnect(&mut self) {
        self.ring = None;
    }

    fn step(&mut self, script: &mut Script) {
        if let Some(ring) = self.ring.as_mut() {
            ring.step(self.config.ends(), script);
        }
    }
}
