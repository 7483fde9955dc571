//! A window on memory that somebody else may write at any moment: volatile copies in and out, no references.

#[cfg(target_arch = "x86_64")]
use crate::mem::copy_blocks;
use alloc::collections::VecDeque;
use core::ops::Range;
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

    #[inline]
    fn at(&self, offset: usize, len: usize) -> NonNull<u8> {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "window: {offset}+{len} is outside {} bytes",
            self.len
        );
        // SAFETY: just checked to be within the window.
        unsafe { self.base.add(offset) }
    }

    /// Copies `into.len()` bytes from `offset` out of the shared memory. Each byte is read once, small fields in words.
    ///
    /// # Panics
    /// If the bytes are not within the window.
    #[inline(always)]
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        let mut done = match into.len() {
            0..64 => 0,
            // SAFETY: both have so many bytes, and a window's memory is nobody's slice.
            len => unsafe { copy_blocks(into.as_mut_ptr(), from.as_ptr(), len) },
        };
        if from.cast::<u32>().is_aligned() {
            for word in into[done..].chunks_exact_mut(4) {
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
    #[inline(always)]
    pub fn write(&self, offset: usize, from: &[u8]) {
        let into = self.at(offset, from.len());
        let mut done = match from.len() {
            0..64 => 0,
            // SAFETY: as for `read`.
            len => unsafe { copy_blocks(into.as_ptr(), from.as_ptr(), len) },
        };
        if into.cast::<u32>().is_aligned() {
            for word in from[done..].chunks_exact(4) {
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

    /// Copies bytes out of a circle of the window's, from index `at` on: the index counts bytes for ever.
    pub(crate) fn read_around(&self, circle: &Range<usize>, at: u32, into: &mut [u8]) {
        let (offset, first) = split(circle, at, into.len());
        let (begin, end) = into.split_at_mut(first);
        self.read(offset, begin);
        self.read(circle.start, end);
    }

    /// Moves `count` bytes from the front of `from` into a circle of the window's, from index `at` on; returns the index
    /// behind them.
    pub(crate) fn drain(
        &self,
        from: &mut VecDeque<u8>,
        count: usize,
        circle: &Range<usize>,
        at: u32,
    ) -> u32 {
        let (one, two) = from.as_slices();
        let one = &one[..count.min(one.len())];
        let mut to = at;
        for piece in [one, &two[..count - one.len()]] {
            let (offset, first) = split(circle, to, piece.len());
            let (begin, end) = piece.split_at(first);
            self.write(offset, begin);
            self.write(circle.start, end);
            to = advance(to, piece.len());
        }
        from.drain(..count);
        to
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

/// Where index `at` of a circle is, and how many of `len` bytes come before its end.
fn split(circle: &Range<usize>, at: u32, len: usize) -> (usize, usize) {
    let offset = circle.start + at as usize % circle.len();
    (offset, len.min(circle.end - offset))
}

/// The index `count` bytes behind `at`.
#[allow(
    clippy::cast_possible_truncation,
    reason = "no more than a circle has, which a page has"
)]
fn advance(at: u32, count: usize) -> u32 {
    at.wrapping_add(count as u32)
}

/// No blocks elsewhere.
///
/// # Safety
/// None needed.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn copy_blocks(_: *mut u8, _: *const u8, _: usize) -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_at_any_place_and_nothing_beside_them() {
        let mut memory = [0_u64; 64];
        let base = NonNull::from(&mut memory).cast::<u8>();
        let window = Window::new(base, 512);
        let numbers: Vec<u8> = (0..=u8::MAX).cycle().take(512).collect();
        for (offset, len) in (0..20).flat_map(|offset| (0..300).map(move |len| (offset, len))) {
            window.write(0, &[0xee; 512]);
            window.write(offset, &numbers[1..=len]);
            let mut all = [0; 512];
            window.read(0, &mut all);
            let (before, rest) = all.split_at(offset);
            let (there, after) = rest.split_at(len);
            assert_eq!(there, &numbers[1..=len], "{offset}+{len}");
            assert!(before.iter().chain(after).all(|byte| *byte == 0xee));
            let mut back = vec![0; len];
            window.read(offset, &mut back);
            assert_eq!(back, there);
        }
    }
}
