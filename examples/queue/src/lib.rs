//! An upload queue appliance: clients put files, another fetches them oldest first and deletes what it has dealt with.
//!
//! What was acknowledged is on the disk and survives a power cut, whole and byte for byte; of what was not, nothing
//! is there, or all of it (when the power went after the disk had it and before the client was told). Every byte is
//! checked against a checksum before it is given out.
//!
//! # Interface
//!
//! | request | who | answers |
//! | --- | --- | --- |
//! | `PUT /uploads/NAME` | uploader | 201 and `{"name":…,"bytes":…,"sha256":…}`, `Location`, `ETag`, once it is there to stay |
//! | `GET /uploads` | downloader | 200 and a JSON array of the same objects, oldest first |
//! | `GET /uploads/NAME` | downloader | 200, 206, 304, 412 or 416 and the content |
//! | `GET /next` | downloader | the same for the oldest upload, which `Content-Location` names |
//! | `DELETE /uploads/NAME` | downloader | 204 once it is gone for good and its space free; 412 if `If-Match` says so |
//! | `GET /stats` | all | 200 and counts as JSON: uploads, disk, memory |
//!
//! `HEAD` works where `GET` does. "Oldest" goes by the order in which uploads were acknowledged, also across restarts.
//!
//! - `PUT` takes a body of any length up to the free space, with `Content-Length` or chunked, and decides what it can before the
//!   first byte: `Expect: 100-continue` saves sending what would be refused. 409 if there is an upload of this name or one
//!   on its way; 507 if there is no room; 400 if the name is bad, or the body malformed or a part of one (`Content-Range`). A
//!   connection that is cut, or stands still for 20 s, leaves nothing behind.
//! - A name is 1 to 200 bytes of UTF-8 after percent-decoding, without slashes, backslashes and control characters,
//!   and not `.` or `..`.
//! - Content is `application/octet-stream`, to be saved and not shown (`Content-Disposition`), with one range, and its
//!   SHA-256 as the entity tag. One that is being fetched can be deleted: the fetch goes on, and the space is free after it.
//! - 404 for what is not there, `/next` of an empty queue included; 405 with `Allow` for other methods; 401 without a token, 403
//!   with the other role's; 503 with `Retry-After` when as many transfers are under way as memory allows.
//! - A disk that fails or is damaged is 500 for what it concerns, and a line on the console; if the body has begun, the connection is
//!   cut: what is short never looks whole. A read-only disk can be fetched from; the rest is 403. Without a usable
//!   disk everything is 503.
//!
//! # Setting up
//!
//! The first disk holds the queue. Besides those of the kernel and the network, the command line has these words:
//!
//! | word | what it does |
//! | --- | --- |
//! | `uploader=TOKEN`, `downloader=TOKEN` | who sends `Authorization: Bearer TOKEN` has the role |
//! | `format=ifblank` | makes a store on a disk that is all zeros; without it such a disk is refused |
//!
//! A token that is not on the command line is looked for in xenstore, and followed there, so that it can be changed while the guest
//! runs: `xenstore-write /local/domain/DOMID/data/uploader TOKEN` in the host (dom0 and the guest itself can write there; other
//! guests can't read it). A role without a token is refused to everybody.
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

mod download;
mod list;
mod name;
mod queue;
mod record;
mod refusal;
mod stats;
mod tokens;
mod upload;
mod uploads;

use alloc::string::String;
use core::fmt::Display;
use queue::Queue;
use tokens::Tokens;
use uploads::Uploads;
use xenlet_http::Service;
use xenlet_kernel::{cmdline, timeline};
use xenlet_net::{Error, TcpListener};
use xenlet_storage::{BlockDevice, Disk, OpenError};

/// Where HTTP clients look for a server.
const PORT: u16 = 80;

/// Serves the queue on the first disk until the domain is asked to end.
///
/// # Errors
///
/// As [`serve`].
pub async fn run() -> Result<(), Error> {
    serve(first_disk().await).await
}

async fn first_disk() -> Result<Disk, OpenError> {
    let names = xenlet_storage::disks().await?;
    // Where there is none, opening it says how to have one.
    xenlet_storage::open(names.first().map_or("xvda", String::as_str)).await
}

/// Serves the queue on `disk` until the domain is asked to end; without a disk, says so to everybody.
///
/// # Errors
///
/// The network's, if it can't be listened to.
pub async fn serve<D: BlockDevice + 'static>(disk: Result<D, impl Display>) -> Result<(), Error> {
    let uploads = open(disk).await;
    let tokens = Tokens::load().await;
    let listener = TcpListener::bind(PORT).await?;
    timeline::mark("listening");
    Service::new(Queue::new(tokens, uploads))
        .serve(listener)
        .await;
    Ok(())
}

async fn open<D: BlockDevice + 'static>(disk: Result<D, impl Display>) -> Option<Uploads<D>> {
    let format_blank = match cmdline::get("format") {
        None => false,
        Some("ifblank") => true,
        Some(other) => {
            log::error!(target: "queue", "format={other}: only format=ifblank is known; nothing is formatted");
            false
        }
    };
    let disk = disk
        .inspect_err(|why| log::error!(target: "queue", "no disk: {why}"))
        .ok()?;
    let uploads = Uploads::open(disk, format_blank)
        .await
        .inspect_err(|why| log::error!(target: "queue", "the disk can't be used: {why}"))
        .ok()?;
    let (total, stats) = (uploads.total(), uploads.store().stats());
    log::info!(
        target: "queue",
        "{} uploads of {} bytes; {} of {} bytes of disk are free; generation {}",
        total.uploads,
        total.bytes,
        uploads.store().free_bytes(),
        stats.bytes,
        stats.generation,
    );
    Some(uploads)
}
