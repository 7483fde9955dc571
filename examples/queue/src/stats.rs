//! `GET /stats`: how things are, for programs and for monitoring. Open to everybody: it names no upload.

use crate::queue::{Counts, NOT_KEPT, Open};
use alloc::string::String;
use embedded_io_async::{Read, Write};
use serde::Serialize;
use xenlet_http::{Error, Exchange, KernelClock, Server, Status};
use xenlet_kernel::{held, memory, timeline};
use xenlet_storage::BlockDevice;

/// What `/stats` says. Names end in their unit.
#[derive(Serialize)]
struct Stats {
    /// What the guest runs on: `xen`, `hosted` or `unix`.
    target: &'static str,
    version: &'static str,
    uptime_us: u64,
    /// Acknowledged and not deleted.
    uploads: u64,
    upload_bytes: u64,
    /// On their way.
    uploading: usize,
    disk: Disk,
    /// `null` where the guest is a process of the host.
    memory: Option<Memory>,
    /// What backends and the toolstack have a part in; `null` there, too.
    held: Option<Holdings>,
    since_boot: Counts,
    connections: Connections,
}

#[derive(Serialize)]
struct Disk {
    total_bytes: u64,
    used_bytes: u64,
    /// How many bytes of uploads fit now, roughly.
    free_bytes: u64,
    /// Since the disk was formatted.
    commits: u64,
    cached_bytes: usize,
}

#[derive(Serialize)]
struct Memory {
    total_bytes: usize,
    boot_bytes: usize,
    used_bytes: usize,
    free_bytes: usize,
}

#[derive(Serialize)]
struct Holdings {
    grants: usize,
    event_channels: usize,
    watches: usize,
    kept_pages: usize,
}

#[derive(Serialize)]
struct Connections {
    open: u32,
    total: u64,
    requests: u64,
    refused: u64,
    sent_bytes: u64,
    /// Buffers of connections that have ended, kept for the next ones.
    spare_bytes: u64,
}

/// Answers with the numbers of this moment.
pub(crate) async fn send<D: BlockDevice + 'static, S: Read + Write>(
    open: &Open<D>,
    exchange: Exchange<'_, '_, S, KernelClock>,
    server: &Server<KernelClock>,
) -> Result<(), Error<S::Error>> {
    let (total, store, counters) = (
        open.uploads.total(),
        open.uploads.store(),
        server.counters(),
    );
    let disk = store.stats();
    let stats = Stats {
        target: if cfg!(xenlet = "xen") {
            "xen"
        } else if cfg!(xenlet = "unix") {
            "unix"
        } else {
            "hosted"
        },
        version: env!("CARGO_PKG_VERSION"),
        uptime_us: u64::try_from(timeline::started().elapsed().as_micros()).unwrap_or(u64::MAX),
        uploads: total.uploads,
        upload_bytes: total.bytes,
        uploading: open.uploads.coming(),
        disk: Disk {
            total_bytes: disk.bytes,
            used_bytes: disk.used_bytes,
            free_bytes: store.free_bytes(),
            commits: disk.generation,
            cached_bytes: disk.cached_bytes,
        },
        memory: memory::stats().map(|memory| Memory {
            total_bytes: memory.total,
            boot_bytes: memory.boot,
            used_bytes: memory.used,
            free_bytes: memory.free,
        }),
        held: held().map(|held| Holdings {
            grants: held.grants,
            event_channels: held.channels,
            watches: held.watches,
            kept_pages: held.kept_pages,
        }),
        since_boot: open.counts(),
        connections: Connections {
            open: counters.open,
            total: counters.connections,
            requests: counters.requests,
            refused: counters.refused,
            sent_bytes: counters.bytes_sent,
            spare_bytes: xenlet_net::interfaces()
                .iter()
                .map(|interface| interface.stats.spare_bytes)
                .sum(),
        },
    };
    // Strings and numbers under fixed names: there is nothing that JSON can't say.
    let json: String = serde_json::to_string(&stats).unwrap_or_default() + "\n";
    let fields = [("Content-Type", "application/json"), NOT_KEPT];
    exchange.respond(Status::OK, &fields, json.as_bytes()).await
}
