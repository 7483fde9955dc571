//! Xen virtual disks, the guest's half (`xen/io/blkif.h`).
#![forbid(unsafe_code)]
#![cfg_attr(xenlet = "xen", no_std)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::cast_possible_truncation,
        reason = "a test that fails says so by panicking"
    )
)]

extern crate alloc;

mod block;
#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
pub mod hosted;
#[cfg(not(xenlet = "unix"))]
pub mod proto;

pub use block::{BlockDevice, Geometry, IoError, SECTOR};
