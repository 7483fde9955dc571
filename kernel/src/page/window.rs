//! A window on memory that somebody else may write at any moment: volatile copies in and out, no references.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

/// A stretch of shared memory. Whoever makes one keeps the memory alive as long as the window.
#[derive(Debug)]
pub struct Window {
    base: NonNull<u8>,
    len: usize,
}

impl Window {
    /// A window on `len` bytes from `base`, which is aligned to 8 and stays valid as long as the window is used.
    pub(crate) const fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// Bytes of the window.
    pub fn len_bytes(&self) -> usize {
        self.len
    }

    fn at(&self, offset: usize, len: usize) -> NonNull<u8> {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "window: {offset}+{len} is outside {} bytes",
            self.len
        );
        // SAFETY: just checked to be within the window.
        unsafe { self.base.add(offset) }
    }

    /// Copies `into.len()` bytes from `offset` out of the shared memory. Each byte is read once.
    ///
    /// # Panics
    /// If the bytes are not within the window.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        let mut done = 0;
        if from.cast::<u32>().is_aligned() {
            for word in into.chunks_exact_mut(4) {
                let place = from.as_ptr().wrapping_add(done).cast::<u32>();
                // SAFETY: within the window (`at`), aligned, and any bytes are a u32.
                let value = unsafe { place.read_volatile() };
                word.copy_from_slice(&value.to_ne_bytes());
                done += 4;
            }
        }
        for byte in &mut into[done..] {
            let place = from.as_ptr().wrapping_add(done);
            // SAFETY: within the window (`at`), and any byte is a u8.
            *byte = unsafe { place.read_volatile() };
            done += 1;
        }
    }

    /// Copies `from` into the shared memory at `offset`.
    ///
    /// # Panics
    /// If the bytes are not within the window.
    pub fn write(&self, offset: usize, from: &[u8]) {
        let into = self.at(offset, from.len());
        let mut done = 0;
        if into.cast::<u32>().is_aligned() {
            for word in from.chunks_exact(4) {
                let value = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
                let place = into.as_ptr().wrapping_add(done).cast::<u32>();
                // SAFETY: within the window (`at`) and aligned.
                unsafe { place.write_volatile(value) };
                done += 4;
            }
        }
        for byte in &from[done..] {
            let place = into.as_ptr().wrapping_add(done);
            // SAFETY: within the window (`at`).
            unsafe { place.write_volatile(*byte) };
            done += 1;
        }
    }

    fn atomic(&self, offset: usize) -> &AtomicU32 {
        let at = self.at(offset, 4).cast::<u32>();
        assert!(
            at.is_aligned(),
            "window: the word at {offset} is not aligned"
        );
        // SAFETY: within the window and aligned; an atomic may be shared with any other writer, and the reference
        // cannot outlive the window, whose memory stays valid as long as it.
        unsafe { AtomicU32::from_ptr(at.as_ptr()) }
    }

    /// Reads the word at `offset`; nothing after it is read before it.
    ///
    /// # Panics
    /// If the word is not within the window or not aligned.
    pub fn load_acquire(&self, offset: usize) -> u32 {
        self.atomic(offset).load(Ordering::Acquire)
    }

    /// Writes the word at `offset`; everything before it is seen before it.
    ///
    /// # Panics
    /// If the word is not within the window or not aligned.
    pub fn store_release(&self, offset: usize, value: u32) {
        self.atomic(offset).store(value, Ordering::Release);
    }
}
