//! `memcpy`, `memmove`, `memset`, `memcmp`, `bcmp`: what the compiler calls and a C library would bring.
//!
//! Up to 32 bytes are moved by overlapping loads and stores, which are all done before the first store, so that they
//! serve `memmove` too. More goes 64 bytes at a time through SSE registers, and of what is longer 256 at a time through
//! AVX registers, where [`use_avx`] has said that there are such. The loops are assembly because the compiler would
//! recognise a loop in Rust as the very function it is in, and call it.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

/// Whether AVX registers may be used.
static AVX: AtomicBool = AtomicBool::new(false);

/// Bytes that [`copy_wide`] and [`fill_wide`] move in a round.
const WIDE: usize = 256;

/// Lets copies use AVX registers.
///
/// # Safety
/// The processor has them, and whoever switches between domains or threads keeps them.
pub(crate) unsafe fn use_avx() {
    AVX.store(true, Ordering::Relaxed);
}

/// How many of `n` bytes are moved in such rounds.
#[inline(always)]
fn wide_part(n: usize) -> usize {
    if n < WIDE || !AVX.load(Ordering::Relaxed) {
        return 0;
    }
    n & !(WIDE - 1)
}

/// Copies as many whole 256 bytes of `n` as there are, forwards, and says how many bytes that was.
///
/// # Safety
/// As for `memmove`, with `dst` below `src` where the two overlap.
#[inline(always)]
unsafe fn copy_wide(dst: *mut u8, src: *const u8, n: usize) -> usize {
    let bytes = wide_part(n);
    if bytes == 0 {
        return 0;
    }
    // SAFETY: within `bytes` bytes on each access, as the caller promises; there are AVX registers; of those only the
    // declared ones change, and upper halves, in which a program that is not compiled for AVX keeps nothing.
    unsafe {
        asm!(
            "2:",
            "vmovdqu ymm0, [{s} + {i}]",
            "vmovdqu ymm1, [{s} + {i} + 32]",
            "vmovdqu ymm2, [{s} + {i} + 64]",
            "vmovdqu ymm3, [{s} + {i} + 96]",
            "vmovdqu ymm4, [{s} + {i} + 128]",
            "vmovdqu ymm5, [{s} + {i} + 160]",
            "vmovdqu ymm6, [{s} + {i} + 192]",
            "vmovdqu ymm7, [{s} + {i} + 224]",
            "vmovdqu [{d} + {i}], ymm0",
            "vmovdqu [{d} + {i} + 32], ymm1",
            "vmovdqu [{d} + {i} + 64], ymm2",
            "vmovdqu [{d} + {i} + 96], ymm3",
            "vmovdqu [{d} + {i} + 128], ymm4",
            "vmovdqu [{d} + {i} + 160], ymm5",
            "vmovdqu [{d} + {i} + 192], ymm6",
            "vmovdqu [{d} + {i} + 224], ymm7",
            "add {i}, 256",
            "jnz 2b",
            "vzeroupper",
            // From the end, so that one register counts to zero.
            s = in(reg) src.wrapping_add(bytes),
            d = in(reg) dst.wrapping_add(bytes),
            i = inout(reg) bytes.wrapping_neg() => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            options(nostack),
        );
    }
    bytes
}

/// Fills as many whole 256 bytes of `n` as there are with `word`, and says how many bytes that was.
///
/// # Safety
/// As for `memset`.
#[inline(always)]
unsafe fn fill_wide(dst: *mut u8, word: u64, n: usize) -> usize {
    let bytes = wide_part(n);
    if bytes == 0 {
        return 0;
    }
    // SAFETY: as for `copy_wide`.
    unsafe {
        asm!(
            "vmovq xmm0, {word}",
            "vmovddup xmm0, xmm0",
            "vinsertf128 ymm0, ymm0, xmm0, 1",
            "2:",
            "vmovdqu [{d} + {i}], ymm0",
            "vmovdqu [{d} + {i} + 32], ymm0",
            "vmovdqu [{d} + {i} + 64], ymm0",
            "vmovdqu [{d} + {i} + 96], ymm0",
            "vmovdqu [{d} + {i} + 128], ymm0",
            "vmovdqu [{d} + {i} + 160], ymm0",
            "vmovdqu [{d} + {i} + 192], ymm0",
            "vmovdqu [{d} + {i} + 224], ymm0",
            "add {i}, 256",
            "jnz 2b",
            "vzeroupper",
            word = in(reg) word,
            d = in(reg) dst.wrapping_add(bytes),
            i = inout(reg) bytes.wrapping_neg() => _,
            out("xmm0") _,
            options(nostack),
        );
    }
    bytes
}

