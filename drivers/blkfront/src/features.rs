//! What a backend can do, as far as its word makes sense.

use crate::IoError;
use crate::block::SECTOR;
use crate::proto::{MAX_SEGMENTS, OP_DISCARD, OP_FLUSH, OP_WRITE_BARRIER, SEGMENTS_PER_PAGE};
use core::ops::Range;

/// Segments of an indirect request that are asked for: 1 MiB, what Linux's blkback offers.
const WANTED_SEGMENTS: usize = 256;
const _: () = assert!(WANTED_SEGMENTS <= SEGMENTS_PER_PAGE, "they are in one page");

/// What the backend of a disk can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Pages of the ring.
    pub ring_pages: usize,
    /// Segments, of a page at most, that a request may have.
    pub segments: usize,
    /// Pages are granted once and copied from and to (`feature-persistent`).
    pub persistent: bool,
    /// It writes its cache back when asked to (`feature-flush-cache`).
    pub flush_cache: bool,
    /// It does barriers, which are used where it can't flush (`feature-barrier`).
    pub barrier: bool,
    /// What can be discarded.
    pub discard: Option<Granules>,
}

impl Features {
    /// The operation that makes writes last; `None` for a backend that has no cache it could write back.
    pub(crate) fn flush(&self) -> Option<u8> {
        if self.flush_cache {
            Some(OP_FLUSH)
        } else {
            self.barrier.then_some(OP_WRITE_BARRIER)
        }
    }

    /// Notes that the backend can't do any more what it said it can. Discarding is not missed then.
    pub(crate) fn withdraw(
        &mut self,
        operation: u8,
        result: Result<(), IoError>,
    ) -> Result<(), IoError> {
        if result != Err(IoError::Unsupported) {
            return result;
        }
        match operation {
            OP_FLUSH => self.flush_cache = false,
            OP_WRITE_BARRIER => self.barrier = false,
            OP_DISCARD => {
                self.discard = None;
                return Ok(());
            }
            _ => {}
        }
        result
    }
}

/// The pieces of a disk that can be discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granules {
    /// Where the first one begins, in sectors of 512 bytes.
    pub first: u64,
    /// Sectors of each.
    pub sectors: u64,
}

impl Granules {
    /// What `discard-granularity` and `discard-alignment` say, in bytes; `None` if that makes no sense.
    pub(crate) fn parse(
        granularity: Option<u64>,
        alignment: Option<u64>,
        sector_size: usize,
    ) -> Option<Self> {
        let size = sector_size as u64;
        let granularity = granularity.filter(|g| *g > 0).unwrap_or(size);
        let alignment = alignment.unwrap_or(0) % granularity;
        let fits = granularity.is_multiple_of(size) && alignment.is_multiple_of(size);
        fits.then_some(Self {
            first: alignment / SECTOR as u64,
            sectors: granularity / SECTOR as u64,
        })
    }

    /// The whole pieces within `sectors`.
    pub(crate) fn within(&self, sectors: Range<u64>) -> Range<u64> {
        let index = |sector: u64| sector.saturating_sub(self.first);
        let first = index(sectors.start).div_ceil(self.sectors);
        let last = index(sectors.end) / self.sectors;
        let place = |piece: u64| {
            piece
                .saturating_mul(self.sectors)
                .saturating_add(self.first)
        };
        place(first)..place(last)
    }
}

/// Segments that a request may have, by what `feature-max-indirect-segments` says.
pub(crate) fn segments(offered: Option<u32>) -> usize {
    let offered = offered.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    offered.clamp(MAX_SEGMENTS, WANTED_SEGMENTS)
}

/// Pages of the ring, by what `max-ring-page-order` says: four are enough for 128 requests.
pub(crate) fn ring_pages(order: Option<u32>) -> usize {
    1 << order.unwrap_or(0).min(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_bounded() {
        assert_eq!(
            [None, Some(0), Some(11), Some(32), Some(256), Some(u32::MAX)].map(segments),
            [11, 11, 11, 32, 256, 256]
        );
        assert_eq!(
            [None, Some(0), Some(1), Some(2), Some(4), Some(200)].map(ring_pages),
            [1, 1, 2, 4, 4, 4]
        );
    }

    #[test]
    fn whole_pieces() {
        let of = |granularity, alignment| Granules::parse(granularity, alignment, 512);
        let plain = of(None, None).unwrap();
        assert_eq!(plain.within(3..9), 3..9);
        let pieces = of(Some(4096), Some(1024)).unwrap();
        assert_eq!((pieces.first, pieces.sectors), (2, 8));
        assert_eq!(pieces.within(2..18), 2..18);
        assert_eq!(pieces.within(3..18), 10..18);
        assert_eq!(pieces.within(0..17), 2..10);
        assert!(pieces.within(3..17).is_empty());
        assert!(pieces.within(0..2).is_empty());
        assert_eq!(of(Some(4096), Some(u64::MAX - 511)).unwrap().first, 7);
        assert_eq!(of(Some(0), None), Some(plain));
        for (granularity, alignment, size) in [
            (513, 0, 512),
            (512, 0, 4096),
            (4096, 512, 4096),
            (1024, 1, 512),
        ] {
            let said = Granules::parse(Some(granularity), Some(alignment), size);
            assert_eq!(said, None, "{granularity} {alignment} {size}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_more_than_asked(g: u64, a: u64, start: u64, len: u64) {
            if let Some(granules) = Granules::parse(Some(g), Some(a), 512) {
                let asked = start..start.saturating_add(len);
                let within = granules.within(asked.clone());
                proptest::prop_assert!(
                    within.is_empty() || asked.start <= within.start && within.end <= asked.end
                );
            }
        }
    }
}
