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
//!
//! With the feature `tls` it serves by HTTPS, with a key as `xenlet_tls::setup` has it, whose file may have the tokens too. Where the
//! file has CAs for clients, who shows a certificate by one of them with the common name `uploader` or `downloader` needs no token.
//!
//! With the feature `inspect` it can be looked into while it runs (`xenlet_inspect`).
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
use core::fmt::{self, Display};
use queue::Queue;
use tokens::Tokens;
use uploads::Uploads;
use xenlet_kernel::run::spawn;
use xenlet_kernel::{balloon, cmdline};
use xenlet_storage::{BlockDevice, Disk, OpenError};
#[cfg(feature = "tls")]
use {alloc::format, xenlet_http::https::Https};
#[cfg(not(feature = "tls"))]
use {xenlet_http::Service, xenlet_kernel::timeline, xenlet_net::TcpListener};

/// Where HTTP clients look for a server.
#[cfg(not(feature = "tls"))]
const PORT: u16 = 80;

/// Serves the queue on the first disk until the domain is asked to end.
///
/// # Errors
///
/// As [`serve`].
pub async fn run() -> Result<(), Error> {
    #[cfg(feature = "inspect")]
    xenlet_inspect::start();
    balloon::start();
    spawn(xenlet_storage::black_box());
    #[cfg(not(xenlet = "unix"))]
    spawn(xenlet_kernel::crash::on_request());
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
/// As [`Error`] says.
pub async fn serve<D: BlockDevice + 'static>(disk: Result<D, impl Display>) -> Result<(), Error> {
    let tokens = Tokens::default();
    #[cfg(feature = "tls")]
    let https = {
        let token = |name: &str, token: &[u8]| tokens.give(name, token);
        Https::set_up::<true, _>(token).await.map_err(Error::Tls)?
    };
    let uploads = open(disk).await;
    let queue = Queue::new(tokens.load().await, uploads);
    #[cfg(feature = "tls")]
    {
        let server = https.server(&[]);
        let server = server.map_err(|(name, _)| Error::Tls(format!("{name} can't be sent")))?;
        let served = https.serve(queue, server, format_args!("the queue")).await;
        served.map_err(Error::Network)
    }
    #[cfg(not(feature = "tls"))]
    {
        let listener = TcpListener::bind(PORT).await.map_err(Error::Network)?;
        timeline::mark("listening");
        Service::new(queue).serve(listener).await;
        Ok(())
    }
}

/// Why nothing is served.
#[derive(Debug)]
pub enum Error {
    /// The network can't be listened to.
    Network(xenlet_net::Error),
    /// There is no key to serve with.
    #[cfg(feature = "tls")]
    Tls(String),
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(error) => error.fmt(f),
            #[cfg(feature = "tls")]
            Self::Tls(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for Error {}

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
