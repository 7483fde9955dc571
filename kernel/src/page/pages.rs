//! A buffer of whole pages, which need not be adjacent: what is read from a disk and written to one.
//!
//! ```text
//!    ┌────────────┐ ┌────────────┐ ┌────────────┐
//!    │ page 0     │ │ page 1     │ │ page 2 ┊   │   len = 2 * 4096 + 2560
//!    └────────────┘ └────────────┘ └────────────┘
//! ```

use super::{OutOfPages, Page};
use crate::addr::PAGE_SIZE;
use alloc::vec::Vec;

/// A buffer of pages, of which the first `len` bytes count. It travels with a request, and comes back with the answer.
#[derive(Debug)]
pub struct Pages {
    pages: Vec<Page>,
    len: usize,
}

impl Pages {
    /// A buffer of `len` zero bytes.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new(len: usize) -> Result<Self, OutOfPages> {
        let mut pages = Self::with_capacity(len)?;
        pages.resize(len)?;
        Ok(pages)
    }

    fn with_capacity(len: usize) -> Result<Self, OutOfPages> {
        let mut pages = Vec::new();
        pages
            .try_reserve_exact(len.div_ceil(PAGE_SIZE))
            .map_err(|_| OutOfPages)?;
        Ok(Self { pages, len: 0 })
    }

    /// A buffer of the first `len` bytes of `pages`; those beyond are given up.
    ///
    /// # Panics
    /// If there are fewer pages: a bug of the caller.
    pub fn from_pages(mut pages: Vec<Page>, len: usize) -> Self {
        let count = len.div_ceil(PAGE_SIZE);
        assert!(
            count <= pages.len(),
            "pages: {len} bytes in {} pages",
            pages.len()
        );
        pages.truncate(count);
        Self { pages, len }
    }

    /// The pages themselves; the last one may not count whole.
    pub fn into_pages(self) -> Vec<Page> {
        self.pages
    }

    /// Bytes that count.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte counts.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes it `len` bytes: pages of zeros are added at the end, or pages given up. What is in the pages that stay is
    /// not touched, so bytes that come to count again are what they were.
    ///
    /// # Errors
    /// When there is no memory; then the buffer is as it was.
    pub fn resize(&mut self, len: usize) -> Result<(), OutOfPages> {
        let count = len.div_ceil(PAGE_SIZE);
        let had = self.pages.len();
        self.pages
            .try_reserve(count.saturating_sub(had))
            .map_err(|_| OutOfPages)?;
        while self.pages.len() < count {
            match Page::new() {
                Ok(page) => self.pages.push(page),
                Err(OutOfPages) => {
                    self.pages.truncate(had);
                    return Err(OutOfPages);
                }
            }
        }
        self.pages.truncate(count);
        self.len = len;
        Ok(())
    }

    /// The bytes that count, page by page: all but the last chunk are whole pages.
    pub fn chunks(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        let len = self.len;
        self.pages
            .iter()
            .enumerate()
            .map(move |(i, page)| &page[..PAGE_SIZE.min(len - i * PAGE_SIZE)])
    }

    /// The bytes that count, page by page, to write them.
    pub fn chunks_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut [u8]> + ExactSizeIterator {
        let len = self.len;
        self.pages
            .iter_mut()
            .enumerate()
            .map(move |(i, page)| &mut page[..PAGE_SIZE.min(len - i * PAGE_SIZE)])
    }

    /// Copies `from` to the bytes from `offset` on.
    ///
    /// # Panics
    /// If that is beyond the end: a bug of the caller.
    pub fn write_at(&mut self, offset: usize, from: &[u8]) {
        self.check(offset, from.len());
        let mut from = from;
        let (mut index, mut at) = (offset / PAGE_SIZE, offset % PAGE_SIZE);
        while !from.is_empty() {
            let (now, rest) = from.split_at(from.len().min(PAGE_SIZE - at));
            self.pages[index][at..at + now.len()].copy_from_slice(now);
            from = rest;
            (index, at) = (index + 1, 0);
        }
    }

    /// Copies the bytes from `offset` on to `into`.
    ///
    /// # Panics
    /// If that is beyond the end: a bug of the caller.
    pub fn read_at(&self, offset: usize, into: &mut [u8]) {
        self.check(offset, into.len());
        let mut into = into;
        let (mut index, mut at) = (offset / PAGE_SIZE, offset % PAGE_SIZE);
        while !into.is_empty() {
            let count = into.len().min(PAGE_SIZE - at);
            let (now, rest) = into.split_at_mut(count);
            now.copy_from_slice(&self.pages[index][at..at + count]);
            into = rest;
            (index, at) = (index + 1, 0);
        }
    }

    fn check(&self, offset: usize, len: usize) {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "pages: {len} bytes at {offset} of {}",
            self.len
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            len in 0..5 * PAGE_SIZE,
            offset in 0..5 * PAGE_SIZE,
            bytes in prop::collection::vec(any::<u8>(), 0..2 * PAGE_SIZE),
        ) {
            let mut pages = Pages::new(len).unwrap();
            let mut model = vec![0; len];
            let offset = offset.min(len);
            let bytes = &bytes[..bytes.len().min(len - offset)];
            pages.write_at(offset, bytes);
            model[offset..offset + bytes.len()].copy_from_slice(bytes);
            let mut out = vec![1; bytes.len()];
            pages.read_at(offset, &mut out);
            prop_assert_eq!(&out, bytes);
            let all: Vec<u8> = pages.chunks().flatten().copied().collect();
            prop_assert_eq!(all, model);
            prop_assert_eq!(pages.chunks_mut().map(|c| c.len()).sum::<usize>(), len);
        }
    }

    #[test]
    fn sizes_change() {
        let mut pages = Pages::new(1).unwrap();
        pages.write_at(0, &[7]);
        pages.resize(PAGE_SIZE + 1).unwrap();
        assert_eq!((pages.len(), pages.chunks().len()), (PAGE_SIZE + 1, 2));
        assert_eq!(pages.chunks().next().unwrap()[..2], [7, 0]);
        pages.resize(0).unwrap();
        assert!(pages.is_empty() && pages.into_pages().is_empty());
        assert_eq!(Pages::new(usize::MAX).unwrap_err(), OutOfPages);
    }
}
