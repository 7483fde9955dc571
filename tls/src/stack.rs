//! What computing with secrets leaves on the stack.

use zeroize::Zeroize;

/// 16 KiB: deeper than ring and rustls go from where they are called.
const WORDS: usize = 2048;

/// Overwrites what the caller's callees have left.
#[inline(never)]
pub(crate) fn wipe() {
    let mut area = [0_u64; WORDS];
    area.zeroize();
    core::hint::black_box(&area);
}
