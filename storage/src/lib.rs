//! Disks for xenlet applications: a crash-safe store, and read-only files.
#![cfg_attr(xenlet = "xen", no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::cast_possible_truncation,
        reason = "a test that fails says so by panicking"
    )
)]

extern crate alloc;

mod disk;
#[cfg(not(xenlet = "xen"))]
mod file;
pub mod files;
pub mod store;

pub use disk::{Disk, DiskError, OpenError, black_box, disks, open};
#[cfg(not(xenlet = "xen"))]
pub use file::FileDisk;
#[cfg(not(xenlet = "xen"))]
pub use xenlet_blkfront::host_file;
pub use xenlet_blkfront::{BlockDevice, Geometry, IoError, SECTOR};
