//! Guests that crash on purpose: the report says what and where, and Xen knows.

use anyhow::{Result, ensure};

use super::context::{BOOT, Context};
use crate::commands::symbolize::symbolize;
use crate::xen::{self, Settings};

/// Reading address zero.
pub(super) fn null(context: &mut Context<'_>) -> Result<()> {
    crash(context, "null", "page fault reading 0x0000000000000000")
}

/// A panic.
pub(super) fn panic(context: &mut Context<'_>) -> Result<()> {
    crash(context, "panic", "panicked at examples/httpd/src/crash.rs")
}

/// Crashes a guest with `crash=<how>`, in a function of the name `how`.
fn crash(context: &mut Context<'_>, how: &str, says: &str) -> Result<()> {
    let settings = Settings {
        extra: Some(format!("crash={how}")),
        preserve: true,
        ..Settings::default()
    };
    let guest = context.guest(1, settings)?;
    let report = guest.wait_report(BOOT)?;
    ensure!(
        report.contains(says),
        "the report does not say `{says}`:\n{report}"
    );
    let named = symbolize(&report, &context.image.debug())?;
    // The line, not only the file: the one in which the function does it.
    let function = format!("crash::{how}");
    let line = named
        .lines()
        .find(|line| line.contains(&function) && line.contains("examples/httpd/src/crash.rs:"));
    ensure!(
        line.is_some(),
        "no line of {function} in the report:\n{named}"
    );
    let state = guest.wait_state('c', BOOT)?;
    ensure!(
        xen::report(&report).is_some() && state.contains('c'),
        "xl list shows {state}"
    );
    Ok(())
}
