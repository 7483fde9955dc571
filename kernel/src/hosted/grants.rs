//! What Xen does with a grant table: let a backend map what the guest has granted, and nothing else.

use super::{DOM0, machine, stale};
use crate::abi::grant_table::{
    ENTRIES_PER_FRAME, EntryV1, PERMIT_ACCESS, READING, READONLY, RESERVED_ENTRIES, WRITING,
};
use crate::addr::{GrantRef, Mfn, PAGE_SIZE};
use crate::page::Window;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// Xen's default limit (`gnttab_max_frames`).
const MAX_FRAMES: usize = 64;

/// One frame of the guest's grant table.
#[repr(C, align(4096))]
struct Frame([EntryV1; ENTRIES_PER_FRAME as usize]);

const EMPTY: EntryV1 = EntryV1 {
    flags: 0,
    domid: 0,
    frame: 0,
};

#[derive(Default)]
pub(crate) struct Tables {
    frames: Vec<NonNull<Frame>>,
    /// Frame numbers of the pages of this process: an address does not fit the 32 bits of a grant entry.
    numbers: HashMap<usize, u32>,
    pages: Vec<NonNull<u8>>,
    /// How often each grant is mapped.
    mapped: HashMap<u32, u32>,
}

impl Drop for Tables {
    fn drop(&mut self) {
        for frame in self.frames.drain(..) {
            // SAFETY: made by `Box::leak` in `frame`, and nothing runs in the domain any more.
            drop(unsafe { Box::from_raw(frame.as_ptr()) });
        }
    }
}

impl Tables {
    /// Empties the table, as a new domain finds it.
    pub(super) fn forget(&mut self) {
        for frame in &mut self.frames {
            // SAFETY: made by `Box::leak` in `frame`; the guest is this thread, and looks at no entry now.
            let entries = unsafe { frame.as_mut() };
            entries.0.fill(EMPTY);
        }
        self.mapped.clear();
    }

    /// Frame `index` of the table, made if it is the next one (`GNTTABOP_setup_table`).
    pub(super) fn frame(&mut self, index: u32) -> Option<NonNull<EntryV1>> {
        let index = index as usize;
        if index == self.frames.len() && index < MAX_FRAMES {
            self.frames.push(NonNull::from(Box::leak(Box::new(Frame(
                [EMPTY; ENTRIES_PER_FRAME as usize],
            )))));
        }
        self.frames.get(index).map(|frame| frame.cast())
    }

    /// The number of the frame at `page`.
    pub(super) fn frame_of(&mut self, page: NonNull<u8>) -> Mfn {
        let pages = &mut self.pages;
        let number = *self.numbers.entry(page.addr().get()).or_insert_with(|| {
            pages.push(page);
            u32::try_from(pages.len() - 1).unwrap_or(u32::MAX)
        });
        Mfn(number.into())
    }

    fn entry(&self, gref: GrantRef) -> Option<NonNull<EntryV1>> {
        if gref.0 < RESERVED_ENTRIES {
            return None;
        }
        let frame = self
            .frames
            .get((gref.0 / ENTRIES_PER_FRAME) as usize)?
            .cast::<EntryV1>();
        // SAFETY: below the entries of a frame.
        Some(unsafe { frame.add((gref.0 % ENTRIES_PER_FRAME) as usize) })
    }

    /// An entry that lets somebody reach a page, and the page.
    fn permitted(&self, gref: GrantRef) -> Option<(EntryV1, NonNull<u8>)> {
        // SAFETY: an entry of a live frame; the guest is this thread and writes no entry meanwhile.
        let entry = unsafe { self.entry(gref)?.as_ptr().read_volatile() };
        let page = *self.pages.get(entry.frame as usize)?;
        (entry.flags & 3 == PERMIT_ACCESS).then_some((entry, page))
    }

    fn flags(&self, gref: GrantRef) -> Option<&AtomicU16> {
        let flags = self.entry(gref)?.cast::<u16>();
        // SAFETY: the entry's first field, aligned, alive as long as `self`; an atomic may be shared.
        Some(unsafe { AtomicU16::from_ptr(flags.as_ptr()) })
    }
}

