//! The kernel's own numbers.

use super::Writer;
use crate::{held, memory, run, time, timeline};

/// Writes them.
pub(super) fn write(w: &mut Writer<'_>) {
    start(w);
    memory(w);
    holds(w);
    run::metrics(w);
    time::metrics(w);
    #[cfg(not(xenlet = "unix"))]
    {
        let (sent, received) = crate::event::counts();
        w.counter(
            "events_sent_total",
            "Events sent to other domains.",
            &[],
            sent,
        );
        w.counter("events_received_total", "Events received.", &[], received);
        crate::console::metrics(w);
    }
    crate::limit::metrics(w);
}

/// When it started, and what came after.
fn start(w: &mut Writer<'_>) {
    let uptime = timeline::started().elapsed();
    w.gauge(
        "uptime_seconds",
        "Time since the guest's first instruction, without that for which it was suspended.",
        &[],
        uptime,
    );
    if let Some(now) = time::wall() {
        w.gauge(
            "clock_seconds",
            "The wall clock: time since the Unix epoch.",
            &[],
            now,
        );
    }
    for mark in timeline::marks() {
        let at = time::Duration::from_nanos(mark.ns);
        w.gauge(
            "boot_seconds",
            "When a mark of the boot was reached, since the first instruction.",
            &[("mark", &mark.name)],
            at,
        );
    }
}

/// Whose memory is.
fn memory(w: &mut Writer<'_>) {
    let Some(stats) = memory::stats() else { return };
    w.gauge(
        "memory_total_bytes",
        "Memory that the guest has.",
        &[],
        stats.total,
    );
    for (owner, bytes) in [
        ("boot", stats.boot),
        ("heap", stats.used),
        ("free", stats.free),
    ] {
        let help = "Memory by owner: what Xen put there at boot (image, page tables, frame list), what is allocated, and what is free.";
        w.gauge("memory_bytes", help, &[("owner", &owner)], bytes);
    }
    for (section, bytes) in [
        ("text", stats.text),
        ("rodata", stats.rodata),
        ("data", stats.data),
    ] {
        w.gauge(
            "image_bytes",
            "The image in memory, by section.",
            &[("section", &section)],
            bytes,
        );
    }
}

/// What is held of what there is a limited number of.
fn holds(w: &mut Writer<'_>) {
    #[cfg(not(xenlet = "unix"))]
    {
        let (used, entries) = crate::grant::usage();
        w.gauge(
            "grants",
            "Entries of the grant table in use: pages that backends may reach.",
            &[],
            used,
        );
        w.gauge(
            "grants_room",
            "Entries that the grant table has; it grows by 512 as far as Xen lets it.",
            &[],
            entries,
        );
        w.gauge(
            "event_channels_limit",
            "Most event channels there can be.",
            &[],
            crate::event::MAX_PORTS,
        );
    }
    let Some(held) = held() else { return };
    w.gauge("event_channels", "Event channels.", &[], held.channels);
    w.gauge(
        "xenstore_watches",
        "Watches in xenstore.",
        &[],
        held.watches,
    );
    w.gauge(
        "kept_pages",
        "Pages given up because a backend would not let go of them.",
        &[],
        held.kept_pages,
    );
}
