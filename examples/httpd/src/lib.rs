//! A web server appliance: a folder of files that boots.
//!
//! The files became part of the program when it was built (`build.rs`); this is what is left to do at run time:
//! accept connections on port 80, one task for each, and answer from the table ([`site`]). `/status` shows the guest
//! itself ([`status`]).
//!
//! Words on the command line, besides those of the kernel and the network: `crash=null`, `crash=code`, `crash=data`
//! and `crash=panic` make it crash a second after its start, for tests of what a crash looks like.
#![cfg_attr(xenlet = "xen", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod crash;
mod pages;
mod site;
mod status;

pub use pages::Pages;

use xenlet_fs_static::Tree;
use xenlet_http::Service;
use xenlet_kernel::{cmdline, run, timeline};
use xenlet_net::{Error, TcpListener};

/// The folder that this program was built with.
pub static SITE: Tree = xenlet_fs_static::site!();

/// Where browsers look for a web server.
const PORT: u16 = 80;

/// Serves [`SITE`] until the domain is asked to end.
///
/// # Errors
///
/// The network's, if it can't be listened to.
pub async fn run() -> Result<(), Error> {
    if let Some(how) = cmdline::get("crash") {
        run::spawn(crash::soon(how));
    }
    let listener = TcpListener::bind(PORT).await?;
    timeline::mark("listening");
    log::info!(target: "httpd", "serving {} files, {} bytes, on port {PORT}", SITE.files().len(), SITE.content_bytes());
    Service::new(Pages(&SITE)).serve(listener).await;
    Ok(())
}
