//! Guests that crash on purpose: the report says what and where, and Xen knows.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::content::Content;
use super::context::{BOOT, Context};
use super::http::Client;
use super::uploads::{TOKENS, Uploads};
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

/// A queue that crashes while it runs is started again, says why the one before ended, and has what that acknowledged.
pub(super) fn restart(context: &mut Context<'_>) -> Result<()> {
    let disks = [
        Context::disk("crashed", 64 << 20)?,
        Context::disk("black-box", 4096)?,
    ];
    let words = "format=ifblank blackbox=xvdb";
    let settings = Settings {
        extra: Some(format!("{TOKENS} {words} {}", context.address())),
        disks: disks.to_vec(),
        on_crash: Some("restart"),
        ..Settings::default()
    };
    let guest = context.queue(1, settings)?;
    let server = context.await_server(guest)?;
    let content = Content::new(1, 5 << 20);
    Uploads::new(&server.client).put("before", &content)?;
    for round in 1..=2 {
        server.guest.ask_to_crash()?;
        let report = reported(&server.guest, round)?;
        let named = symbolize(&report, &context.others.queue.debug())?;
        let place = named.lines().any(|line| {
            let number = line.split_once("kernel/src/crash.rs:");
            line.contains('#')
                && number.is_some_and(|(_, n)| n.starts_with(|c: char| c.is_ascii_digit()))
        });
        ensure!(
            place
                && named.contains("panicked at kernel/src/crash.rs:")
                && named.contains("executor"),
            "the report does not lead to where it panicked:\n{named}"
        );
        server.client.wait_for_answer(BOOT)?;
        // By a connection of this start: those of the one before are gone without a word.
        Uploads::new(&Client::new(server.client.at)).fetch("before", &content)?;
    }
    context.clean(false);
    for disk in disks {
        fs::remove_file(disk.file)?;
    }
    Ok(())
}

/// Waits until the guest has logged the `count`th report of a start before, and returns the last one.
fn reported(guest: &Guest, count: usize) -> Result<String> {
    const BEGINS: &str = "*** the start before crashed:";
    let deadline = Instant::now() + 2 * BOOT;
    loop {
        let text = guest.console.text();
        let begin = text.rfind(BEGINS).unwrap_or(text.len());
        let report = &text[begin..];
        if text.matches(BEGINS).count() == count
            && let Some(end) = report.find("*** end of report")
        {
            return Ok(report[..end].to_owned());
        }
        if Instant::now() > deadline {
            bail!("no report of the start before:\n{text}");
        }
        sleep(Duration::from_millis(200));
    }
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
        on_crash: Some("preserve"),
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
