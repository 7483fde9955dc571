//! Guests are saved and go on, and devices come and go: connections that were open answer, and what was acknowledged is there.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::context::{BOOT, Context};
use super::load::{Rounds, asked, uploaded};
use crate::xen::{Guest, Settings};

const SAVED: Rounds = Rounds { test: 3, soak: 20 };
const DETACHED: Rounds = Rounds { test: 3, soak: 50 };
const SET: Rounds = Rounds { test: 3, soak: 20 };
const UNBOUND: Rounds = Rounds { test: 3, soak: 20 };

/// `xl save` and `xl restore`, with idle connections and busy ones.
pub(super) fn save_restore(context: &mut Context<'_>) -> Result<()> {
    let server = context.server(1, fixed(context))?;
    let mut domid = server.guest.domid()?;
    asked(context, SAVED, &server, |round| {
        server.guest.save_and_restore()?;
        said(&server.guest, "suspend: Restored", round)?;
        let before = std::mem::replace(&mut domid, server.guest.domid()?);
        ensure!(domid != before, "it is still domain {before:?}");
        Ok(())
    })
}

/// `xl save -c`: the guest goes on, and notices nothing of its devices.
pub(super) fn checkpoint(context: &mut Context<'_>) -> Result<()> {
    let server = context.server(1, fixed(context))?;
    asked(context, SAVED, &server, |round| {
        server.guest.checkpoint()?;
        said(&server.guest, "suspend: InPlace", round)
    })?;
    let console = server.guest.console.text();
    ensure!(!console.contains("link is down"), "it lost its vif");
    Ok(())
}

/// `xl pause` and `xl unpause`, which a guest does not hear of.
pub(super) fn pause(context: &mut Context<'_>) -> Result<()> {
    let server = context.server(1, fixed(context))?;
    asked(context, SAVED, &server, |_| {
        server.guest.xl("pause")?;
        sleep(Duration::from_secs(3));
        server.guest.xl("unpause").map(drop)
    })
}

/// The queue is saved and restored in the middle of uploads.
pub(super) fn queue(context: &mut Context<'_>) -> Result<()> {
    uploaded(context, SAVED, "saved", |guest, round| {
        // Neither the first nor the last: only a restored guest begins again with what it holds.
        match round % 3 {
            0 => guest.checkpoint(),
            _ => guest.save_and_restore(),
        }?;
        said(guest, "suspend: ", round)
    })
}

/// The queue's disk and its vif are detached in the middle of uploads, and attached again.
pub(super) fn devices(context: &mut Context<'_>) -> Result<()> {
    uploaded(context, DETACHED, "detached", |guest, round| {
        guest.replug_disk()?;
        said(guest, "there is a backend again", round)?;
        guest.replug_vif()?;
        said(guest, "link is up", 1 + round)
    })
}

/// blkback and netback let go of the queue's disk and vif in the middle of uploads, and take them again.
pub(super) fn backends(context: &mut Context<'_>) -> Result<()> {
    uploaded(context, UNBOUND, "unbound", |guest, round| {
        // A blkback that is quick takes the ring as it is, and the guest need not notice.
        guest.rebind_disk()?;
        guest.rebind_vif()?;
        said(guest, "link is up", 1 + round)
    })
}

/// The queue has less memory in the middle of uploads, is saved like this, and has more again.
pub(super) fn memory(context: &mut Context<'_>) -> Result<()> {
    uploaded(context, SET, "ballooned", |guest, round| {
        guest.set_memory(24, BOOT)?;
        guest.save_and_restore()?;
        said(guest, "suspend: Restored", round)?;
        guest.set_memory(32, BOOT)
    })
}

/// A guest whose address is there at once.
fn fixed(context: &Context<'_>) -> Settings {
    Settings {
        extra: Some(context.address().into()),
        ..Settings::default()
    }
}

/// Waits for the console's line number `count` with these words.
fn said(guest: &Guest, words: &str, count: u64) -> Result<()> {
    guest.wait(&format!("line {count} with `{words}`"), BOOT, |text| {
        (text.matches(words).count() as u64 >= count).then_some(())
    })
}
