//! Exceptions: each ends the domain, with a report of what happened, where, and how the program came there.
//!
//! Xen pushes `rcx` and `r11` below the processor's own frame, on the stack that was in use (`xen/arch-x86/xen.h`).
//! `cargo xtask symbolize` turns the addresses of a report into functions and lines.

use super::{hypercall, pagetable, shared};
use crate::{console, crash};
use core::arch::{asm, global_asm};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use xen_sys::trap_info;

/// `FLAT_KERNEL_CS64`.
const KERNEL_CS: u16 = 0xe033;
/// Exceptions that a guest can be sent: the first 20, without the reserved one.
const VECTORS: usize = 20;

/// What is on the stack when `report` runs: pushed by us, then by Xen, then by the processor's rules.
#[repr(C)]
struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rbx: u64,
    rax: u64,
    vector: u64,
    rcx: u64,
    r11: u64,
    /// `[error code], rip, cs, rflags, rsp, ss`.
    rest: [u64; 6],
}

global_asm!(
    // One entry a vector, 16 bytes apart: note the number, go to the common part.
    ".balign 16",
    "xenlet_traps:",
    ".set vector, 0",
    ".rept {vectors}",
    "    .balign 16",
    "    push vector",
    "    jmp 2f",
    "    .set vector, vector + 1",
    ".endr",
    "2:",
    "    push rax; push rbx; push rdx; push rsi; push rdi; push rbp",
    "    push r8; push r9; push r10; push r12; push r13; push r14; push r15",
    "    mov rdi, rsp",
    "    and rsp, -16",
    "    cld",
    "    call {report}",
    vectors = const VECTORS,
    report = sym report,
);

unsafe extern "C" {
    static xenlet_traps: [u8; 0];
}

/// Tells Xen where to go for each exception.
pub(super) fn install() {
    let base = (&raw const xenlet_traps).addr() as u64;
    let empty = trap_info {
        vector: 0,
        flags: 0,
        cs: 0,
        address: 0,
    };
    let mut table = [empty; VECTORS + 1];
    for (vector, entry) in (0u8..).zip(table.iter_mut().take(VECTORS)) {
        // Ring 3 may raise the breakpoint and overflow exceptions by instruction.
        let flags = if matches!(vector, 3 | 4) { 3 } else { 0 };
        *entry = trap_info {
            vector,
            flags,
            cs: KERNEL_CS,
            address: base + 16 * u64::from(vector),
        };
    }
    if let Err(e) = hypercall::set_trap_table(&table) {
        panic!("Xen refuses the trap table: {e}");
    }
}

const fn has_error_code(vector: u64) -> bool {
    matches!(vector, 8 | 10..=14 | 17)
}

const fn name(vector: u64) -> &'static str {
    match vector {
        0 => "division by zero",
        1 => "debug exception",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid instruction",
        7 => "no floating-point unit",
        8 => "double fault",
        10 => "invalid task state",
        11 => "segment not present",
        12 => "stack segment fault",
        13 => "general protection fault",
        14 => "page fault",
        16 => "floating-point exception",
        17 => "misaligned access",
        18 => "machine check",
        19 => "SIMD floating-point exception",
        _ => "reserved exception",
    }
}

/// Prints the report of an exception and ends the domain.
extern "C" fn report(frame: &Frame) -> ! {
    let (error, rest) = match has_error_code(frame.vector) {
        true => (Some(frame.rest[0]), &frame.rest[1..]),
        false => (None, &frame.rest[..5]),
    };
    let (rip, rflags, rsp) = (rest[0], rest[2], rest.get(3).copied().unwrap_or(0));
    // A jump to where no code is leaves the caller's address on top of the stack.
    let jumped = !pagetable::is_code(rip);
    crash(
        Place {
            rip,
            rbp: frame.rbp,
            rsp: jumped.then_some(rsp),
        },
        &|out| {
            let name = name(frame.vector);
            match (frame.vector, error) {
                (14, Some(error)) => {
                    let how = match error {
                        _ if error & 16 != 0 => "executing",
                        _ if error & 2 != 0 => "writing",
                        _ => "reading",
                    };
                    let why = if error & 1 != 0 {
                        "not allowed"
                    } else {
                        "not mapped"
                    };
                    out(format_args!(
                        "{name} {how} {:#018x} ({why})",
                        shared::fault_address()
                    ));
                }
                (_, Some(error)) => out(format_args!("{name}, error code {error:#x}")),
                (_, None) => out(format_args!("{name}")),
            }
        },
        &|line| {
            let f = frame;
            for [(a, av), (b, bv), (c, cv), (d, dv)] in [
                [
                    ("rax", f.rax),
                    ("rbx", f.rbx),
                    ("rcx", f.rcx),
                    ("rdx", f.rdx),
                ],
                [("rsi", f.rsi), ("rdi", f.rdi), ("rbp", f.rbp), ("rsp", rsp)],
                [("r8 ", f.r8), ("r9 ", f.r9), ("r10", f.r10), ("r11", f.r11)],
                [
                    ("r12", f.r12),
                    ("r13", f.r13),
                    ("r14", f.r14),
                    ("r15", f.r15),
                ],
            ] {
                line(format_args!(
                    "{a} {av:016x} {b} {bv:016x} {c} {cv:016x} {d} {dv:016x}"
                ));
            }
            line(format_args!("rflags {rflags:x}"));
        },
    )
}

