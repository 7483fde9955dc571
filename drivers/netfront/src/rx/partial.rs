//! A frame whose slots come one by one.
//!
//! ```text
//!   data (flags: more, extra) │ extra (more) │ extra │ data (more) │ data
//! ```
//!
//! The first slot says whether extras follow, each extra whether another does, and each slot of data whether there are
//! more of them behind.

use crate::frame::{Body, Checksum, MAX_FRAME, Pool, RxFrame};
use crate::proto::{
    EXTRA_GSO, EXTRA_HASH, EXTRA_MCAST_ADD, EXTRA_MORE, Extra, GSO_TCPV4, GSO_TCPV6, MAX_SLOTS,
    RX_CSUM_BLANK, RX_DATA_VALIDATED, RX_EXTRA_INFO, RX_MORE_DATA, RxResponse,
};
use crate::{Lie, MIN_FRAME, Stats};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::page::Page;

/// Kinds of extras, so how many a frame may have.
const MAX_EXTRAS: u32 = 4;

/// What is known of a frame whose slots have not all come.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// Slots of data so far; 0 is no frame.
    slots: u32,
    extras: u32,
    /// The next slot is an extra.
    extra_next: bool,
    /// A slot of data follows when the extras are through.
    more: bool,
    /// The first slot's page, where its bytes begin and how many they are.
    head: Option<(Page, usize, usize)>,
    /// Where the slots are joined, if there are more than one.
    joined: Option<Vec<u8>>,
    checksum: Checksum,
    gso_size: Option<NonZeroU16>,
    spoilt: Option<Spoilt>,
}

/// Why a frame is dropped although the backend broke no rule.
#[derive(Clone, Copy, Debug)]
enum Spoilt {
    /// The backend says that it could not copy it.
    Status,
    /// More bytes than any frame has.
    TooLong,
    /// An extra that means nothing to us, so that we don't know what the frame is.
    Extra,
    /// No memory to join it in.
    Memory,
}

impl Partial {
    /// Whether the next slot is an extra.
    pub(super) fn extra_is_next(&self) -> bool {
        self.extra_next
    }

    /// Whether no more slots belong to it.
    pub(super) fn is_whole(&self) -> bool {
        !self.extra_next && !self.more
    }

    /// Takes a slot of data, whose request had the id `due` and whose page is ours again.
    pub(super) fn data(
        &mut self,
        due: u16,
        response: RxResponse,
        page: Page,
        pool: &Pool,
    ) -> Result<(), Lie> {
        let RxResponse {
            id,
            offset,
            flags,
            status,
        } = response;
        if id != due {
            return Err(Lie::RxId { due, said: id });
        }
        let first = self.slots == 0;
        if flags & RX_EXTRA_INFO != 0 && !first {
            return Err(Lie::RxStrayExtra);
        }
        self.slots += 1;
        if self.slots > MAX_SLOTS {
            return Err(Lie::RxEndless);
        }
        self.more = flags & RX_MORE_DATA != 0;
        self.extra_next = flags & RX_EXTRA_INFO != 0;
        if first {
            self.checksum = match flags & (RX_CSUM_BLANK | RX_DATA_VALIDATED) {
                0 => Checksum::Unknown,
                RX_DATA_VALIDATED => Checksum::Validated,
                _ => Checksum::Blank,
            };
        }
        let Ok(len) = u16::try_from(status) else {
            self.spoilt = Some(Spoilt::Status);
            pool.put(page);
            return Ok(());
        };
        let (start, len) = (usize::from(offset), usize::from(len));
        if start + len > PAGE_SIZE {
            return Err(Lie::RxOutside {
                offset,
                len: status.unsigned_abs(),
            });
        }
        if first {
            self.head = Some((page, start, len));
        } else {
            self.join(&page[start..start + len], pool);
            pool.put(page);
        }
        Ok(())
    }

    /// Appends a slot's bytes to those of the slots before it.
    fn join(&mut self, bytes: &[u8], pool: &Pool) {
        if self.joined.is_none() {
            self.joined = pool.take_buffer();
        }
        let Some(buffer) = self.joined.as_mut() else {
            self.spoilt = Some(Spoilt::Memory);
            return;
        };
        if let Some((page, start, len)) = self.head.take() {
            buffer.extend_from_slice(&page[start..start + len]);
            pool.put(page);
        }
        if buffer.len() + bytes.len() <= MAX_FRAME {
            buffer.extend_from_slice(bytes);
        } else {
            self.spoilt = Some(Spoilt::TooLong);
        }
    }

    /// Takes a slot that is an extra.
    pub(super) fn extra(&mut self, extra: Extra) -> Result<(), Lie> {
        self.extras += 1;
        if self.extras > MAX_EXTRAS {
            return Err(Lie::RxExtras);
        }
        self.extra_next = extra.flags & EXTRA_MORE != 0;
        match extra.kind {
            EXTRA_GSO => {
                self.gso_size = NonZeroU16::new(extra.gso_size());
                let known = matches!(extra.gso_kind(), GSO_TCPV4 | GSO_TCPV6);
                if !known || self.gso_size.is_none() {
                    self.spoilt = Some(Spoilt::Extra);
                }
            }
            // They change nothing in what the frame is.
            EXTRA_MCAST_ADD..=EXTRA_HASH => {}
            _ => self.spoilt = Some(Spoilt::Extra),
        }
        Ok(())
    }

    /// The frame whose slots have all come; `None` when it is dropped.
    pub(super) fn complete(self, pool: &Rc<Pool>, stats: &mut Stats) -> Option<RxFrame> {
        let body = match (self.joined, self.head) {
            (Some(buffer), _) => Body::Joined(buffer),
            (None, Some((page, start, len))) => Body::InPage(page, start..start + len),
            (None, None) => Body::Gone,
        };
        let frame = RxFrame {
            body,
            pool: Rc::clone(pool),
            checksum: self.checksum,
            gso_size: self.gso_size,
        };
        let dropped = match self.spoilt {
            Some(Spoilt::Status) => &mut stats.rx_refused,
            Some(Spoilt::TooLong) => &mut stats.rx_too_long,
            Some(Spoilt::Extra) => &mut stats.rx_unknown_extra,
            Some(Spoilt::Memory) => &mut stats.rx_no_memory,
            None if frame.len() < MIN_FRAME => &mut stats.rx_too_short,
            None => {
                stats.rx_frames += 1;
                stats.rx_bytes += frame.len() as u64;
                return Some(frame);
            }
        };
        *dropped += 1;
        None
    }
}
