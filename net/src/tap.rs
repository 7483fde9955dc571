//! Taps: whoever wants to see the frames of an interface, as they come from its backend and go to it.
//!
//! A frame that is sent may be many segments, and its checksum be left to the backend: then what is seen of it is a frame of up to
//! 64 KiB with a checksum that covers no more than its pseudo-header.

use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use xenlet_kernel::local;
use xenlet_kernel::metrics::ENABLED;

/// Where a frame is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the guest.
    In,
    /// From the guest.
    Out,
}

/// Sees frames.
pub trait Tap {
    /// Sees a frame. It is called in the midst of the interface's work, and may do nothing with the network.
    fn frame(&self, way: Way, frame: &[u8]);
}

local! {
    static TAPS: RefCell<Vec<(u32, Weak<dyn Tap>)>> = RefCell::new(Vec::new());
}
local! {
    /// Whether there is any: all that is looked at for a frame that nobody wants to see.
    static ANY: Cell<bool> = Cell::new(false);
}

/// Has `tap` see the frames of vif `number` for as long as it is there. Nothing is seen without kernel's feature `inspect`.
pub fn tap(number: u32, tap: &Rc<impl Tap + 'static>) {
    if ENABLED {
        let tap: Weak<dyn Tap> = Rc::downgrade(tap) as _;
        TAPS.with(|taps| taps.borrow_mut().push((number, tap)));
        ANY.with(|any| any.set(true));
    }
}

/// Shows a frame of vif `number` to those who want to see it.
#[cfg(not(xenlet = "unix"))]
#[inline]
pub(crate) fn show(number: u32, way: Way, frame: &[u8]) {
    if ENABLED && ANY.with(Cell::get) {
        show_all(number, way, frame);
    }
}

#[cfg(not(xenlet = "unix"))]
#[inline(never)]
fn show_all(number: u32, way: Way, frame: &[u8]) {
    TAPS.with(|taps| {
        let mut taps = taps.borrow_mut();
        taps.retain(|(tapped, tap)| {
            let Some(tap) = tap.upgrade() else {
                return false;
            };
            if *tapped == number {
                tap.frame(way, frame);
            }
            true
        });
        ANY.with(|any| any.set(!taps.is_empty()));
    });
}
