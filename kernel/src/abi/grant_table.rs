//! The grant table, version 1 (`xen/grant_table.h`).

/// `struct grant_entry_v1`: an access that this domain gives to another.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EntryV1 {
    /// `GTF_*`.
    pub flags: u16,
    /// Who may have the access.
    pub domid: u16,
    /// The frame it is to (an mfn below 2^32: 16 TiB).
    pub frame: u32,
}

super::layout!(EntryV1, 8, { flags: 0, domid: 2, frame: 4 });

/// Entries in one frame of the table.
pub const ENTRIES_PER_FRAME: u32 = 512;
/// `GNTTAB_NR_RESERVED_ENTRIES`: the first entries belong to the toolstack (console and xenstore).
pub const RESERVED_ENTRIES: u32 = 8;
/// `GTF_permit_access`: the entry's type: the domain may map or copy the frame.
pub const PERMIT_ACCESS: u16 = 1;
/// `GTF_readonly`: and only read it.
pub const READONLY: u16 = 1 << 2;
/// `GTF_reading`: set by Xen while the frame is mapped.
pub const READING: u16 = 1 << 3;
/// `GTF_writing`: set by Xen while the frame is mapped writable.
pub const WRITING: u16 = 1 << 4;

/// `GNTTABOP_setup_table`.
pub const OP_SETUP_TABLE: u32 = 2;
/// `GNTTABOP_query_size`.
pub const OP_QUERY_SIZE: u32 = 6;

/// `struct gnttab_setup_table`.
#[repr(C)]
#[derive(Debug)]
pub struct SetupTable {
    /// IN: `DOMID_SELF`.
    pub dom: u16,
    /// IN: how many frames the table should have.
    pub nr_frames: u32,
    /// OUT: `GNTST_*`, 0 when it worked.
    pub status: i16,
    /// OUT: where Xen writes the frames' numbers.
    pub frame_list: *mut u64,
}

super::layout!(SetupTable, 24, { dom: 0, nr_frames: 4, status: 8, frame_list: 16 });

/// `struct gnttab_query_size`.
#[repr(C)]
#[derive(Debug)]
pub struct QuerySize {
    /// IN: `DOMID_SELF`.
    pub dom: u16,
    /// OUT: frames that the table has.
    pub nr_frames: u32,
    /// OUT: frames that it may have.
    pub max_nr_frames: u32,
    /// OUT: `GNTST_*`.
    pub status: i16,
}

super::layout!(QuerySize, 16, { dom: 0, nr_frames: 4, max_nr_frames: 8, status: 12 });
