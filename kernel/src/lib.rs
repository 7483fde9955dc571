//! The kernel of a xenlet: what a Rust program needs to be a Xen PV guest, and nothing of any device.
//!
//! One public interface, three implementations of what is underneath, chosen by `--cfg xenlet="…"`:
//!
//! | cfg | underneath | what for |
//! | --- | --- | --- |
//! | `"xen"` | hypercalls, page tables, traps (`xen/`) | production |
//! | `"hosted"`, the default | a small Xen in ordinary memory: event channels, grants, xenstored, clock (`hosted/`) | tests |
//! | `"unix"` | the host's own clock and reactor; no devices (`unix/`) | writing an application |
//!
//! The seam between them is as low as it can be, at the hypercalls: everything above it (grants, events, rings, the
//! xenstore client, the console, the clock) is the same code on Xen and in a test.
//!
//! Nothing here takes interrupts. There is one virtual CPU, one stack and one loop ([`run`]), which sleeps in
//! `SCHEDOP_poll` until an event channel or a timer has something to do.
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

#[macro_use]
pub mod local;
#[cfg(target_arch = "x86_64")]
#[cfg_attr(
    not(xenlet = "xen"),
    allow(dead_code, reason = "the host has its own, but for shared memory")
)]
mod mem;

pub mod addr;
pub mod balloon;
pub mod boot_module;
pub mod cmdline;
pub mod computed;
#[cfg(not(xenlet = "unix"))]
pub mod crash;
pub mod entropy;
mod held;
pub mod limit;
pub mod memory;
pub mod metrics;
pub mod page;
pub mod run;
pub mod shutdown;
pub mod suspend;
pub mod time;
pub mod timeline;
pub mod trace;
pub mod trap;
mod watchdog;

// What exists only where there is a Xen underneath, real or hosted.
#[cfg(not(xenlet = "unix"))]
pub mod abi;
#[cfg(not(xenlet = "unix"))]
pub mod console;
#[cfg(not(xenlet = "unix"))]
pub mod event;
#[cfg(not(xenlet = "unix"))]
pub mod grant;
#[cfg(not(xenlet = "unix"))]
pub mod ring;
#[cfg(not(xenlet = "unix"))]
pub mod xenbus;
#[cfg(not(xenlet = "unix"))]
pub mod xenstore;

pub use held::{Held, held};

#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
pub mod hosted;
#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
use hosted::platform;
#[cfg(xenlet = "unix")]
#[path = "unix/platform.rs"]
mod platform;
#[cfg(xenlet = "xen")]
#[path = "xen/mod.rs"]
mod platform;

// Parts of the Xen side that have no Xen in them, for their tests.
#[cfg(test)]
#[path = "xen/pvclock.rs"]
mod pvclock;

/// How much is logged: `log=error|warn|info|debug|trace|off` on the command line, `info` without.
fn set_log_level() {
    match cmdline::parse("log") {
        Ok(level) => log::set_max_level(level.unwrap_or(log::LevelFilter::Info)),
        Err(text) => {
            log::set_max_level(log::LevelFilter::Info);
            log::warn!("{text}; one of off, error, warn, info, debug, trace is");
        }
    }
}
