//! What is behind a disk: memory or a file, under a volatile write cache, with power that can be cut.

use super::cache::{Cache, Write};
use super::content::Content;
use super::dice::Dice;
use crate::block::{Geometry, IoError, SECTOR};
use crate::host_file;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use xenlet_kernel::addr::PAGE_SIZE;

/// Unflushed bytes that a medium in memory holds; with more, the oldest become durable, as in a real cache.
const CACHE_BYTES: usize = 256 << 20;
/// Into how many pieces a discarded stretch falls, if they are not too large; each becomes something else.
const PIECES: u64 = 16;
/// Bytes of such a piece at most.
const PIECE_BYTES: usize = 1 << 20;

/// What is behind a disk. Cheap to clone: all clones are one medium, and it outlives the domain.
///
/// A write is in the cache until a [`flush`](Self::flush) makes it durable; reads see the newest. What the domain sees
/// goes by a [`MediumDisk`](super::MediumDisk) or a ring; the functions here are the host's, and a test's, own look.
#[derive(Clone, Debug)]
pub struct Medium(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    geometry: Geometry,
    content: Content,
    cache: Cache,
    /// How many bytes the cache has room for.
    room: usize,
    cuts: u64,
    /// Who waits for a cut.
    waiting: Vec<Waker>,
}

impl Medium {
    /// A medium of `bytes` zero bytes in memory, of which what is written takes room; sectors of 512 bytes.
    ///
    /// What is beyond the last whole sector is left out.
    pub fn new(bytes: u64) -> Self {
        Self::with(Content::Memory(BTreeMap::new()), bytes, CACHE_BYTES, false)
    }

    /// A file (or block device) of the host. It has no cache of its own: each write is the host's at once, and a flush
    /// waits for the host's.
    ///
    /// # Errors
    /// As [`host_file::open`].
    pub fn open(path: impl AsRef<Path>, read_only: bool) -> io::Result<Self> {
        let mut file = host_file::open(path.as_ref(), read_only)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        Ok(Self::with(Content::File(file), bytes, 0, read_only))
    }

    fn with(content: Content, bytes: u64, room: usize, read_only: bool) -> Self {
        let geometry = Geometry {
            sectors: bytes / SECTOR as u64,
            sector_size: SECTOR,
            read_only,
            discard: true,
        };
        Self(Arc::new(Mutex::new(State {
            geometry,
            content,
            cache: Cache::new(SECTOR),
            room,
            cuts: 0,
            waiting: Vec::new(),
        })))
    }

    /// The same with sectors of `bytes`: what is read and written is multiples of them, and each is whole after a cut.
    ///
    /// # Panics
    /// If that is not a power of two from 512 to 4096.
    #[must_use]
    pub fn with_sector_size(self, bytes: usize) -> Self {
        assert!(
            bytes.is_power_of_two() && (512..=4096).contains(&bytes),
            "sectors of {bytes} bytes"
        );
        {
            let mut state = self.state();
            let unit = (bytes / SECTOR) as u64;
            state.geometry.sector_size = bytes;
            state.geometry.sectors -= state.geometry.sectors % unit;
            state.cache = Cache::new(bytes);
        }
        self
    }

    /// The same, but it can't be written by the guest.
    #[must_use]
    pub fn read_only(self) -> Self {
        self.state().geometry.read_only = true;
        self
    }

    /// What kind of medium it is.
    pub fn geometry(&self) -> Geometry {
        self.state().geometry
    }

