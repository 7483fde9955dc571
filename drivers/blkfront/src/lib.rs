//! Xen virtual disks, the guest's half (`xen/io/blkif.h`).
//!
//! [`Disk::open`] does the whole handshake. After it any number of requests can be in flight ([`BlockDevice`]): what is
//! asked for in one round of the loop is sorted, merged where it is adjacent, split where it is more than a request
//! takes, and shown to the backend with one event at most; answers come in any order.
//!
//! The backend is not trusted: what it writes is copied once and checked. A lie closes the disk with one line in the
//! log ([`Lie`]), and the guest goes on: whoever waits is told that the disk is gone, and has its pages back. A backend that goes away,
//! or stays behind when the domain is restored, may be followed by another: requests wait for it, and what was with the first
//! is asked of the second again.
//!
//! | file | what |
//! | --- | --- |
//! | `block` | what a disk is, for those who use one |
//! | `proto` | the messages of the ring |
//! | `connect`, `features`, `name` | the handshake: xenstore's keys, what the backend offers, what disks are called |
//! | `disk`, `ops` | the handle, the requests of callers and their answers |
//! | `queue` | what waits: sorting, merging, splitting |
//! | `io`, `slot`, `lend` | the ring, its requests, and their memory while it is with the backend |
//! | `blackbox` | the report of a crash, kept on a disk for the next start |
//! | `task`, `absence` | the task that serves a disk, and what it does while there is no backend |
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

#[cfg(not(xenlet = "unix"))]
mod absence;
#[cfg(not(xenlet = "unix"))]
mod blackbox;
mod block;
#[cfg(not(xenlet = "unix"))]
mod connect;
#[cfg(not(xenlet = "unix"))]
mod disk;
#[cfg(not(xenlet = "unix"))]
mod error;
#[cfg(not(xenlet = "unix"))]
mod features;
#[cfg(not(xenlet = "xen"))]
pub mod host_file;
#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
pub mod hosted;
#[cfg(not(xenlet = "unix"))]
mod io;
#[cfg(not(xenlet = "unix"))]
mod lend;
#[cfg(not(xenlet = "unix"))]
mod metrics;
#[cfg(not(xenlet = "unix"))]
mod name;
#[cfg(not(xenlet = "unix"))]
mod ops;
#[cfg(not(xenlet = "unix"))]
pub mod proto;
#[cfg(not(xenlet = "unix"))]
mod queue;
#[cfg(not(xenlet = "unix"))]
mod slot;
#[cfg(not(xenlet = "unix"))]
mod stats;
#[cfg(not(xenlet = "unix"))]
mod task;

#[cfg(not(xenlet = "unix"))]
pub use self::{
    absence::PATIENCE,
    blackbox::serve as black_box,
    connect::{disk_name, disks},
    disk::Disk,
    error::{Error, Lie, Link, Why},
    features::{Features, Granules},
    stats::Stats,
};
pub use block::{BlockDevice, Geometry, IoError, SECTOR};

#[cfg(all(test, not(any(xenlet = "xen", xenlet = "unix"))))]
mod tests;