/// Copies `n` bytes where `n` is at most 32; the two may overlap.
///
/// # Safety
/// `src` valid for reads and `dst` for writes of `n` bytes.
#[inline(always)]
unsafe fn copy_small(dst: *mut u8, src: *const u8, n: usize) {
    /// Copies `n` bytes, at least one `T` and at most two, as the first and the last.
    ///
    /// # Safety
    /// As for `copy_small`, with `n` from one to two sizes of `T`.
    #[inline(always)]
    unsafe fn ends<T: Copy>(dst: *mut u8, src: *const u8, n: usize) {
        let last = n - size_of::<T>();
        // SAFETY: the first `T` of `n` bytes.
        let a = unsafe { src.cast::<T>().read_unaligned() };
        // SAFETY: the offset is within the `n` bytes.
        let tail = unsafe { src.add(last) };
        // SAFETY: the last `T` of `n` bytes.
        let b = unsafe { tail.cast::<T>().read_unaligned() };
        // SAFETY: the first `T` of `n` bytes.
        unsafe { dst.cast::<T>().write_unaligned(a) };
        // SAFETY: the offset is within the `n` bytes.
        let tail = unsafe { dst.add(last) };
        // SAFETY: the last `T` of `n` bytes.
        unsafe { tail.cast::<T>().write_unaligned(b) };
    }
    use core::arch::x86_64::__m128i;
    match n {
        // SAFETY: passed on, with the size as asked, in every arm.
        16..=32 => unsafe { ends::<__m128i>(dst, src, n) },
        // SAFETY: as above.
        8..16 => unsafe { ends::<u64>(dst, src, n) },
        // SAFETY: as above.
        4..8 => unsafe { ends::<u32>(dst, src, n) },
        // SAFETY: as above.
        2..4 => unsafe { ends::<u16>(dst, src, n) },
        // SAFETY: as above.
        1 => unsafe { ends::<u8>(dst, src, n) },
        _ => {}
    }
}

