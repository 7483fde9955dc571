//! A mark that no peer must ever see: what is in pages that nobody owns, and in secrets of a test's.

use crate::addr::PAGE_SIZE;
use crate::page::Window;
use std::ptr::NonNull;

/// Such memory is full of it.
const MARK: [u8; 16] = *b"nobody's page...";

/// A page full of it.
static MARKED: [[u8; MARK.len()]; PAGE_SIZE / MARK.len()] = [MARK; PAGE_SIZE / MARK.len()];

/// Marks `count` pages that nobody owns.
pub(super) fn mark(base: NonNull<u8>, count: usize) {
    for i in 0..count {
        // SAFETY: within the pages.
        let page = unsafe { base.add(i * PAGE_SIZE) };
        // SAFETY: as above, and nobody has a reference to them.
        unsafe { page.copy_from_nonoverlapping(NonNull::from(&MARKED).cast(), PAGE_SIZE) };
    }
}

/// Makes `bytes` a secret: a page with any 16 of them is not to be shared. For the guest's own data, in a test.
pub fn mark_secret(bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(PAGE_SIZE) {
        let len = chunk.len();
        chunk.copy_from_slice(&MARKED.as_flattened()[..len]);
    }
}

/// Whether there is anything of it in a page.
pub(super) fn is_in(page: &Window) -> bool {
    let mut bytes = [0; PAGE_SIZE];
    page.read(0, &mut bytes);
    bytes.as_chunks().0.contains(&MARK)
}