    /// A medium in memory that holds `bytes`, such as an image that a test has changed.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let medium = Self::new(bytes.len() as u64);
        for (at, piece) in (0..).step_by(PAGE_SIZE).zip(bytes.chunks(PAGE_SIZE)) {
            if piece.iter().any(|byte| *byte != 0) {
                // Memory does not fail.
                let _ = medium.state().content.write(at, piece);
            }
        }
        medium
    }

    /// All of it, as it would be read.
    ///
    /// # Panics
    /// If it does not fit the host's memory, or the host can't read it.
    pub fn bytes(&self) -> Vec<u8> {
        let geometry = self.geometry();
        let len = usize::try_from(geometry.bytes()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        if let (Err(e), true) = (self.read(0, &mut bytes), len > 0) {
            panic!("the medium can't be read: {e}");
        }
        bytes
    }

    /// Reads whole sectors, the newest that was written.
    ///
    /// # Errors
    /// What is beyond the end, or what the host can't read.
    pub fn read(&self, sector: u64, into: &mut [u8]) -> Result<(), IoError> {
        let state = self.state();
        state.geometry.check(sector, into.len())?;
        let at = sector * SECTOR as u64;
        host("read", state.content.read(at, into))?;
        let unit = state.geometry.sector_size as u64;
        state.cache.overlay(at / unit, into);
        Ok(())
    }

    /// Writes whole sectors, to the cache.
    ///
    /// # Errors
    /// What is beyond the end, or what the host can't write.
    pub fn write(&self, sector: u64, from: &[u8]) -> Result<(), IoError> {
        let mut state = self.state();
        state.geometry.check(sector, from.len())?;
        state.put(sector, from.to_vec())
    }

    /// Makes durable all that was written.
    ///
    /// # Errors
    /// What the host can't write.
    pub fn flush(&self) -> Result<(), IoError> {
        let mut state = self.state();
        state.shrink(0)?;
        host("flush", state.content.sync())
    }

    /// Makes of `sectors` sectors what `dice` like: some stay, some are zeros, some are junk. A file stays as it is.
    ///
    /// # Errors
    /// What is beyond the end, or what the host can't write.
    pub fn discard(&self, sector: u64, sectors: u64, dice: &mut Dice) -> Result<(), IoError> {
        let mut state = self.state();
        let len = usize::try_from(sectors).unwrap_or(usize::MAX / SECTOR);
        state.geometry.check(sector, len.saturating_mul(SECTOR))?;
        if let Content::File(_) = state.content {
            return Ok(());
        }
        let unit = (state.geometry.sector_size / SECTOR) as u64;
        let piece = (sectors / unit).div_ceil(PIECES).max(1) * unit;
        let piece = piece.min((PIECE_BYTES / SECTOR) as u64);
        let end = sector + sectors;
        for at in (sector..end).step_by(usize::try_from(piece).unwrap_or(1)) {
            let count = usize::try_from(piece.min(end - at)).unwrap_or(0);
            let mut bytes = vec![0; count * SECTOR];
            match dice.below(3) {
                0 => continue,
                1 => {}
                _ => dice.fill(&mut bytes),
            }
            state.put(at, bytes)?;
        }
        Ok(())
    }

    /// Cuts the power. Of the writes that were not flushed, each is lost, kept, or torn between its sectors, as `seed`
    /// decides. Whoever used the medium till now gets no answer any more; who comes next finds what is left.
    pub fn cut(&self, seed: u64) {
        let mut state = self.state();
        state.forget(&mut Dice::new(seed));
        state.cuts += 1;
        let waiting = core::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// How often the power was cut so far.
    pub fn cuts(&self) -> u64 {
        self.state().cuts
    }

    /// Runs `life` until it ends or the power is cut; then nothing comes of it.
    pub async fn until_cut<T>(&self, life: impl Future<Output = T>) -> Option<T> {
        let before = self.cuts();
        let mut life = pin!(life);
        poll_fn(|cx| {
            if let Poll::Ready(value) = life.as_mut().poll(cx) {
                return Poll::Ready((self.cuts() == before).then_some(value));
            }
            let mut state = self.state();
            if state.cuts != before {
                return Poll::Ready(None);
            }
            if !state
                .waiting
                .iter()
                .any(|waker| waker.will_wake(cx.waker()))
            {
                state.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// What a flush that failed does: what was not flushed before may be lost, kept or torn, and nobody tries again.
    pub(super) fn fail_flush(&self, dice: &mut Dice) {
        self.state().forget(dice);
    }

    /// What a write that failed does: each sector is the old one or the new one.
    pub(super) fn fail_write(&self, sector: u64, from: &[u8], dice: &mut Dice) {
        let mut state = self.state();
        if state.geometry.check(sector, from.len()).is_err() {
            return;
        }
        let size = state.geometry.sector_size;
        for (at, bytes) in (sector..).step_by(size / SECTOR).zip(from.chunks(size)) {
            if dice.one_in(2) {
                // It has failed as it is.
                let _ = state.put(at, bytes.to_vec());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked does not make the medium worse.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, sector: u64, bytes: Vec<u8>) -> Result<(), IoError> {
        let unit = (self.geometry.sector_size / SECTOR) as u64;
        self.cache.put(sector / unit, bytes);
        self.shrink(self.room)
    }

    /// Writes the oldest out until the cache holds no more than `bytes`.
    fn shrink(&mut self, bytes: usize) -> Result<(), IoError> {
        while self.cache.bytes() > bytes {
            let Some(write) = self.cache.pop() else { break };
            self.keep(&write)?;
        }
        Ok(())
    }

    fn keep(&mut self, write: &Write) -> Result<(), IoError> {
        let at = write.at * self.geometry.sector_size as u64;
        host("write", self.content.write(at, &write.bytes))
    }

    /// Empties the cache, of which `dice` say what is left.
    fn forget(&mut self, dice: &mut Dice) {
        for write in self.cache.survivors(dice) {
            // What can't be written is lost.
            let _ = self.keep(&write);
        }
    }
}

/// Says why the host could not do it.
fn host(what: &str, done: io::Result<()>) -> Result<(), IoError> {
    done.map_err(|e| {
        log::error!("the disk's file: {what}: {e}");
        IoError::Failed
    })
}

#[cfg(test)]
mod tests;
