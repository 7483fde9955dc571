//! A web server appliance: a folder of files that boots.
//!
//! The files became part of the program when it was built (`build.rs`); this is what is left to do at run time:
//! accept connections on port 80, one task for each, and answer from the table ([`site`]). `/status` shows the guest
//! itself ([`status`]).
//!
//! With the feature `disk`, `site=xvda` on the command line has it serve what is on that disk instead, with `cache=4M` of
//! memory for what was read lately ([`site::disk`]).
//!
//! With the feature `tls` it serves by HTTPS, with the key that is its boot module or on a disk ([`secure`]).
//!
//! With the feature `inspect` it can be looked into while it runs (`xenlet_inspect`).
//!
//! Further words, besides those of the kernel and the network: `crash=null`, `crash=code`, `crash=data`,
//! `crash=panic` and `crash=loop` make it crash a second after its start, for tests of what a crash looks like.
#![cfg_attr(xenlet = "xen", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod crash;
mod pages;
#[cfg(feature = "tls")]
mod secure;
mod site;
mod status;

pub use pages::Pages;
#[cfg(feature = "disk")]
pub use site::disk::DiskSite;

use core::fmt;
#[cfg(not(feature = "tls"))]
use site::Site;
use xenlet_fs_static::Tree;
use xenlet_kernel::{cmdline, run};
#[cfg(not(feature = "tls"))]
use {xenlet_kernel::timeline, xenlet_net::TcpListener};

/// The folder that this program was built with.
pub static SITE: Tree = xenlet_fs_static::site!();

/// Where browsers look for a web server.
#[cfg(not(feature = "tls"))]
const PORT: u16 = 80;

/// Serves the site on the disk that the command line names, or else [`SITE`], until the domain is asked to end.
///
/// # Errors
///
/// If the network can't be listened to, or the disk has no site.
pub async fn run() -> Result<(), Error> {
    #[cfg(feature = "inspect")]
    xenlet_inspect::start();
    if let Some(how) = cmdline::get("crash") {
        run::spawn(crash::soon(how));
    }
    match cmdline::get("site") {
        None => {
            let (files, bytes) = (SITE.files().len(), SITE.content_bytes());
            serve(&SITE, format_args!("{files} files, {bytes} bytes,")).await
        }
        #[cfg(feature = "disk")]
        Some(name) => from_disk(name).await,
        #[cfg(not(feature = "disk"))]
        Some(_) => Err(Error::NoDisks),
    }
}

#[cfg(feature = "tls")]
use secure::serve;

/// Serves `site`, which `what` describes.
#[cfg(not(feature = "tls"))]
async fn serve(site: impl Site + 'static, what: fmt::Arguments<'_>) -> Result<(), Error> {
    let listener = TcpListener::bind(PORT).await.map_err(Error::Network)?;
    timeline::mark("listening");
    log::info!(target: "httpd", "serving {what} on port {PORT}");
    xenlet_http::Service::new(Pages(site)).serve(listener).await;
    Ok(())
}

/// Why there is nothing to serve.
#[derive(Debug)]
pub enum Error {
    /// The network can't be listened to.
    Network(xenlet_net::Error),
    /// The command line names a disk, and this program was built without the feature for it.
    #[cfg(not(feature = "disk"))]
    NoDisks,
    /// There is no key to serve with.
    #[cfg(feature = "tls")]
    Tls(alloc::string::String),
    /// The disk that the command line names has no site.
    #[cfg(feature = "disk")]
    Disk(alloc::string::String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Network(error) => error.fmt(f),
            #[cfg(not(feature = "disk"))]
            Error::NoDisks => f.write_str(
                "site= names a disk, and this image knows none: `cargo xtask build --site FILE` builds one that does",
            ),
            #[cfg(feature = "tls")]
            Error::Tls(why) => f.write_str(why),
            #[cfg(feature = "disk")]
            Error::Disk(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for Error {}

/// Serves the site on a disk.
#[cfg(feature = "disk")]
async fn from_disk(name: &str) -> Result<(), Error> {
    use alloc::format;
    use xenlet_storage::BlockDevice;
    let failed = |why: &dyn fmt::Display| Error::Disk(format!("site={name}: {why}"));
    let cache = cache_bytes().map_err(Error::Disk)?;
    let disk = xenlet_storage::open(name).await;
    let disk = disk.map_err(|error| failed(&error))?;
    let bytes = disk.geometry().bytes();
    let site = DiskSite::mount(disk, cache).await;
    let site = site.map_err(|error| failed(&error))?;
    match site.summary() {
        Some(summary) => {
            let (files, bytes) = (summary.files, summary.content_bytes);
            let what = format_args!("{files} files, {bytes} bytes, of {name}");
            serve(site, what).await
        }
        None => {
            serve(
                site,
                format_args!("{name}, {bytes} bytes without an index,"),
            )
            .await
        }
    }
}

/// How much of what was read from a disk is kept: what `cache=` says, or else 2 MiB, and in a small guest a quarter of what
/// is free.
#[cfg(feature = "disk")]
fn cache_bytes() -> Result<usize, alloc::string::String> {
    const USUAL: usize = 2 << 20;
    match cmdline::get("cache") {
        Some(text) => size(text).ok_or_else(|| {
            alloc::format!(
                "command line: cache={text:?} is no size: a number of bytes, or of KiB or MiB with K or M: cache=4M"
            )
        }),
        None => {
            let free = xenlet_kernel::memory::stats().map_or(usize::MAX, |stats| stats.free);
            Ok(USUAL.min(free / 4))
        }
    }
}

/// A size as people write it: `65536`, `64K`, `4M`, `1G`.
#[cfg(feature = "disk")]
fn size(text: &str) -> Option<usize> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (text.get(..text.len() - 1)?, 10),
        b'M' | b'm' => (text.get(..text.len() - 1)?, 20),
        b'G' | b'g' => (text.get(..text.len() - 1)?, 30),
        _ => (text, 0),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}

#[cfg(all(test, feature = "disk"))]
mod tests {
    use super::size;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, expected) in [
            ("65536", Some(65536)),
            ("0", Some(0)),
            ("64K", Some(64 << 10)),
            ("4m", Some(4 << 20)),
            ("1G", Some(1 << 30)),
            ("", None),
            ("M", None),
            ("+4M", None),
            ("-1", None),
            ("4MB", None),
            ("4\u{e9}", None),
            ("99999999999999G", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
