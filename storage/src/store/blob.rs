//! Content of any length: written from begin to end, read anywhere, never held whole.

use super::Error;
use crate::BlockDevice;
use alloc::rc::Rc;

/// A blob that is written and not yet in a transaction. Dropped, its space is given back.
#[derive(Debug)]
pub struct Blob(());

impl Blob {
    /// How many bytes it has.
    #[allow(clippy::len_without_is_empty, reason = "a blob may well be empty")]
    pub fn len(&self) -> u64 {
        todo!()
    }
}

/// Writes a blob. Dropped before [`finish`](Self::finish), its space is given back.
#[derive(Debug)]
pub struct BlobWriter<D>(Rc<D>);

impl<D: BlockDevice + 'static> BlobWriter<D> {
    /// Adds `bytes` to the end. Waits only when as many requests are in flight as may be.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLong`], [`Error::OutOfMemory`], [`Error::Io`], [`Error::ReadOnly`]. The blob can't be
    /// finished then.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let _ = bytes;
        todo!()
    }

    /// Some of the buffer that is sent to the disk next, never empty: to be filled from its begin, and then
    /// [`advance`](Self::advance)d. Saves the copy that [`write`](Self::write) makes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn spare(&mut self) -> Result<&mut [u8], Error> {
        todo!()
    }

    /// Says that the first `len` bytes of [`spare`](Self::spare) are filled.
    ///
    /// # Panics
    /// If that is more than there were: a bug of the caller.
    pub fn advance(&mut self, len: usize) {
        let _ = len;
        todo!()
    }

    /// How many bytes it has so far.
    #[allow(clippy::len_without_is_empty, reason = "a blob may well be empty")]
    pub fn len(&self) -> u64 {
        todo!()
    }

    /// Writes what is left and waits until all of it is written. It is there to stay with the transaction it goes into.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(self) -> Result<Blob, Error> {
        todo!()
    }
}

/// Reads a blob. Every block is verified before a byte of it is given out.
#[derive(Debug)]
pub struct BlobReader<D>(Rc<D>);

impl<D: BlockDevice + 'static> BlobReader<D> {
    /// How many bytes the blob has.
    #[allow(clippy::len_without_is_empty, reason = "a blob may well be empty")]
    pub fn len(&self) -> u64 {
        todo!()
    }

    /// Where the next byte is read.
    pub fn position(&self) -> u64 {
        todo!()
    }

    /// Goes to byte `position`; beyond the end is the end.
    pub fn seek(&mut self, position: u64) {
        let _ = position;
        todo!()
    }

    /// The bytes at the position, some of them; none only at the end. They stay the next ones until they are
    /// [`consume`](Self::consume)d. What follows is read ahead.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::OutOfMemory`].
    pub async fn fill_buf(&mut self) -> Result<&[u8], Error> {
        todo!()
    }

    /// Goes `len` bytes on.
    pub fn consume(&mut self, len: usize) {
        let _ = len;
        todo!()
    }

    /// Copies the next bytes to `into`, and says how many: 0 only at the end, or if `into` is empty.
    ///
    /// # Errors
    /// As [`fill_buf`](Self::fill_buf).
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let _ = into;
        todo!()
    }

    /// Copies the bytes from `offset` on to `into`, and says how many: fewer than asked for only at the end. The position
    /// stays, and nothing is read ahead.
    ///
    /// # Errors
    /// As [`fill_buf`](Self::fill_buf).
    pub async fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, Error> {
        let _ = (offset, into);
        todo!()
    }
}