/// Copies forwards, `n` of more than 32 bytes. Right for overlaps where `dst` is below `src`.
///
/// # Safety
/// As for `memmove`.
#[inline(always)]
unsafe fn copy_forwards(dst: *mut u8, src: *const u8, n: usize) {
    // The last 32 bytes are read first and written last: they make up for what does not fill a round.
    // SAFETY: within `n` bytes, as the caller promises, on each access; only the declared registers change.
    unsafe {
        asm!(
            "movups {t0}, [{s} + {n} - 32]",
            "movups {t1}, [{s} + {n} - 16]",
            "lea {e}, [{d} + {n}]",
            "sub {n}, 32",
            "sub {n}, 64",
            "jb 3f",
            "2:",
            "movups {a}, [{s}]",
            "movups {b}, [{s} + 16]",
            "movups {x}, [{s} + 32]",
            "movups {y}, [{s} + 48]",
            "movups [{d}], {a}",
            "movups [{d} + 16], {b}",
            "movups [{d} + 32], {x}",
            "movups [{d} + 48], {y}",
            "add {s}, 64",
            "add {d}, 64",
            "sub {n}, 64",
            "jae 2b",
            "3:",
            "add {n}, 64",
            "jz 5f",
            "cmp {n}, 32",
            "jbe 4f",
            "movups {a}, [{s}]",
            "movups {b}, [{s} + 16]",
            "movups {x}, [{s} + 32]",
            "movups {y}, [{s} + 48]",
            "movups [{d}], {a}",
            "movups [{d} + 16], {b}",
            "movups [{d} + 32], {x}",
            "movups [{d} + 48], {y}",
            "jmp 5f",
            "4:",
            "movups {a}, [{s}]",
            "movups {b}, [{s} + 16]",
            "movups [{d}], {a}",
            "movups [{d} + 16], {b}",
            "5:",
            "movups [{e} - 32], {t0}",
            "movups [{e} - 16], {t1}",
            s = inout(reg) src => _,
            d = inout(reg) dst => _,
            n = inout(reg) n => _,
            e = out(reg) _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            x = out(xmm_reg) _,
            y = out(xmm_reg) _,
            t0 = out(xmm_reg) _,
            t1 = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// Copies forwards, `n` of more than 32 bytes, by what the processor has. Right for overlaps where `dst` is below `src`.
///
/// # Safety
/// As for `memmove`.
#[inline(always)]
unsafe fn copy_long(dst: *mut u8, src: *const u8, n: usize) {
    // SAFETY: the caller's promise.
    let done = unsafe { copy_wide(dst, src, n) };
    let (dst, src, n) = (dst.wrapping_add(done), src.wrapping_add(done), n - done);
    if n > 32 {
        // SAFETY: what is left of both.
        unsafe { copy_forwards(dst, src, n) };
    } else {
        // SAFETY: as above.
        unsafe { copy_small(dst, src, n) };
    }
}

/// Copies whole blocks of 64 bytes, as many as there are in `n`, and says how many bytes that was. For memory that changes by
/// itself: to the compiler that is out of bounds, so it is told nothing of it.
///
/// # Safety
/// `src` can be read and `dst` written, `n` bytes each; the two do not overlap.
pub(crate) unsafe fn copy_blocks(dst: *mut u8, src: *const u8, n: usize) -> usize {
    // SAFETY: the caller's promise.
    let done = unsafe { copy_wide(dst, src, n) };
    let bytes = (n - done) / 64 * 64;
    if bytes > 0 {
        // SAFETY: within `n` bytes on each access, as the caller promises; only the declared registers change.
        unsafe {
            asm!(
                "2:",
                "movups {a}, [{s} + {i}]",
                "movups {b}, [{s} + {i} + 16]",
                "movups {x}, [{s} + {i} + 32]",
                "movups {y}, [{s} + {i} + 48]",
                "movups [{d} + {i}], {a}",
                "movups [{d} + {i} + 16], {b}",
                "movups [{d} + {i} + 32], {x}",
                "movups [{d} + {i} + 48], {y}",
                "add {i}, 64",
                "jnz 2b",
                s = in(reg) src.wrapping_add(done + bytes),
                d = in(reg) dst.wrapping_add(done + bytes),
                i = inout(reg) bytes.wrapping_neg() => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                x = out(xmm_reg) _,
                y = out(xmm_reg) _,
                options(nostack),
            );
        }
    }
    done + bytes
}

/// Copies backwards, `n` of more than 32 bytes. Right for overlaps where `dst` is above `src`.
///
/// # Safety
/// As for `memmove`.
#[inline(always)]
unsafe fn copy_backwards(dst: *mut u8, src: *const u8, n: usize) {
    // The first 32 bytes are read first and written last.
    // SAFETY: as for `copy_forwards`.
    unsafe {
        asm!(
            "movups {t0}, [{s}]",
            "movups {t1}, [{s} + 16]",
            "sub {n}, 32",
            "2:",
            "movups {a}, [{s} + {n}]",
            "movups {b}, [{s} + {n} + 16]",
            "movups [{d} + {n}], {a}",
            "movups [{d} + {n} + 16], {b}",
            "sub {n}, 32",
            "ja 2b",
            "movups [{d}], {t0}",
            "movups [{d} + 16], {t1}",
            s = in(reg) src,
            d = in(reg) dst,
            n = inout(reg) n => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            t0 = out(xmm_reg) _,
            t1 = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// Copies `n` bytes from `src` to `dst`; the two may overlap.
///
/// # Safety
/// `src` valid for reads and `dst` for writes of `n` bytes.
#[cfg_attr(xenlet = "xen", unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memmove(dst: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    if n <= 32 {
        // SAFETY: the caller's promise.
        unsafe { copy_small(dst, src, n) };
    } else if dst.addr().wrapping_sub(src.addr()) >= n {
        // SAFETY: the caller's promise; `dst` is below `src` or the two do not overlap.
        unsafe { copy_long(dst, src, n) };
    } else {
        // SAFETY: the caller's promise; `dst` is above `src`.
        unsafe { copy_backwards(dst, src, n) };
    }
    dst
}

/// Copies `n` bytes from `src` to `dst`.
///
/// # Safety
/// `src` valid for reads and `dst` for writes of `n` bytes; the two do not overlap.
#[cfg_attr(xenlet = "xen", unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memcpy(dst: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    if n <= 32 {
        // SAFETY: the caller's promise.
        unsafe { copy_small(dst, src, n) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { copy_long(dst, src, n) };
    }
    dst
}

/// Fills `n` bytes at `dst` with the low byte of `value`.
///
/// # Safety
/// `dst` valid for writes of `n` bytes.
#[cfg_attr(xenlet = "xen", unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memset(dst: *mut u8, value: i32, n: usize) -> *mut u8 {
    let word = u64::from(value.cast_unsigned() & 0xff) * 0x0101_0101_0101_0101;
    let start = dst;
    // SAFETY: the caller's promise.
    let done = unsafe { fill_wide(dst, word, n) };
    let (dst, n) = (dst.wrapping_add(done), n - done);
    let pair = [word; 4];
    let pair = (&raw const pair).cast::<u8>();
    if n <= 32 {
        // SAFETY: the caller's promise; the pattern has 32 bytes.
        unsafe { copy_small(dst, pair, n) };
        return start;
    }
    // SAFETY: within `n` bytes on each store: whole 32s from the front, then the last 32.
    unsafe {
        asm!(
            "movups {a}, [{p}]",
            "lea {e}, [{d} + {n}]",
            "2:",
            "movups [{d}], {a}",
            "movups [{d} + 16], {a}",
            "add {d}, 32",
            "sub {n}, 32",
            "cmp {n}, 32",
            "ja 2b",
            "movups [{e} - 32], {a}",
            "movups [{e} - 16], {a}",
            p = in(reg) pair,
            d = inout(reg) dst => _,
            n = inout(reg) n => _,
            e = out(reg) _,
            a = out(xmm_reg) _,
            options(nostack),
        );
    }
    start
}

/// Compares `n` bytes: less than, equal to or greater than 0, as the first difference is.
///
/// # Safety
/// Both valid for reads of `n` bytes.
#[cfg_attr(xenlet = "xen", unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    let mut at = 0;
    while at + 8 <= n {
        let (x, y) = (a.wrapping_add(at), b.wrapping_add(at));
        // SAFETY: 8 bytes from there are within `n`.
        let x = unsafe { x.cast::<u64>().read_unaligned() };
        // SAFETY: as above.
        let y = unsafe { y.cast::<u64>().read_unaligned() };
        if x != y {
            return if x.swap_bytes() < y.swap_bytes() {
                -1
            } else {
                1
            };
        }
        at += 8;
    }
    while at < n {
        let (x, y) = (a.wrapping_add(at), b.wrapping_add(at));
        // SAFETY: within `n` bytes; volatile, so that this loop is not taken for `memcmp` itself.
        let x = unsafe { x.read_volatile() };
        // SAFETY: as above.
        let y = unsafe { y.read_volatile() };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
        at += 1;
    }
    0
}

/// As [`memcmp`], for equality alone.
///
/// # Safety
/// As for [`memcmp`].
#[cfg_attr(xenlet = "xen", unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(a, b, n) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As at boot, where there is AVX.
    fn avx() {
        if std::is_x86_feature_detected!("avx") {
            // SAFETY: just asked.
            unsafe { use_avx() };
        }
    }

    proptest! {
        #[test]
        fn copies(len in 0usize..1200, from in 0usize..1200, to in 0usize..1200) {
            avx();
            let mut ours: Vec<u8> = (0..2400).map(|i| (i % 251) as u8).collect();
            let mut theirs = ours.clone();
            let (dst, src) = (ours.as_mut_ptr().wrapping_add(to), ours.as_ptr().wrapping_add(from));
            // SAFETY: all within 2,400 bytes.
            unsafe { memmove(dst, src, len) };
            theirs.copy_within(from..from + len, to);
            prop_assert_eq!(&ours, &theirs);
            let mut fresh = vec![0; 2400];
            let (dst, src) = (fresh.as_mut_ptr().wrapping_add(to), ours.as_ptr().wrapping_add(from));
            // SAFETY: different buffers, all within 2,400 bytes.
            unsafe { memcpy(dst, src, len) };
            prop_assert_eq!(&fresh[to..to + len], &ours[from..from + len]);
            prop_assert!(fresh[..to].iter().chain(&fresh[to + len..]).all(|b| *b == 0));
        }

        #[test]
        fn fills(len in 0usize..1200, at in 0usize..64, value: u8) {
            avx();
            let mut ours = vec![value.wrapping_add(1); 1300];
            let mut theirs = ours.clone();
            let dst = ours.as_mut_ptr().wrapping_add(at);
            // SAFETY: within 1,300 bytes.
            unsafe { memset(dst, value.into(), len) };
            theirs[at..at + len].fill(value);
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn compares(a in prop::collection::vec(0u8..3, 0..80), b in prop::collection::vec(0u8..3, 0..80)) {
            let n = a.len().min(b.len());
            // SAFETY: both have `n` bytes.
            let ours = unsafe { memcmp(a.as_ptr(), b.as_ptr(), n) };
            prop_assert_eq!(ours.signum(), a[..n].cmp(&b[..n]) as i32);
            // SAFETY: both have `n` bytes.
            prop_assert_eq!(unsafe { bcmp(a.as_ptr(), b.as_ptr(), n) } == 0, a[..n] == b[..n]);
        }
    }
}