/// Prints the report of a panic and ends the domain.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (rip, rbp): (u64, u64);
    // SAFETY: reads two registers.
    unsafe {
        asm!("lea {}, [rip]", "mov {}, rbp", out(reg) rip, out(reg) rbp, options(nomem, nostack, preserves_flags))
    };
    crash(
        Place {
            rip,
            rbp,
            rsp: None,
        },
        &|out| match info.location() {
            Some(at) => out(format_args!(
                "panicked at {}:{}:{}: {}",
                at.file(),
                at.line(),
                at.column(),
                info.message()
            )),
            None => out(format_args!("panicked: {}", info.message())),
        },
        &|_| (),
    )
}

/// What prints a line.
type Line<'a> = &'a dyn Fn(fmt::Arguments<'_>);

static CRASHING: AtomicBool = AtomicBool::new(false);

/// Where a crash happened.
struct Place {
    rip: u64,
    /// The innermost frame.
    rbp: u64,
    /// The top of the stack, if the caller's address is there and not yet in a frame.
    rsp: Option<u64>,
}

/// Says what happened (`what`, once), where, with what in the registers, and by which calls, and ends the domain as
/// crashed.
fn crash(
    Place { rip, rbp, rsp }: Place,
    what: &dyn Fn(Line<'_>),
    registers: &dyn Fn(Line<'_>),
) -> ! {
    // A crash while crashing: what has been said has to do.
    if !CRASHING.swap(true, Ordering::Relaxed) {
        what(&|text| say(format_args!("*** xenlet crash: {text}")));
        say(format_args!("*** at rip {rip:#018x}, build {}", BuildId));
        registers(&|text| say(format_args!("***   {text}")));
        say(format_args!("***   #0 {rip:#018x}"));
        backtrace(rbp, rsp, |number, address| {
            say(format_args!("***   #{number} {address:#018x}"));
        });
        say(format_args!(
            "*** end of report; ending the domain as crashed"
        ));
        crash::record(None);
        console::drain();
    }
    hypercall::shutdown(xen_sys::SHUTDOWN_crash)
}

/// Says a line to all who hear of a crash.
fn say(line: fmt::Arguments<'_>) {
    console::write_line(line);
    crash::record(Some(line));
}

unsafe extern "C" {
    static _stack_bottom: [u8; 0];
    static _stack_top: [u8; 0];
    static _build_id: [u8; 0];
}

/// Walks the chain of frame pointers: each frame is the caller's `rbp` and the address to return to. What is not on
/// the stack, or does not lead upwards, ends the walk.
fn backtrace(mut rbp: u64, rsp: Option<u64>, mut line: impl FnMut(u32, u64)) {
    let mut number = 0;
    let mut line = |address| {
        number += 1;
        line(number, address);
    };
    if let Some(caller) = rsp.and_then(stack_word) {
        line(caller);
    }
    for _ in 0..64 {
        let (Some(caller), Some(address)) = (stack_word(rbp), stack_word(rbp + 8)) else {
            return;
        };
        if address == 0 {
            return;
        }
        line(address);
        if caller <= rbp {
            return;
        }
        rbp = caller;
    }
}

/// The word at `address`, if that is on the stack.
fn stack_word(address: u64) -> Option<u64> {
    let (bottom, top) = (
        (&raw const _stack_bottom).addr(),
        (&raw const _stack_top).addr(),
    );
    let address = usize::try_from(address).ok()?;
    if address < bottom || address > top - 8 || !address.is_multiple_of(8) {
        return None;
    }
    let word = core::ptr::with_exposed_provenance::<u64>(address);
    // SAFETY: just checked to be on the stack, which is mapped.
    Some(unsafe { word.read_volatile() })
}

/// The image's build id, from the linker's note: a head of 16 bytes (`4, 20, 3, "GNU"`), then 20 bytes.
struct BuildId;

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for i in 0..20 {
            let place = (&raw const _build_id).cast::<u8>().wrapping_add(16 + i);
            // SAFETY: the linker script keeps the note, which has these bytes.
            let byte = unsafe { place.read_volatile() };
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
