//! Random numbers from the processor: RDSEED where there is one, else RDRAND.

use super::cpu::cpuid;
use core::arch::x86_64::{_rdrand64_step, _rdseed64_step};

/// For processors that have RDRAND.
#[target_feature(enable = "rdrand")]
fn rdrand() -> Option<u64> {
    let mut value = 0;
    // Ten tries are what its documentation asks for.
    (0..10)
        .any(|_| _rdrand64_step(&mut value) == 1)
        .then_some(value)
}

/// For processors that have RDSEED.
#[target_feature(enable = "rdseed")]
fn rdseed() -> Option<u64> {
    let mut value = 0;
    for _ in 0..100 {
        if _rdseed64_step(&mut value) == 1 {
            return Some(value);
        }
        core::hint::spin_loop();
    }
    None
}

/// 64 bits fit for a key, or `None` where the processor has no source.
pub(super) fn random() -> Option<u64> {
    let (has_rdseed, has_rdrand) = (cpuid(7, 0).0 & 1 << 18 != 0, cpuid(1, 0).1 & 1 << 30 != 0);
    if has_rdseed {
        // SAFETY: just asked.
        if let Some(value) = unsafe { rdseed() } {
            return Some(value);
        }
    }
    if has_rdrand {
        // SAFETY: just asked.
        return unsafe { rdrand() };
    }
    None
}
