//! What the processor has, and leave to use it.
//!
//! Crates that ask by themselves (ring does) execute `cpuid` as it is, which tells of the host's processor; of the registers they
//! ask `xgetbv`, and that is what was set here. So they use AVX only where it is this guest's, and nothing beyond it.

use crate::mem;
use core::arch::asm;

/// `cpuid` as Xen wants this guest to see it (`XEN_EMULATE_PREFIX` of `xen/arch-x86/xen.h`): `ebx` and `ecx`.
pub(super) fn cpuid(leaf: u32, subleaf: u32) -> (u32, u32) {
    let (ebx, ecx): (u64, u32);
    // SAFETY: the prefix is defined for PV guests; `rbx`, which the compiler keeps for itself, is put back.
    unsafe {
        asm!(
            "mov {saved}, rbx",
            "ud2",
            ".ascii \"xen\"",
            "cpuid",
            "xchg {saved}, rbx",
            saved = out(reg) ebx,
            inout("eax") leaf => _,
            inout("ecx") subleaf => ecx,
            out("edx") _,
            options(nomem, nostack, preserves_flags),
        );
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the upper half of rbx is zero after cpuid"
    )]
    (ebx as u32, ecx)
}

/// `CR4.OSXSAVE`: the guest says which registers it uses, by XCR0.
const CR4_OSXSAVE: u64 = 1 << 18;
/// XCR0: x87, SSE and AVX state.
const XCR0_AVX: u32 = 0b111;

/// Asks Xen for AVX registers, if this guest may have them: it keeps them for us from then on.
pub(super) fn start() {
    let (_, has) = cpuid(1, 0);
    let (has_xsave, has_avx) = (has & 1 << 26 != 0, has & 1 << 28 != 0);
    if !has_xsave || !has_avx {
        return;
    }
    // SAFETY: Xen emulates both instructions for a guest that it tells that there is XSAVE; they change nothing but which
    // registers there are.
    unsafe {
        asm!(
            "mov {cr4}, cr4",
            "or {cr4}, {osxsave}",
            "mov cr4, {cr4}",
            "xsetbv",
            cr4 = out(reg) _,
            osxsave = const CR4_OSXSAVE,
            in("ecx") 0,
            in("eax") XCR0_AVX,
            in("edx") 0,
            options(nomem, nostack),
        );
    }
    // SAFETY: just asked, and Xen keeps what XCR0 says across its switches of domains.
    unsafe { mem::use_avx() };
}
