//! The numbers of every disk, for those who look into the guest.

use crate::disk::Shared;
use crate::{Link, Stats};
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::RefCell;
use xenlet_kernel::local;
use xenlet_kernel::metrics::{self, ENABLED, Rows, Writer};

local! {
    static DISKS: RefCell<Vec<Weak<Shared>>> = RefCell::new(Vec::new());
}

type Disk = Rc<Shared>;

/// Has the numbers of one more disk written, for as long as it is there and no later one has its name.
pub(crate) fn add(disk: &Disk) {
    if ENABLED {
        DISKS.with(|disks| {
            let mut disks = disks.borrow_mut();
            disks.retain(|other| {
                let other = other.upgrade();
                other.is_some_and(|other| other.name() != disk.name())
            });
            disks.push(Rc::downgrade(disk));
        });
        metrics::provide("disks", write);
    }
}

/// Counters by name.
const COUNTERS: Rows<Disk> = &[
    ("disk_reads_total", "Reads that were asked for.", |disk| {
        stats(disk).reads
    }),
    (
        "disk_read_bytes_total",
        "Bytes of reads that were asked for.",
        |disk| stats(disk).read_bytes,
    ),
    ("disk_writes_total", "Writes that were asked for.", |disk| {
        stats(disk).writes
    }),
    (
        "disk_written_bytes_total",
        "Bytes of writes that were asked for.",
        |disk| stats(disk).write_bytes,
    ),
    (
        "disk_flushes_total",
        "Flushes that were asked for.",
        |disk| stats(disk).flushes,
    ),
    (
        "disk_discards_total",
        "Discards that were asked for.",
        |disk| stats(disk).discards,
    ),
    (
        "disk_ring_requests_total",
        "Requests on the ring: what was asked for, merged and split.",
        |disk| stats(disk).requests,
    ),
    (
        "disk_ring_indirect_total",
        "Requests on the ring that were indirect.",
        |disk| stats(disk).indirect,
    ),
    (
        "disk_failed_total",
        "Requests on the ring that failed.",
        |disk| stats(disk).failed,
    ),
    (
        "disk_short_total",
        "Times that there was no page or no grant for a request at once.",
        |disk| stats(disk).short,
    ),
    (
        "disk_events_sent_total",
        "Events sent to the backend.",
        |disk| stats(disk).notified,
    ),
    (
        "disk_events_received_total",
        "Events received from the backend.",
        |disk| stats(disk).events,
    ),
];

/// What is now, by name.
const GAUGES: Rows<Disk> = &[
    ("disk_up", "Whether there is a backend.", |disk| {
        is_up(disk).into()
    }),
    (
        "disk_requests",
        "Requests whose answer was not taken yet; memory bounds them.",
        |disk| disk.state.borrow().ops.len() as u64,
    ),
    (
        "disk_queue",
        "Parts of requests that wait for a slot of the ring.",
        |disk| disk.state.borrow().queue.len() as u64,
    ),
    (
        "disk_ring_used",
        "Slots of the ring with a request.",
        |disk| ring(disk).0.into(),
    ),
    ("disk_ring_slots", "Slots of the ring.", |disk| {
        ring(disk).1.into()
    }),
];

fn write(w: &mut Writer<'_>) {
    let disks: Vec<Disk> =
        DISKS.with(|disks| disks.borrow().iter().filter_map(Weak::upgrade).collect());
    let disks: Vec<_> = disks
        .iter()
        .map(|disk| (short(disk), Rc::clone(disk)))
        .collect();
    w.gauges(GAUGES, "disk", &disks);
    w.counters(COUNTERS, "disk", &disks);
}

fn stats(disk: &Disk) -> Stats {
    disk.state.borrow().stats
}

fn is_up(disk: &Disk) -> bool {
    disk.link.get() == Link::Up
}

/// Slots of the ring in use, and all; without a backend there is none.
fn ring(disk: &Disk) -> (u32, u32) {
    match is_up(disk) {
        true => stats(disk).in_flight,
        false => (0, 0),
    }
}

/// What configurations call a disk.
fn short(disk: &Shared) -> &str {
    disk.name().split(' ').next().unwrap_or_default()
}
