//! Xen's binary interface: one file per public header, sizes and offsets asserted.
//!
//! Types and constants that `xen-sys` has are taken from there (`start_info`, `shared_info`, `sched_poll`,
//! `mmu_update`, …); what it lacks is here. `cargo xtask test` compiles every layout against the headers of
//! Debian's `libxen-dev`.

pub mod console;
pub mod grant_table;
pub mod memory;
pub mod ring;
pub mod xenbus;
pub mod xs_wire;

/// Asserts the size of a struct and the offsets of its fields at compile time.
macro_rules! layout {
    ($ty:ty, $size:expr, { $($field:ident: $offset:expr),* $(,)? }) => {
        const _: () = {
            assert!(core::mem::size_of::<$ty>() == $size);
            $(assert!(core::mem::offset_of!($ty, $field) == $offset);)*
        };
    };
}
pub(crate) use layout;
