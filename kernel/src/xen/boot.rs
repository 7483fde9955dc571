//! From Xen's first jump to the application: entry, ELF notes, and the order in which things come into being.
//!
//! Start of day (`xen/arch-x86/xen.h`, `start_info`): the image is loaded, `rsi` points at `start_info`, the stack is one
//! that the builder made, events are masked, exceptions have no handlers, and only the first few MiB are mapped.

use super::{hypercall, pagetable, trap};
use crate::addr::{Mfn, Pfn};
use crate::suspend::Resumed;
use crate::time::Instant;
use crate::timeline;
use core::arch::global_asm;
use core::cell::Cell;
use core::ptr::NonNull;
use xen_sys::start_info;

/// What this guest is to Xen: `XEN_ELFNOTE_*` of `xen/elfnote.h`, each `namesz, descsz, type, "Xen", desc`.
macro_rules! note {
    (text $ty:literal, $text:literal) => {
        concat!(
            ".balign 4\n.long 4, 2f - 1f, ",
            $ty,
            "\n.asciz \"Xen\"\n1: .asciz \"",
            $text,
            "\"\n2: .balign 4\n"
        )
    };
    (word $ty:literal, $value:literal) => {
        concat!(
            ".balign 4\n.long 4, 8, ",
            $ty,
            "\n.asciz \"Xen\"\n.quad ",
            $value,
            "\n"
        )
    };
}

global_asm!(
    ".pushsection .note.Xen, \"a\", @note",
    note!(text 6, "xenlet"),         // GUEST_OS
    note!(text 5, "xen-3.0"),        // XEN_VERSION: the interface, unchanged since 3.0
    note!(text 8, "generic"),        // LOADER
    note!(text 9, "yes"),            // PAE_MODE
    note!(text 10, ""),              // FEATURES: none that need Xen's help
    note!(word 14, "1"), // SUSPEND_CANCEL: the result of a suspension says whether it is the same domain
    note!(word 1, "_start"), // ENTRY
    note!(word 2, "hypercall_page"), // HYPERCALL_PAGE
    note!(word 3, "_image_start"), // VIRT_BASE: where pseudo-physical page 0 is mapped
    note!(word 4, "_image_start"), // PADDR_OFFSET: the image's physical addresses are its virtual ones
    ".popsection",
);

global_asm!(
    ".pushsection .text.xen.entry, \"ax\", @progbits",
    ".globl _start",
    "_start:",
    "    cld",
    "    mov rdi, rsi",            // start_info
    "    mov rsi, rsp",            // the builder's stack: memory behind it is free
    "    lea rsp, [rip + _stack_top]",
    "    xor ebp, ebp",            // backtraces end here
    "    call {start}",
    "    ud2",
    ".popsection",
    start = sym start,
);

local! {
    static START_INFO: Cell<Option<NonNull<start_info>>> = Cell::new(None);
}

/// The page that the toolstack filled for us.
pub(super) fn info() -> &'static start_info {
    let Some(info) = START_INFO.with(Cell::get) else {
        panic!("start_info is asked for before boot")
    };
    // SAFETY: set once by `start` to the page that Xen mapped, which stays mapped. It is written only while the domain is
    // suspended, when nobody has a reference to it.
    unsafe { info.as_ref() }
}

/// Suspends the domain, and says how it goes on. The toolstack finds the console's and xenstore's page by our own numbers for them,
/// and on the way back writes their new frames.
pub(super) fn suspend() -> Resumed {
    let Some(info) = START_INFO.with(Cell::get) else {
        panic!("start_info is asked for before boot")
    };
    let place = info.as_ptr();
    // SAFETY: a field of the page, which stays mapped.
    let store = unsafe { &raw mut (*place).store_mfn };
    // SAFETY: as above; a domU's start_info has the domU's half of the union.
    let console = unsafe { &raw mut (*place).console.domU.mfn };
    for page in [store, console] {
        // SAFETY: as above, and nobody has a reference to it now.
        let mfn = unsafe { page.read_volatile() };
        // SAFETY: as above.
        unsafe { page.write_volatile(pagetable::pfn(Mfn(mfn)).0 as u64) };
    }
    // SAFETY: the caller gave up what was shared; what comes back is read anew.
    let in_place =
        unsafe { hypercall::suspend(pagetable::mfn(pagetable::pfn_of(info.addr().get()))) };
    if !in_place {
        return Resumed::Restored;
    }
    for page in [store, console] {
        // SAFETY: as above.
        let pfn = unsafe { page.read_volatile() };
        // SAFETY: as above.
        unsafe { page.write_volatile(pagetable::mfn(Pfn(pagetable::usize_of(pfn))).0) };
    }
    Resumed::InPlace
}

/// Checks that what we were given is what Xen gives a 64-bit PV guest.
fn check(info: &start_info) -> Result<(), &'static str> {
    let magic: [u8; 32] = info.magic.map(i8::cast_unsigned);
    if !magic.starts_with(b"xen-3.")
        || !magic.starts_with(b"xen-3.0-x86_64") && !magic.starts_with(b"xen-3.1-x86_64")
    {
        return Err("start_info: the magic is not that of Xen for a 64-bit PV guest");
    }
    if info.nr_pages < 768 {
        return Err("start_info: fewer than 3 MiB; give the guest memory=3 or more");
    }
    if info.shared_info == 0 || !info.shared_info.is_multiple_of(4096) {
        return Err("start_info: the shared info page has no page's address");
    }
    if info.pt_base == 0 || info.mfn_list == 0 {
        return Err("start_info: there is no page table or no frame list");
    }
    Ok(())
}

/// The first Rust code of a domain.
extern "C" fn start(info: NonNull<start_info>, builders_stack: usize) -> ! {
    let entered = super::clock::tsc();
    START_INFO.with(|s| s.set(Some(info)));
    trap::install();
    // SAFETY: Xen's promise for `rsi`; `check` looks at what it says before anything is done with it.
    if let Err(what) = check(unsafe { info.as_ref() }) {
        panic!("{what}");
    }
    super::shared::map();
    timeline::start(Instant::from_nanos(super::clock::at(entered)));
    super::cpu::start();
    hypercall::stop_periodic_timer();
    pagetable::protect();
    super::heap::start(builders_stack.next_multiple_of(4096));
    timeline::mark("memory");
    crate::console::start();
    crate::xenstore::start();
    timeline::mark("kernel");
    log::info!(
        "xenlet {}, {} MiB",
        env!("CARGO_PKG_VERSION"),
        self::info().nr_pages / 256
    );
    unsafe extern "Rust" {
        safe fn xenlet_main() -> !;
    }
    xenlet_main()
}
