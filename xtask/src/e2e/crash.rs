//! Guests that crash on purpose: the report says what and where, and Xen knows.

use anyhow::{Result, ensure};

use super::context::{BOOT, Context};
use crate::commands::symbolize::symbolize;
use crate::xen::{Guest, Settings};

/// Where the application asks for its crash, and where the kernel obliges.
const APPLICATION: &str = "examples/httpd/src/crash.rs:";
const KERNEL: &str = "kernel/src/trap.rs:";

/// Page zero is not mapped.
pub(super) fn null(context: &mut Context<'_>) -> Result<()> {
    let says = "page fault reading 0x0000000000000000 (not mapped)";
    crash(
        context,
        "null",
        says,
        &[("read_null", KERNEL), ("", APPLICATION)],
    )
}

/// A panic.
pub(super) fn panic(context: &mut Context<'_>) -> Result<()> {
    crash(context, "panic", "panicked at ", &[("", APPLICATION)])
}

/// Code is not writable.
pub(super) fn code(context: &mut Context<'_>) -> Result<()> {
    crash(
        context,
        "code",
        "page fault writing ",
        &[("write_code", KERNEL), ("", APPLICATION)],
    )
}

/// Data is not executable.
pub(super) fn data(context: &mut Context<'_>) -> Result<()> {
    crash(
        context,
        "data",
        "page fault executing ",
        &[("", KERNEL), ("", APPLICATION)],
    )
}

/// Xen ends a guest whose loop stands still, if it was asked to.
pub(super) fn watchdog(context: &mut Context<'_>) -> Result<()> {
    let guest = guest(context, "watchdog=3 crash=loop")?;
    guest.wait_end(BOOT)?;
    ensure!(guest.report().is_none(), "it crashed in another way");
    Ok(())
}

/// A guest with these words, which stays if it crashes.
fn guest(context: &mut Context<'_>, extra: &str) -> Result<Guest> {
    let settings = Settings {
        extra: Some(extra.to_owned()),
        preserve: true,
        ..Settings::default()
    };
    context.guest(1, settings)
}

/// Crashes a guest by `crash=<how>`. The report must say `says`, and, once symbolized, have for each of `places` a line
/// with that function in that file.
fn crash(context: &mut Context<'_>, how: &str, says: &str, places: &[(&str, &str)]) -> Result<()> {
    let guest = guest(context, &format!("crash={how}"))?;
    let report = guest.wait_report(BOOT)?;
    ensure!(
        report.contains(says),
        "the report does not say `{says}`:\n{report}"
    );
    let named = symbolize(&report, &context.image.debug())?;
    for (function, file) in places {
        // Not only the file: with the line in it.
        let is_it = |line: &str| {
            let number = line
                .split_once(file)
                .map(|(_, number)| number.starts_with(|digit: char| digit.is_ascii_digit()));
            line.contains(function) && number == Some(true)
        };
        ensure!(
            named.lines().any(is_it),
            "no frame of the report is {function} in {file}<line>:\n{named}"
        );
    }
    guest.wait_state('c', BOOT).map(drop)
}
