//! Bytes that wait: of records that came and are not whole yet, of records that are to be sent.

use crate::Error;
use alloc::vec::Vec;
use xenlet_kernel::memory;

/// Free memory that is left alone, in bytes: rustls allocates what it needs without asking.
const RESERVE: usize = 64 * 1024;

/// A queue of bytes in one piece.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// Initialised throughout, so that nothing is zeroed twice.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there is memory to give back.
    pub(crate) fn has_memory(&self) -> bool {
        !self.bytes.is_empty()
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Forgets the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count.min(self.len());
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// At least `len` bytes to write to, behind what is filled; [`fill`](Self::fill) says how many were.
    ///
    /// # Errors
    /// [`Error::NoMemory`]
    pub(crate) fn room<E>(&mut self, len: usize) -> Result<&mut [u8], Error<E>> {
        if self.bytes.len() - self.end < len {
            let filled = self.len();
            let wanted = filled + len;
            if wanted <= self.bytes.len() {
                self.bytes.copy_within(self.start..self.end, 0);
            } else {
                let mut bytes = zeroed(wanted)?;
                bytes[..filled].copy_from_slice(self.filled());
                self.bytes = bytes;
            }
            (self.start, self.end) = (0, filled);
        }
        Ok(&mut self.bytes[self.end..])
    }

    /// Takes `count` bytes of the room as filled.
    pub(crate) fn fill(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`Error::NoMemory`]
    pub(crate) fn append<E>(&mut self, bytes: &[u8]) -> Result<(), Error<E>> {
        self.room(bytes.len())?[..bytes.len()].copy_from_slice(bytes);
        self.fill(bytes.len());
        Ok(())
    }

    /// Moves what there is to the front of `into`; returns how much.
    pub(crate) fn take(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.len());
        into[..count].copy_from_slice(&self.filled()[..count]);
        self.consume(count);
        count
    }
}

/// `len` zeros, if that leaves enough for others.
fn zeroed<E>(len: usize) -> Result<Vec<u8>, Error<E>> {
    if !memory::has_room(len + RESERVE) {
        return Err(Error::NoMemory);
    }
    memory::zeroed(len).map_err(|_| Error::NoMemory)
}

/// # Errors
/// [`Error::NoMemory`] if there is too little memory to let rustls allocate.
pub(crate) fn check_memory<E>() -> Result<(), Error<E>> {
    if memory::has_room(RESERVE) {
        Ok(())
    } else {
        Err(Error::NoMemory)
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;
    use core::convert::Infallible;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is appended and taken, in whatever pieces: it is a queue.
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec((0usize..50, 0usize..50), 0..40)) {
            let (mut buffer, mut model, mut next) = (Buffer::default(), Vec::new(), 0u8);
            for (append, take) in steps {
                let bytes: Vec<u8> = (0..append).map(|_| { next = next.wrapping_add(1); next }).collect();
                buffer.append::<Infallible>(&bytes).unwrap();
                model.extend(bytes);
                let mut taken = vec![0; take];
                let count = buffer.take(&mut taken);
                prop_assert_eq!(count, take.min(model.len()));
                let expected: Vec<u8> = model.drain(..count).collect();
                prop_assert_eq!(&taken[..count], &expected[..]);
                prop_assert_eq!(buffer.filled(), &model[..]);
                prop_assert_eq!(buffer.len(), model.len());
            }
        }
    }
}
