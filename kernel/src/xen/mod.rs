//! The seam, on Xen: hypercalls, the shared info page, page tables and traps.

mod boot;
mod clock;
mod cpu;
mod heap;
mod hypercall;
mod libc;
mod memory;
mod pagetable;
mod pvclock;
mod random;
mod shared;
mod trap;
mod unwind;

use crate::abi::grant_table::{self, EntryV1, SetupTable};
use crate::addr::{DomId, Mfn, Port};
use crate::memory::Stats;
use crate::page::{Page, Window};
use crate::suspend::Resumed;
use crate::time::{Duration, Instant};
use crate::{abi, event, shutdown::Reason};
use alloc::string::String;
use core::cell::Cell;
use core::ptr::NonNull;

/// One thread needs no waking.
pub(crate) struct ThreadWaker;

impl ThreadWaker {
    #[allow(clippy::unused_self, reason = "the same shape as on the host")]
    pub(crate) const fn wake(&self) {}
}

pub(crate) const fn thread_waker() -> ThreadWaker {
    ThreadWaker
}

pub(crate) fn monotonic_ns() -> u64 {
    clock::now()
}

pub(crate) fn wall() -> Option<Duration> {
    clock::wall()
}

pub(crate) fn random() -> Option<u64> {
    random::random()
}

/// The module that the builder put between the image and the frame list; once.
pub(crate) fn take_boot_module() -> Result<Option<&'static mut [u8]>, String> {
    local! {
        static TAKEN: Cell<bool> = Cell::new(false);
    }
    let info = boot::info();
    if info.mod_len == 0 || TAKEN.with(|taken| taken.replace(true)) {
        return Ok(None);
    }
    let (start, len) = (info.mod_start, info.mod_len);
    let end = start.checked_add(len).filter(|end| {
        // In an order that `link.ld` and the builder have between them, all of it mapped by now.
        start >= pagetable::image().2 as u64 && *end <= info.mfn_list
    });
    let place = end
        .and(usize::try_from(start).ok())
        .zip(usize::try_from(len).ok());
    let Some((start, len)) = place else {
        return Err(String::from(
            "start_info: the boot module is not where modules are",
        ));
    };
    let start = core::ptr::with_exposed_provenance_mut(start);
    // SAFETY: pages behind the image and before the frame list, which the builder mapped for this and nobody else uses;
    // they are given away once.
    Ok(Some(unsafe { core::slice::from_raw_parts_mut(start, len) }))
}

/// What `link.ld` keeps out of the file; once.
pub(crate) fn take_computed() -> Option<&'static mut [u64]> {
    local! {
        static TAKEN: Cell<bool> = Cell::new(false);
    }
    unsafe extern "C" {
        static mut _computed_start: [u64; 0];
        static _computed_end: [u64; 0];
    }
    let start = &raw mut _computed_start;
    let len = ((&raw const _computed_end).addr() - start.addr()) / size_of::<u64>();
    if len == 0 || TAKEN.with(|taken| taken.replace(true)) {
        return None;
    }
    // SAFETY: words of the image between its data and its zeros, writable, given away once. Code that has them as constants
    // reads them only after they were filled, which the caller sees to.
    Some(unsafe { core::slice::from_raw_parts_mut(start.cast(), len) })
}

pub(crate) fn memory_stats() -> Option<Stats> {
    Some(heap::stats())
}

