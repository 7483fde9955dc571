//! What is typed in `xl console`, and long answers to it.
//!
//! The host's side of the console is a peer: its indices may be nonsense, and it may type as much as it likes. One key is kept, and only
//! while somebody waits for it; the rest costs nothing.

use super::{BACKLOG, CONSOLE, LINE};
use crate::abi::console::IN_SIZE;
use crate::metrics::Writer;
use crate::page::Window;
use crate::run::Notify;
use core::cell::Cell;
use core::future::poll_fn;
use core::ops::Range;

const INPUT: Range<usize> = 0..IN_SIZE;

/// How much of the backlog [`print`] leaves to the log.
const FOR_OTHERS: usize = BACKLOG / 2;

struct Keys {
    /// Whether somebody waits, and what was typed then.
    awaited: Cell<bool>,
    key: Cell<Option<u8>>,
    typed: Notify,
    room: Notify,
    /// Lines that nobody read in time.
    lost: Cell<u64>,
}

local! {
    static KEYS: Keys = Keys {
        awaited: Cell::new(false),
        key: Cell::new(None),
        typed: Notify::new(),
        room: Notify::new(),
        lost: Cell::new(0),
    };
}

/// Waits for a key to be typed, from now on. One task at a time may wait.
pub async fn key() -> u8 {
    KEYS.with(|keys| keys.awaited.set(true));
    loop {
        if let Some(key) = KEYS.with(|keys| keys.key.take()) {
            return key;
        }
        poll_fn(|cx| KEYS.with(|keys| keys.typed.poll_notified(cx))).await;
    }
}

/// Takes note of what the input has between two indices.
pub(super) fn typed(page: &Window, cons: u32, prod: u32) {
    let count = prod.wrapping_sub(cons) as usize;
    KEYS.with(|keys| {
        if (1..=IN_SIZE).contains(&count) && keys.awaited.take() {
            let mut key = [0];
            page.read_around(&INPUT, cons, &mut key);
            keys.key.set(Some(key[0]));
            keys.typed.notify();
        }
    });
}

/// The ring took something.
pub(super) fn has_room() {
    KEYS.with(|keys| keys.room.notify());
}

/// A line was lost.
pub(super) fn lost() {
    KEYS.with(|keys| keys.lost.update(|count| count + 1));
}

/// Writes a text of any length line by line, each when there is room for it, so that none is lost however slow the reader is. One task at
/// a time may print.
pub async fn print(text: &str) {
    for line in text.lines() {
        while backlog() + LINE > BACKLOG - FOR_OTHERS {
            wait_for_room().await;
        }
        super::write_line(format_args!("{line}"));
    }
}

async fn wait_for_room() {
    poll_fn(|cx| KEYS.with(|keys| keys.room.poll_notified(cx))).await;
}

/// Bytes that wait for the reader.
fn backlog() -> usize {
    CONSOLE.with(|console| {
        let console = console.borrow();
        console.as_ref().map_or(0, |console| console.backlog.len())
    })
}

/// Writes how much waits, and how much was lost.
pub(crate) fn metrics(w: &mut Writer<'_>) {
    w.gauge(
        "console_backlog_bytes",
        "Output that waits for the console's reader.",
        &[],
        backlog(),
    );
    w.gauge(
        "console_backlog_limit_bytes",
        "Most that may wait; lines beyond it are lost.",
        &[],
        BACKLOG,
    );
    let lost = KEYS.with(|keys| keys.lost.get());
    w.counter(
        "console_lines_lost_total",
        "Lines that nobody read in time.",
        &[],
        lost,
    );
}

#[cfg(all(test, not(any(xenlet = "xen", xenlet = "unix"))))]
mod tests;
