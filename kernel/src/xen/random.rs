//! Random numbers from the processor: RDSEED where there is one, else RDRAND.

use super::cpu::cpuid;
use core::arch::x86_64::{_rdrand64_step, _rdseed64_step};
use core::cell::Cell;

local! {
    /// What there is, once it is known: asking is a trap into Xen, and a handshake of TLS wants dozens of numbers.
    static HAS: Cell<u32> = Cell::new(0);
}

/// Bits of [`HAS`]: it is known; and those of CPUID's leaves 7 (in `ebx`) and 1 (in `ecx`).
const KNOWN: u32 = 1;
const RDSEED: u32 = 1 << 18;
const RDRAND: u32 = 1 << 30;

/// A number by what `has` says that the processor has: a hundred tries of RDSEED, then those of RDRAND, of which its
/// documentation asks for ten.
#[target_feature(enable = "rdseed,rdrand")]
fn draw(has: u32) -> Option<u64> {
    let mut value = 0;
    for tries in 0..110 {
        let done = if has & RDSEED != 0 && tries < 100 {
            _rdseed64_step(&mut value)
        } else if has & RDRAND != 0 {
            _rdrand64_step(&mut value)
        } else {
            return None;
        };
        if done == 1 {
            return Some(value);
        }
        core::hint::spin_loop();
    }
    None
}

/// 64 bits fit for a key, or `None` where the processor has no source.
pub(super) fn random() -> Option<u64> {
    let mut has = HAS.with(Cell::get);
    if has == 0 {
        has = KNOWN | cpuid(7, 0).0 & RDSEED | cpuid(1, 0).1 & RDRAND;
        HAS.with(|known| known.set(has));
    }
    // SAFETY: just asked; it executes nothing else.
    unsafe { draw(has) }
}
