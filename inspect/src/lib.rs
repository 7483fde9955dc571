//! Looking into a running guest, for its operator: by HTTP on a port of its own.
//!
//! An application has it by one line, [`start`], and by depending on this crate, which switches on what the others note for it. The
//! service is there if the command line says so, `inspect=PORT`, and answers whoever reaches that port: which networks do is for the
//! operator to decide.
//!
//! | request | answers |
//! | --- | --- |
//! | `GET /` | what there is to ask for |
//! | `GET /metrics` | the guest's numbers, in Prometheus's text format |
//! | `GET /capture?vif=0` | the frames of an interface as they come and go, as pcapng: `curl -sN … \| wireshark -k -i -`; for `seconds=10` or `packets=100`, else as long as the client reads; only headers, or all with `payload=yes` |
//! | `GET /trace?seconds=5` | what each task did and waited for in the next five seconds, as a file for Perfetto |
//!
//! A key typed in `xl console` is answered with or without that word: `m` with the same numbers, `?` or Enter with what other keys there
//! are.
#![cfg_attr(xenlet = "xen", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod capture;
#[cfg(not(xenlet = "unix"))]
mod console;
mod metrics;
mod query;
mod service;
mod trace;

use alloc::format;
use alloc::string::String;
use core::num::NonZeroU16;
use service::Inspect;
use xenlet_http::Service;
use xenlet_kernel::{cmdline, run};
use xenlet_net::TcpListener;

/// Opens the service that the command line asks for, and answers keys, in the background. What is wrong with it is logged; the
/// application goes on.
pub fn start() {
    #[cfg(not(xenlet = "unix"))]
    run::spawn(console::serve());
    match cmdline::parse::<NonZeroU16>("inspect") {
        Ok(None) => {}
        Ok(Some(port)) => drop(run::spawn(async move {
            if let Err(why) = serve(port.get()).await {
                log::error!(target: "inspect", "{why}");
            }
        })),
        Err(why) => log::error!(target: "inspect", "{why}: it is a port, as inspect=9100"),
    }
}

/// Serves until the domain is asked to end.
async fn serve(port: u16) -> Result<(), String> {
    let listener = TcpListener::bind(port).await;
    let listener = listener.map_err(|why| format!("inspect={port}: {why}"))?;
    log::info!(target: "inspect", "on port {port}, for whoever reaches it");
    Service::new(Inspect::new(port)).serve(listener).await;
    Ok(())
}
