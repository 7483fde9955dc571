//! Guests come and go.

use anyhow::{Result, ensure};

use super::context::{BOOT, Context, END};
use crate::xen::{self, Settings};

/// Two guests of one image run side by side, with an address each.
pub(super) fn two_guests(context: &mut Context<'_>) -> Result<()> {
    let one = context.server(1, Settings::default())?;
    let two = context.server(2, Settings::default())?;
    ensure!(
        one.address != two.address,
        "both have the address {}",
        one.address
    );
    let (first, second) = (one.client.page("/")?, two.client.page("/")?);
    ensure!(first.body == second.body, "the two serve different pages");
    Ok(())
}

/// `xl shutdown` ends the guest, and not by a crash.
pub(super) fn shutdown(context: &mut Context<'_>) -> Result<()> {
    let server = context.server(
        1,
        Settings {
            on_crash: Some("preserve"),
            ..Settings::default()
        },
    )?;
    server.guest.xl("shutdown")?;
    server.guest.wait_end(END)?;
    ensure!(server.guest.report().is_none(), "it crashed on the way");
    Ok(())
}

/// After `xl reboot` the guest is a new domain that serves the same pages.
pub(super) fn reboot(context: &mut Context<'_>) -> Result<()> {
    let server = context.server(
        1,
        Settings {
            on_crash: Some("preserve"),
            ..Settings::default()
        },
    )?;
    let guest = &server.guest;
    let (page, before) = (server.client.page("/")?.body, guest.domid()?);
    guest.xl("reboot")?;
    let address = guest.wait("address after the reboot", BOOT + END, |text| {
        xen::address(second_boot(text)?)
    })?;
    ensure!(
        address == server.address,
        "its address was {} and is {address}",
        server.address
    );
    ensure!(guest.domid()? != before, "it is still domain {before:?}");
    server.client.wait_for_answer(BOOT)?;
    ensure!(
        server.client.page("/")?.body == page,
        "it serves another page than before"
    );
    Ok(())
}

/// What the console shows from the second boot on.
fn second_boot(text: &str) -> Option<&str> {
    const FIRST_LINE: &str = "INFO kernel: xenlet ";
    let (first, _) = text.match_indices(FIRST_LINE).nth(1)?;
    Some(&text[first..])
}