/// Why a backend may not map a grant (`GNTST_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantError {
    /// There is no such entry, or it permits nothing (`GNTST_bad_gntref`).
    BadGrant(GrantRef),
    /// It permits only reading (`GNTST_general_error`).
    ReadOnly(GrantRef),
    /// It permits another domain (`GNTST_permission_denied`).
    NotForUs(GrantRef),
}

/// Maps a grant of the guest into the backend, as dom0.
///
/// # Errors
/// When the entry does not permit it.
pub fn map_grant(gref: GrantRef, write: bool) -> Result<MappedPage, GrantError> {
    machine(|m| {
        let mut tables = m.grants.borrow_mut();
        let bad = GrantError::BadGrant(gref);
        let (
            EntryV1 {
                flags,
                domid,
                frame,
            },
            page,
        ) = tables.permitted(gref).ok_or(bad)?;
        if domid != DOM0.0 {
            return Err(GrantError::NotForUs(gref));
        }
        if write && flags & READONLY != 0 {
            return Err(GrantError::ReadOnly(gref));
        }
        let used = READING | if write { WRITING } else { 0 };
        tables
            .flags(gref)
            .ok_or(bad)?
            .fetch_or(used, Ordering::SeqCst);
        *tables.mapped.entry(gref.0).or_default() += 1;
        let window = Window::new(page, PAGE_SIZE);
        assert!(
            !stale::is_in(&window),
            "{gref:?}: a page was shared that was not wiped"
        );
        Ok(MappedPage {
            gref,
            life: m.life.get(),
            frame,
            window,
        })
    })
}

/// Looks at every page that a backend could map now.
///
/// # Panics
/// If one was not wiped before it was shared, or was freed while it is.
pub fn assert_wiped() {
    machine(|m| {
        let tables = m.grants.borrow();
        let entries = u32::try_from(tables.frames.len()).unwrap_or(0) * ENTRIES_PER_FRAME;
        for gref in (RESERVED_ENTRIES..entries).map(GrantRef) {
            if let Some((entry, page)) = tables.permitted(gref) {
                let window = Window::new(page, PAGE_SIZE);
                assert!(
                    !stale::is_in(&window),
                    "{gref:?} is of a page that nobody owns: {entry:?}"
                );
            }
        }
    });
}

/// A page of the guest that a backend has mapped. Unmapped when dropped.
#[derive(Debug)]
pub struct MappedPage {
    gref: GrantRef,
    /// The life of the domain that granted it.
    life: u32,
    /// What the entry said.
    frame: u32,
    window: Window,
}

impl AsRef<Window> for MappedPage {
    fn as_ref(&self) -> &Window {
        &self.window
    }
}

impl Drop for MappedPage {
    fn drop(&mut self) {
        // A domain that panicked takes its backends with it; there are no tables any more then.
        let _ = super::MACHINE.try_with(|machine| {
            let Some(machine) = machine.get().filter(|m| m.life.get() == self.life) else {
                return;
            };
            let mut tables = machine.grants.borrow_mut();
            if !std::thread::panicking() {
                let entry = tables.permitted(self.gref);
                assert!(
                    entry.is_some_and(
                        |(entry, _)| entry.frame == self.frame && entry.flags & READING != 0
                    ),
                    "{:?} was revoked while its page was mapped",
                    self.gref
                );
                assert!(
                    !stale::is_in(&self.window),
                    "{:?}: its page was freed while it was mapped",
                    self.gref
                );
            }
            let left = tables.mapped.get_mut(&self.gref.0).map_or(0, |n| {
                *n = n.saturating_sub(1);
                *n
            });
            if left == 0 {
                tables.mapped.remove(&self.gref.0);
                if let Some(flags) = tables.flags(self.gref) {
                    flags.fetch_and(!(READING | WRITING), Ordering::SeqCst);
                }
            }
        });
    }
}
