//! The guest that `cargo xtask bench` measures: the web server appliance with its site on port 80, and beside it
//!
//! | port | what |
//! | --- | --- |
//! | 9 | reads to the end, throws it away, closes |
//! | 9000 | `GET /blk?op=read&bs=BYTES&qd=N&secs=N` keeps N requests in flight on the first disk (also `write`, `randread`, `randwrite`) and says how many were done; `GET /disk?bytes=N` is what the disk begins with |
//!
//! It uses nothing that another application could not: what is measured is what they get.
#![cfg_attr(xenlet = "xen", no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")
)]

extern crate alloc;

mod control;
mod discard;
mod load;
mod query;

use control::Control;
use xenlet_http::Service;
use xenlet_httpd::{Pages, SITE};
use xenlet_kernel::{run, timeline};
use xenlet_net::{Error, TcpListener};
use xenlet_storage::{Disk, OpenError};

/// Serves until the domain is asked to end.
///
/// # Errors
///
/// The network's, if it can't be listened to.
pub async fn run() -> Result<(), Error> {
    let pages = TcpListener::bind(80).await?;
    timeline::mark("listening");
    let discard = TcpListener::bind(9).await?;
    let control = TcpListener::bind(9000).await?;
    run::spawn(discard::serve(discard));
    run::spawn(async {
        let disk = first_disk().await.unwrap_or_else(|error| {
            log::error!(target: "bench", "no disk: {error}");
            None
        });
        Service::new(Control(disk)).serve(control).await;
    });
    Service::new(Pages(&SITE)).serve(pages).await;
    Ok(())
}

/// The first disk, if there is one.
async fn first_disk() -> Result<Option<Disk>, OpenError> {
    match xenlet_storage::disks().await?.first() {
        Some(name) => xenlet_storage::open(name).await.map(Some),
        None => Ok(None),
    }
}
