//! The network's numbers, for those who look into the guest.

use crate::interface::InterfaceInfo;
use crate::network::{Network, current};
use crate::stack::backlog::Usage;
use crate::stack::{Picture, STATES, Stack};
use alloc::vec::Vec;
use core::cell::RefCell;
use xenlet_kernel::local;
use xenlet_kernel::metrics::{ENABLED, Label, Rows, Writer};
use xenlet_netfront::{Netfront, Rings};

/// A vif's own numbers, as they were at the end of its last turn.
#[derive(Clone, Copy, Default)]
struct Vif {
    number: u32,
    stats: xenlet_netfront::Stats,
    rings: Rings,
}

local! {
    static VIFS: RefCell<Vec<Vif>> = RefCell::new(Vec::new());
}

/// Keeps a vif's numbers, which its task alone can see.
pub(crate) fn note(nic: &Netfront) {
    if ENABLED {
        let vif = Vif {
            number: nic.number(),
            stats: nic.stats(),
            rings: nic.rings(),
        };
        VIFS.with(|vifs| {
            let mut vifs = vifs.borrow_mut();
            match vifs.iter_mut().find(|other| other.number == vif.number) {
                Some(other) => *other = vif,
                None => vifs.push(vif),
            }
        });
    }
}

/// All there is to say of one interface.
struct One {
    info: InterfaceInfo,
    picture: Picture,
    vif: Vif,
}

const GAUGES: Rows<One> = &[
    ("vif_up", "Whether there is a backend.", |one| {
        one.info.link.into()
    }),
    (
        "vif_tx_ring_used",
        "Slots of the transmit ring whose request is not answered.",
        |one| one.vif.rings.tx.0.into(),
    ),
    ("vif_tx_ring_slots", "Slots of the transmit ring.", |one| {
        one.vif.rings.tx.1.into()
    }),
    (
        "vif_tx_pages_used",
        "Pages with frames that the backend has not sent.",
        |one| one.vif.rings.tx_pages.0 as u64,
    ),
    ("vif_tx_pages", "Pages for frames to be sent.", |one| {
        one.vif.rings.tx_pages.1 as u64
    }),
    (
        "vif_rx_ring_used",
        "Slots of the receive ring with a page for the backend, or a frame that was not looked at.",
        |one| one.vif.rings.rx.0.into(),
    ),
    ("vif_rx_ring_slots", "Slots of the receive ring.", |one| {
        one.vif.rings.rx.1.into()
    }),
    ("tcp_buffer_bytes", "Buffers of connections.", |one| {
        one.picture.buffer_bytes as u64
    }),
    (
        "tcp_spare_buffer_bytes",
        "Buffers of connections that have ended, kept for the next ones.",
        |one| one.info.stats.spare_bytes,
    ),
    (
        "tcp_time_wait",
        "Connections in TIME-WAIT, of which numbers are kept.",
        |one| one.picture.time_wait[0] as u64,
    ),
    (
        "tcp_time_wait_limit",
        "Most of them; then the oldest goes.",
        |one| one.picture.time_wait[1] as u64,
    ),
];

const COUNTERS: Rows<One> = &[
    ("vif_rx_frames_total", "Frames received.", |one| {
        one.info.stats.rx_frames
    }),
    ("vif_rx_bytes_total", "Bytes of frames received.", |one| {
        one.info.stats.rx_bytes
    }),
    (
        "vif_tx_frames_total",
        "Frames sent; one may be many segments.",
        |one| one.info.stats.tx_frames,
    ),
    ("vif_tx_bytes_total", "Bytes of frames sent.", |one| {
        one.info.stats.tx_bytes
    }),
    (
        "tcp_refused_total",
        "Segments that belong to no connection, as those to ports where nobody listens.",
        |one| one.info.stats.refused,
    ),
    ("tcp_retransmissions_total", "Segments sent again.", |one| {
        one.info.stats.retransmissions
    }),
    (
        "tcp_cookies_total",
        "SYNs answered while too many connections were half open: nothing of them is kept.",
        |one| one.info.stats.cookies,
    ),
    (
        "tcp_polls_total",
        "Times that a connection was looked at to see what it has to send.",
        |one| one.info.stats.polls,
    ),
    (
        "vif_events_sent_total",
        "Events sent to the backend since the vif was connected.",
        |one| one.vif.stats.notified,
    ),
    (
        "vif_events_received_total",
        "Events received from the backend since the vif was connected.",
        |one| one.vif.stats.events,
    ),
];

/// How a number is read of an interface.
type Read = fn(&One) -> u64;

