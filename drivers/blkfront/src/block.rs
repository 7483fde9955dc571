//! What a disk is to those who use it: sectors that are read, written and flushed, many requests at once.

use core::fmt;
use core::future::Future;
use xenlet_kernel::page::Pages;

/// Bytes of the sectors that positions and sizes are counted in, whatever the disk's own sectors are (`blkif.h`).
pub const SECTOR: usize = 512;

/// A disk.
///
/// Any number of requests can be in flight, and they are done in any order: only [`flush`](Self::flush) says that
/// what was written before is there to stay. The pages of a request travel with it and come back with its answer, also
/// when it failed. A request goes on when its future is dropped; its pages are then given up once it is done.
///
/// Positions are in sectors of 512 bytes. A request begins at a multiple of [`Geometry::sector_size`] and is a multiple
/// of it long.
pub trait BlockDevice {
    /// What kind of disk it is.
    fn geometry(&self) -> Geometry;

    /// Fills all of `pages` from `sector` on. After an error what the pages hold is not said.
    fn read(&self, sector: u64, pages: Pages)
    -> impl Future<Output = (Pages, Result<(), IoError>)>;

    /// Writes all of `pages` from `sector` on. After an error, and after a power cut without a
    /// [`flush`](Self::flush) since, each sector is the old one or the new one.
    fn write(
        &self,
        sector: u64,
        pages: Pages,
    ) -> impl Future<Output = (Pages, Result<(), IoError>)>;

    /// Waits until every write that was answered before this call is there to stay.
    ///
    /// After an error nothing is known of any write since the last success.
    fn flush(&self) -> impl Future<Output = Result<(), IoError>>;

    /// Says that nobody needs what is in `sectors` sectors from `sector` on; what they hold then is not said. A disk
    /// that can't do it does nothing.
    fn discard(&self, sector: u64, sectors: u64) -> impl Future<Output = Result<(), IoError>>;
}

/// What kind of disk it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Its size, in sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes of its own sectors, a power of two from 512 to 4096: it is read and written in multiples of these, and a
    /// power cut leaves each of them old or new.
    pub sector_size: usize,
    /// Whether it can't be written.
    pub read_only: bool,
    /// Whether [`BlockDevice::discard`] does anything.
    pub discard: bool,
}

impl Geometry {
    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.sectors.saturating_mul(SECTOR as u64)
    }

    /// Checks that `len` bytes from `sector` on are whole sectors of this disk.
    ///
    /// # Errors
    /// [`IoError::Misaligned`] or [`IoError::OutOfRange`].
    pub fn check(&self, sector: u64, len: usize) -> Result<(), IoError> {
        let unit = (self.sector_size / SECTOR) as u64;
        let count = (len / SECTOR) as u64;
        if len == 0 || !len.is_multiple_of(self.sector_size) || !sector.is_multiple_of(unit) {
            return Err(IoError::Misaligned { sector, len });
        }
        match sector.checked_add(count) {
            Some(end) if end <= self.sectors => Ok(()),
            _ => Err(IoError::OutOfRange { sector, len }),
        }
    }
}

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoError {
    /// The disk failed it (`BLKIF_RSP_ERROR`).
    Failed,
    /// The disk does not know this kind of request (`BLKIF_RSP_EOPNOTSUPP`).
    Unsupported,
    /// The disk can't be written.
    ReadOnly,
    /// Nothing, or not whole sectors of the disk: a bug of the caller.
    Misaligned {
        /// Where, in sectors of 512 bytes.
        sector: u64,
        /// How many bytes.
        len: usize,
    },
    /// Beyond the disk's end.
    OutOfRange {
        /// Where, in sectors of 512 bytes.
        sector: u64,
        /// How many bytes.
        len: usize,
    },
    /// The disk is gone: its backend left, or broke the protocol.
    Gone,
    /// There is no memory for the request.
    OutOfMemory,
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("the disk reports an error; its domain's log says why"),
            Self::Unsupported => f.write_str("the disk can't do that"),
            Self::ReadOnly => f.write_str("the disk is read-only"),
            Self::Misaligned { sector, len } => {
                write!(
                    f,
                    "{len} bytes at sector {sector} are not whole sectors of the disk"
                )
            }
            Self::OutOfRange { sector, len } => {
                write!(
                    f,
                    "{len} bytes at sector {sector} are beyond the disk's end"
                )
            }
            Self::Gone => f.write_str("the disk is gone"),
            Self::OutOfMemory => f.write_str("out of memory for a disk request"),
        }
    }
}

impl core::error::Error for IoError {}
