//! A mark that no peer must ever see: what is in pages that nobody owns, and in secrets of a test's.

use crate::addr::PAGE_SIZE;
use crate::page::Window;
use std::ptr::NonNull;

/// Such memory is full of it.
const MARK: [u8; 16] = *b"nobody's page...";

/// Marks `count` pages that nobody owns.
pub(super) fn mark(base: NonNull<u8>, count: usize) {
    for i in 0..count * PAGE_SIZE / MARK.len() {
        // SAFETY: within the pages.
        let place = unsafe { base.cast::<[u8; 16]>().add(i) };
        // SAFETY: as above, and nobody has a reference to them.
        unsafe { place.write(MARK) };
    }
}

/// Makes `bytes` a secret: a page with any 16 of them is not to be shared. For the guest's own data, in a test.
pub fn mark_secret(bytes: &mut [u8]) {
    for (byte, mark) in bytes.iter_mut().zip(MARK.iter().cycle()) {
        *byte = *mark;
    }
}

/// Whether there is anything of it in a page.
pub(super) fn is_in(page: &Window) -> bool {
    let mut bytes = [0; PAGE_SIZE];
    page.read(0, &mut bytes);
    bytes.as_chunks().0.contains(&MARK)
}