/// Why frames were dropped: by the stack, and by the driver or its backend since the vif was connected.
const DROPS: &[(&str, Read)] = &[
    ("not_for_us", |one| one.info.stats.ignored),
    ("bad_checksum", |one| one.info.stats.bad_checksums),
    ("fragment", |one| one.info.stats.fragments),
    ("syn_deferred", |one| one.info.stats.deferred_syns),
    ("rx_backend_error", |one| one.vif.stats.rx_refused),
    ("rx_too_short", |one| one.vif.stats.rx_too_short),
    ("rx_too_long", |one| one.vif.stats.rx_too_long),
    ("rx_unknown_extra", |one| one.vif.stats.rx_unknown_extra),
    ("rx_no_memory", |one| one.vif.stats.rx_no_memory),
    ("tx_backend_error", |one| one.vif.stats.tx_refused),
];

/// Writes all of them.
pub(crate) fn write(w: &mut Writer<'_>) {
    let Some(network) = current() else { return };
    let stacks = network.stacks();
    let all: Vec<_> = stacks.iter().map(|stack| One::of(stack)).collect();
    interfaces(&all, w);
    udp(&all, w);
    ports(&network, w);
}

impl One {
    /// An interface's number, and all there is to say of it now.
    fn of(stack: &Stack) -> (u32, Self) {
        let info = stack.info();
        let of_it = |vif: &&Vif| vif.number == info.number;
        let vif = VIFS.with(|vifs| vifs.borrow().iter().find(of_it).copied());
        let mut vif = vif.unwrap_or_default();
        if !info.link {
            vif.rings = Rings::default();
        }
        let picture = stack.picture();
        (info.number, Self { info, picture, vif })
    }
}

fn interfaces(all: &[(u32, One)], w: &mut Writer<'_>) {
    w.gauges(GAUGES, "vif", all);
    w.counters(COUNTERS, "vif", all);
    for (vif, one) in all {
        for (state, count) in STATES.iter().zip(one.picture.states) {
            let help = "Connections: half open; established and waiting to be accepted; being made from here; established; dropped by \
                        the application, with something left to send; at rest, their buffers with others.";
            w.gauge(
                "tcp_connections",
                help,
                &[("vif", vif), ("state", state)],
                count,
            );
        }
    }
    for (vif, one) in all {
        for (reason, value) in DROPS {
            let labels: [Label<'_>; 2] = [("vif", vif), ("reason", reason)];
            w.counter(
                "vif_drops_total",
                "Frames dropped, by reason.",
                &labels,
                value(one),
            );
        }
    }
}

fn udp(all: &[(u32, One)], w: &mut Writer<'_>) {
    for (vif, one) in all {
        for (port, [received, sent], _) in &one.picture.udp {
            for (direction, bytes) in [("rx", received), ("tx", sent)] {
                let labels: [Label<'_>; 3] =
                    [("vif", vif), ("port", port), ("direction", &direction)];
                w.gauge(
                    "udp_queue_bytes",
                    "Datagrams that wait for the application, or to be sent.",
                    &labels,
                    *bytes,
                );
            }
        }
    }
    for (vif, one) in all {
        for (port, _, limit) in &one.picture.udp {
            let labels: [Label<'_>; 2] = [("vif", vif), ("port", port)];
            w.gauge(
                "udp_queue_limit_bytes",
                "Most that may wait in each direction.",
                &labels,
                *limit,
            );
        }
    }
}

const PORTS: Rows<Usage> = &[
    (
        "listen_half_open",
        "Connections to a port that are half open.",
        |port| port.half_open as u64,
    ),
    (
        "listen_half_open_limit",
        "As many, and SYNs are answered with cookies.",
        |port| port.half_open_limit as u64,
    ),
    (
        "listen_waiting",
        "Connections to a port that wait to be accepted.",
        |port| port.waiting as u64,
    ),
    (
        "listen_waiting_limit",
        "As many, and SYNs are dropped.",
        |port| port.waiting_limit as u64,
    ),
];

fn ports(network: &Network, w: &mut Writer<'_>) {
    let shared = &network.shared;
    let ports: Vec<_> = shared.ports.all().iter().map(|port| port.usage()).collect();
    w.gauges(PORTS, "port", &ports);
    let (used, limit) = shared.buffers.beyond();
    w.gauge(
        "tcp_extra_buffer_bytes",
        "What buffers of connections have beyond the smallest, 1 KiB in each direction.",
        &[],
        used,
    );
    w.gauge("tcp_extra_buffer_limit_bytes", "Most of that.", &[], limit);
    let room = shared.buffers.room();
    w.gauge(
        "tcp_connections_limit",
        "Connections that there was room for when the network came up.",
        &[],
        room,
    );
}