/// The command line of `start_info`, up to its NUL; what is not UTF-8 of it is replaced.
pub(crate) fn command_line() -> String {
    let bytes: alloc::vec::Vec<u8> = boot::info()
        .cmd_line
        .iter()
        .map(|c| c.cast_unsigned())
        .take_while(|c| *c != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sleeps until an event or the deadline.
pub(crate) fn wait(deadline: Option<Instant>) -> bool {
    let deadline_ns = match deadline {
        Some(deadline) if deadline <= crate::time::round() => return true,
        Some(deadline) => poll_timeout(deadline),
        None => 0,
    };
    event::with_ports(|ports| hypercall::poll(ports, deadline_ns));
    true
}

/// A deadline of ours as `SCHEDOP_poll` takes it.
fn poll_timeout(deadline: Instant) -> u64 {
    match deadline.as_nanos() {
        // The end of time is the end of Xen's, too.
        ns if ns > i64::MAX.cast_unsigned() => 0,
        ns => pvclock::poll_timeout(clock::system_time(ns)),
    }
}

/// Suspends the domain, and says how it goes on. `frames` are where those of the grant table are mapped: a domain that is saved may
/// have nothing mapped that is not its own.
pub(crate) fn suspend(frames: &[NonNull<EntryV1>]) -> Resumed {
    crate::console::drain();
    for frame in frames {
        // SAFETY: nobody looks at the table before it is mapped again.
        let unmapped = unsafe { hypercall::update_va_mapping(frame.addr().get(), 0) };
        assert!(unmapped.is_ok(), "the grant table stays mapped");
    }
    let stopped = clock::now();
    shared::unmap();
    let how = boot::suspend();
    shared::map();
    clock::go_on(stopped);
    hypercall::stop_periodic_timer();
    for (index, frame) in (0..).zip(frames) {
        assert!(
            map_grant_frame(index, *frame).is_some(),
            "the grant table is gone"
        );
    }
    how
}

/// Nothing to do between two rounds: the others run by themselves.
pub(crate) const fn relax() {}

/// Has the domain ended unless this is said again within `seconds`. `id` is 0 for a new watchdog, whose number is returned.
pub(crate) fn watchdog(id: u32, seconds: u32) -> Option<u32> {
    hypercall::watchdog(id, seconds)
}

/// Ends the domain.
pub(crate) fn shutdown(reason: Reason) -> ! {
    crate::console::drain();
    hypercall::shutdown(reason.code())
}

pub(crate) fn frame_of(page: NonNull<u8>) -> Mfn {
    pagetable::mfn(pagetable::pfn_of(page.addr().get()))
}

/// Nothing to do: pages are wiped before they are shared, not after they were used.
pub(crate) fn pages_freed(_base: NonNull<u8>, _count: usize) {}

/// Nothing to do: they are not used again.
pub(crate) fn pages_leaked(_base: NonNull<u8>, _count: usize) {}

pub(crate) use memory::{give_pages, take_pages};

pub(crate) fn evtchn_alloc_unbound(peer: DomId) -> Option<Port> {
    hypercall::alloc_unbound(peer.0).ok().map(Port)
}

pub(crate) fn evtchn_send(port: Port) {
    hypercall::send(port.0);
}

pub(crate) fn evtchn_close(port: Port) {
    hypercall::close(port.0);
}

pub(crate) fn take_pending(port: Port) -> bool {
    shared::take_pending(port.0)
}

/// Most frames of grant table that are asked for: Xen's default limit.
const MAX_GRANT_FRAMES: u32 = 64;

/// Frame `index` of the grant table, mapped over a page of the heap that is given up for it.
pub(crate) fn grant_frame(index: u32) -> Option<NonNull<EntryV1>> {
    let mut page = Page::new().ok()?;
    let place = NonNull::from(&mut *page).cast::<EntryV1>();
    map_grant_frame(index, place)?;
    // Given up: its address shows the table's frame from now on.
    core::mem::forget(page);
    Some(place)
}

/// Maps frame `index` of the grant table over the page at `place`, which is given up for it.
fn map_grant_frame(index: u32, place: NonNull<EntryV1>) -> Option<()> {
    let nr_frames = (index + 1).min(MAX_GRANT_FRAMES);
    let mut frames = [0; MAX_GRANT_FRAMES as usize];
    let mut op = SetupTable {
        dom: hypercall::DOMID_SELF,
        nr_frames,
        status: -1,
        frame_list: frames.as_mut_ptr(),
    };
    // SAFETY: the structure of this command; its list has room for `nr_frames`.
    unsafe { hypercall::grant_table_op(grant_table::OP_SETUP_TABLE, &mut op) }.ok()?;
    let frame = *core::hint::black_box(&frames).get(index as usize)?;
    if core::hint::black_box(&op).status != 0 || frame == 0 {
        return None;
    }
    // SAFETY: the page is ours and is never used as memory of the heap again.
    unsafe { hypercall::update_va_mapping(place.addr().get(), frame << 12 | pagetable::DATA) }.ok()
}

/// A page that the toolstack made, by its frame, if it gave one.
fn toolstack_page(mfn: u64, len: usize) -> Option<Window> {
    let page = core::ptr::with_exposed_provenance_mut(pagetable::address_of(Mfn(mfn)));
    NonNull::new(page)
        .filter(|_| mfn != 0)
        .map(|page| Window::new(page, len))
}

/// The console's page, and the port that its events come by.
pub(crate) fn console() -> Option<(Window, Port)> {
    // SAFETY: a domU's start_info has the domU's half of the union.
    let console = unsafe { boot::info().console.domU };
    Some((
        toolstack_page(console.mfn, size_of::<abi::console::Interface>())?,
        Port(console.evtchn),
    ))
}

pub(crate) use pause as console_pause;

/// Gives other domains the processor for a moment.
pub(crate) fn pause() {
    let deadline = crate::time::now() + Duration::from_millis(1);
    hypercall::poll(&[], poll_timeout(deadline));
}

/// A line for when there is no console.
pub(crate) fn early_line(text: &[u8]) {
    hypercall::console_io(text);
}

/// The page shared with xenstored, and the port that its events come by.
pub(crate) fn xenstore() -> Option<(Window, Port)> {
    let info = boot::info();
    Some((
        toolstack_page(info.store_mfn, size_of::<abi::xs_wire::DomainInterface>())?,
        Port(info.store_evtchn),
    ))
}
