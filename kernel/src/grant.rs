//! The grant table: which frames another domain may reach (version 1, `xen/grant_table.h`).
//!
//! Granting and revoking are stores into the table: no hypercall. The table grows a frame (512 entries) at a time.

use crate::abi::grant_table::{
    ENTRIES_PER_FRAME, EntryV1, PERMIT_ACCESS, READING, READONLY, RESERVED_ENTRIES, WRITING,
};
use crate::addr::{DomId, GrantRef, Mfn};
use crate::page::OutOfPages;
use crate::platform;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, Ordering};

/// What a peer may do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Map or copy it, and only read.
    ReadOnly,
    /// Map or copy it, and write too.
    ReadWrite,
}

/// The peer has the frame mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StillInUse;

struct Table {
    /// Where each frame of the table is mapped.
    frames: Vec<NonNull<EntryV1>>,
    free: Vec<GrantRef>,
}

local! {
    static TABLE: RefCell<Table> = RefCell::new(Table { frames: Vec::new(), free: Vec::new() });
}

impl Table {
    fn entry(&self, gref: GrantRef) -> NonNull<EntryV1> {
        let frame = self.frames[(gref.0 / ENTRIES_PER_FRAME) as usize];
        // SAFETY: the index is below the entries of a frame, and the frame is mapped whole.
        unsafe { frame.add((gref.0 % ENTRIES_PER_FRAME) as usize) }
    }

    /// The entry's flags, which Xen changes too.
    fn flags(&self, gref: GrantRef) -> &AtomicU16 {
        let flags = self.entry(gref).cast::<u16>();
        // SAFETY: flags are the entry's first field and aligned; the table's frames stay mapped for ever; atomics may
        // be shared with Xen.
        unsafe { AtomicU16::from_ptr(flags.as_ptr()) }
    }

    /// Takes an entry and fills all of it in but what makes it valid.
    fn reserve(&mut self, peer: DomId, frame: Mfn) -> Result<GrantRef, OutOfPages> {
        if self.free.is_empty() {
            self.grow()?;
        }
        // Entries of version 1 hold 32 bits of frame number: 16 TiB of machine.
        let frame = u32::try_from(frame.0).map_err(|_| OutOfPages)?;
        let gref = self.free.pop().ok_or(OutOfPages)?;
        // The entry's other half: `domid` and `frame`, whose layout `abi::grant_table` asserts.
        let entry = self.entry(gref).as_ptr().cast::<u8>();
        let domid = entry
            .wrapping_add(core::mem::offset_of!(EntryV1, domid))
            .cast::<u16>();
        let number = entry
            .wrapping_add(core::mem::offset_of!(EntryV1, frame))
            .cast::<u32>();
        // SAFETY: a free entry of a mapped table; Xen does not look at it while its flags are 0.
        unsafe { domid.write_volatile(peer.0) };
        // SAFETY: as above.
        unsafe { number.write_volatile(frame) };
        Ok(gref)
    }

    fn permit(&self, gref: GrantRef, access: Access) {
        let readonly = if access == Access::ReadOnly {
            READONLY
        } else {
            0
        };
        // Release: the entry is whole before it is valid.
        self.flags(gref)
            .store(PERMIT_ACCESS | readonly, Ordering::Release);
    }

    fn grow(&mut self) -> Result<(), OutOfPages> {
        let index = u32::try_from(self.frames.len()).map_err(|_| OutOfPages)?;
        // Room for every entry now: giving one back must not need memory.
        let all = ((index + 1) * ENTRIES_PER_FRAME) as usize;
        let more = all.saturating_sub(self.free.len());
        self.free.try_reserve(more).map_err(|_| OutOfPages)?;
        self.frames.try_reserve(1).map_err(|_| OutOfPages)?;
        self.frames
            .push(platform::grant_frame(index).ok_or(OutOfPages)?);
        let first = if index == 0 {
            RESERVED_ENTRIES
        } else {
            index * ENTRIES_PER_FRAME
        };
        self.free
            .extend((first..(index + 1) * ENTRIES_PER_FRAME).rev().map(GrantRef));
        Ok(())
    }
}

/// Calls `f` with the places where the table's frames are mapped. A domain that is restored finds them empty: then no entry that was
/// in use gives anybody access, and each is free as soon as it is revoked.
pub(crate) fn with_frames<R>(f: impl FnOnce(&[NonNull<EntryV1>]) -> R) -> R {
    TABLE.with(|t| f(&t.borrow().frames))
}

/// Lets `peer` reach `frame`.
///
/// # Errors
/// When the table is full and Xen does not let it grow.
pub(crate) fn grant(peer: DomId, frame: Mfn, access: Access) -> Result<GrantRef, OutOfPages> {
    TABLE.with(|t| {
        let mut table = t.borrow_mut();
        let gref = table.reserve(peer, frame)?;
        table.permit(gref, access);
        Ok(gref)
    })
}

/// Entries for `frames` that `peer` is to reach, none of which it may yet: [`permit`] lets it.
///
/// # Errors
/// When the table is full and Xen does not let it grow: then no entry is taken.
pub(crate) fn reserve(
    peer: DomId,
    frames: impl ExactSizeIterator<Item = Mfn>,
) -> Result<Vec<GrantRef>, OutOfPages> {
    let mut grefs = Vec::new();
    grefs
        .try_reserve_exact(frames.len())
        .map_err(|_| OutOfPages)?;
    TABLE.with(|t| {
        let mut table = t.borrow_mut();
        for frame in frames {
            match table.reserve(peer, frame) {
                Ok(gref) => grefs.push(gref),
                Err(OutOfPages) => {
                    table.free.append(&mut grefs);
                    return Err(OutOfPages);
                }
            }
        }
        Ok(grefs)
    })
}

/// Lets the peer of a reserved entry reach its frame.
pub(crate) fn permit(gref: GrantRef, access: Access) {
    TABLE.with(|t| t.borrow().permit(gref, access));
}

/// Ends the access. Once this succeeds no domain can reach the frame by this grant.
///
/// # Errors
/// While the peer has the frame mapped; the grant stands unchanged.
pub(crate) fn revoke(gref: GrantRef) -> Result<(), StillInUse> {
    TABLE.with(|t| {
        let mut table = t.borrow_mut();
        let flags = table.flags(gref);
        let mut seen = flags.load(Ordering::Relaxed);
        // Xen sets READING and WRITING by compare-and-swap too, so the one that comes first wins.
        loop {
            if seen & (READING | WRITING) != 0 {
                return Err(StillInUse);
            }
            match flags.compare_exchange_weak(seen, 0, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        table.free.push(gref);
        Ok(())
    })
}

/// Whether the peer has the frame mapped.
pub(crate) fn is_held(gref: GrantRef) -> bool {
    TABLE.with(|t| t.borrow().flags(gref).load(Ordering::Acquire) & (READING | WRITING) != 0)
}

/// How many grants stand, and how many entries the table has.
pub fn usage() -> (usize, usize) {
    TABLE.with(|t| {
        let table = t.borrow();
        let entries = table.frames.len() * ENTRIES_PER_FRAME as usize;
        let usable = entries.saturating_sub(if entries == 0 {
            0
        } else {
            RESERVED_ENTRIES as usize
        });
        (usable - table.free.len(), entries)
    })
}
