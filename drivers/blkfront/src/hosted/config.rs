//! What a disk is in xenstore: what the toolstack writes, and what its blkback offers.

use super::faults::Faults;
use crate::block::Geometry;
use crate::proto::VDISK_READONLY;
use xenlet_kernel::hosted::{Ends, store};
use xenlet_kernel::time::Duration;

/// What a disk's blkback offers, and what goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `device/vbd/NUMBER`: 51712 is xvda, 51728 xvdb.
    pub number: u32,
    /// `feature-max-indirect-segments`; not offered if 0.
    pub indirect: u16,
    /// `max-ring-page-order`; not offered if 0.
    pub ring_order: u32,
    /// `feature-persistent`.
    pub persistent: bool,
    /// How many pages it keeps mapped; those beyond are mapped for each request (`max_persistent_grants`).
    pub most_persistent: usize,
    /// `feature-flush-cache`.
    pub flush: bool,
    /// `feature-barrier`.
    pub barrier: bool,
    /// `feature-discard`.
    pub discard: bool,
    /// All that is offered is there at `InitWait`, as some blkbacks have it; Linux's says most of it only when it
    /// connects.
    pub early: bool,
    /// Keys of the backend's that are not what they should be, or are missing.
    pub says: Vec<(&'static str, Option<&'static str>)>,
    /// Operations that are answered by `RSP_EOPNOTSUPP` although they are offered.
    pub refused: Vec<u8>,
    /// What goes wrong with requests.
    pub faults: Faults,
    /// How long a request may take; how long it does, the seed decides.
    pub delay: Duration,
    /// The power is cut at this step of connecting: 0 before there are offers, 1 before the ring is mapped, 2 before
    /// it is connected, and so on when it connects again.
    pub cut_connecting: Option<u32>,
}

impl Default for Config {
    /// `xvda` of a Linux blkback, with all that it offers.
    fn default() -> Self {
        Self {
            number: 51712,
            indirect: 256,
            ring_order: 4,
            persistent: true,
            most_persistent: 1056,
            flush: true,
            barrier: true,
            discard: true,
            early: false,
            says: Vec::new(),
            refused: Vec::new(),
            faults: Faults::default(),
            delay: Duration::ZERO,
            cut_connecting: None,
        }
    }
}

impl Config {
    /// `xvda` of a blkback that offers nothing.
    pub fn bare() -> Self {
        Self {
            indirect: 0,
            ring_order: 0,
            persistent: false,
            flush: false,
            barrier: false,
            discard: false,
            ..Self::default()
        }
    }

    /// Where it is in xenstore.
    pub fn ends(&self) -> Ends {
        Ends::of("vbd", self.number)
    }

    /// Writes a key of the backend's.
    pub(super) fn write_back(&self, key: &str, value: &str) {
        self.ends().write_back(key, value);
    }

    /// Writes what the toolstack writes, both ends at `Initialising`.
    pub(super) fn write_keys(&self, read_only: bool) {
        let number = self.number.to_string();
        self.ends().create(
            &[("virtual-device", &number), ("device-type", "disk")],
            &[
                ("removable", "0"),
                ("type", "phy"),
                ("mode", if read_only { "r" } else { "w" }),
                ("device-type", "disk"),
                ("discard-enable", "1"),
            ],
        );
    }

    /// Writes what blkback offers at `InitWait`.
    pub(super) fn write_offers(&self, geometry: Geometry) {
        if self.indirect > 0 {
            self.write_back("feature-max-indirect-segments", &self.indirect.to_string());
        }
        if self.ring_order > 0 {
            self.write_back("max-ring-page-order", &self.ring_order.to_string());
        }
        self.write_back("multi-queue-max-queues", "1");
        if self.early {
            self.write_disk(geometry);
        }
        self.write_said();
    }

    fn write_said(&self) {
        for (key, value) in &self.says {
            match value {
                Some(value) => self.write_back(key, value),
                None => store::remove(&format!("{}/{key}", self.ends().back())),
            }
        }
    }

    /// Writes the rest, before `Connected`.
    pub(super) fn write_disk(&self, geometry: Geometry) {
        let flag = |value: bool| u32::from(value).to_string();
        let size = geometry.sector_size.to_string();
        let info = if geometry.read_only {
            VDISK_READONLY
        } else {
            0
        };
        self.write_back("feature-flush-cache", &flag(self.flush));
        self.write_back("feature-barrier", &flag(self.barrier));
        self.write_back("feature-persistent", &flag(self.persistent));
        if self.discard {
            self.write_back("discard-granularity", &size);
            self.write_back("discard-alignment", "0");
            self.write_back("discard-secure", "0");
            self.write_back("feature-discard", "1");
        }
        // Linux counts 512 bytes here, whatever the sector's size is.
        self.write_back("sectors", &geometry.sectors.to_string());
        self.write_back("info", &info.to_string());
        self.write_back("sector-size", &size);
        self.write_back("physical-sector-size", &size);
        self.write_said();
    }
}
