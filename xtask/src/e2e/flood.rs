//! Floods: what anybody on the network can send, while others want to be served.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::context::{Context, Server};
use crate::xen::Settings;

/// How long all of the clients may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Clients that come while the flood goes on, and how many of them have to be served within a second.
const CLIENTS: u32 = 100;
const SERVED: u32 = 99;

/// SYNs a second below which it is no flood.
const LEAST: u64 = 500;

/// While dom0 sends SYNs from everywhere as fast as it can, new clients are served; and when it ends nothing is left.
pub(super) fn syns(context: &mut Context<'_>) -> Result<()> {
    // Dom0 is the gateway, which forwards nothing: as in other floods nobody is there who could answer. QEMU's own gateway resets
    // a connection that it has not begun, and how many are half open would be a matter of how fast it is.
    let settings = Settings {
        extra: Some(context.address().replace("gw=10.0.2.2", "gw=10.0.2.10")),
        ..Settings::default()
    };
    let server = context.server(1, settings)?;
    flood(context, &server, "syn")?;
    ensure!(
        server
            .guest
            .console
            .text()
            .contains("as in a flood of SYNs"),
        "the guest's console does not tell of the flood"
    );
    server.client.page("/")?;
    Ok(())
}

/// The same with what is answered without a connection, and with what is no frame of anything.
pub(super) fn others(context: &mut Context<'_>) -> Result<()> {
    let server = context.server(1, Settings::default())?;
    for kind in ["echo", "arp", "noise"] {
        flood(context, &server, kind).context(kind)?;
        server.client.page("/")?;
    }
    let lines = server.guest.console.text().lines().count();
    ensure!(lines < 100, "the floods made the guest log {lines} lines");
    Ok(())
}

/// Floods a server from dom0 with frames of a kind that `flood.py` knows, while clients come.
fn flood(context: &Context<'_>, server: &Server, kind: &str) -> Result<()> {
    let domain = server.guest.domid()?.context("the guest is gone")?;
    let script = format!(
        "python3 -S - {} / {CLIENTS} vif{domain}.0 {kind} <<'END'\n{}END\n",
        server.address,
        include_str!("flood.py")
    );
    let done = context.xen.dom0().try_run(&script, PATIENCE)?;
    let said = done.text.trim_end();
    let number = |name: &str| {
        let mut words = said.split_whitespace();
        let found = words.find(|word| *word == name).and_then(|_| words.next());
        found
            .and_then(|word| word.parse::<f64>().ok())
            .with_context(|| format!("no number of {name}: {said}"))
    };
    ensure!(
        number("served")? >= f64::from(SERVED),
        "of {CLIENTS} clients in a flood: {said}"
    );
    ensure!(
        number("frames")? >= LEAST as f64,
        "that was no flood: {said}"
    );
    Ok(())
}
