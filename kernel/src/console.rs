//! The PV console (`xen/io/console.h`): the `log` backend, and where a crash report goes.
//!
//! Writing never waits. What the ring has no room for is kept in a backlog; a line that the backlog has no room for is
//! dropped whole, and a line says how many were. What a terminal would act on comes out as `?`, whoever
//! sent them. What is typed is thrown away, unless somebody waits for a key (`keys`).

#[cfg(feature = "inspect")]
mod keys;

#[cfg(feature = "inspect")]
pub(crate) use keys::metrics;
#[cfg(feature = "inspect")]
pub use keys::{key, print};

use crate::abi::console::{IN_SIZE, OUT_SIZE};
use crate::event::Channel;
use crate::page::Window;
use crate::time::now;
use crate::{platform, run, timeline};
use alloc::collections::VecDeque;
use core::cell::RefCell;
use core::fmt::{self, Write as _};
use core::ops::Range;

/// Offsets of the indices in `struct xencons_interface`.
const IN_CONS: usize = 3072;
const IN_PROD: usize = 3076;
const OUT_CONS: usize = 3080;
const OUT_PROD: usize = 3084;
const OUTPUT: Range<usize> = IN_SIZE..IN_SIZE + OUT_SIZE;

/// Bytes kept for a reader that is slow.
const BACKLOG: usize = 16 * 1024;
/// Bytes of the longest line; the rest is cut off.
const LINE: usize = 512;

struct Console {
    page: Window,
    channel: Channel,
    backlog: VecDeque<u8>,
    lost: u64,
}

local! {
    static CONSOLE: RefCell<Option<Console>> = RefCell::new(None);
}

/// Connects the console and makes it the `log` backend.
pub(crate) fn start() {
    let Some((page, port)) = platform::console() else {
        return;
    };
    let channel = Channel::bound(port);
    let console = Console {
        page,
        channel,
        // All it will ever hold, so that a report of a crash gets out with no memory left, or the heap in disorder.
        backlog: VecDeque::with_capacity(BACKLOG),
        lost: 0,
    };
    CONSOLE.with(|c| *c.borrow_mut() = Some(console));
    // Hosted domains share one logger; each thread's console is its own.
    let _ = log::set_logger(&Logger);
    crate::set_log_level();
    let serve = core::future::poll_fn(|cx| {
        // Each event says that the reader made room, or that somebody typed.
        CONSOLE.with(|c| {
            if let Some(console) = c.borrow_mut().as_mut() {
                while console.channel.poll_event(cx).is_ready() {
                    console.take_input();
                    console.flush();
                }
            }
        });
        core::task::Poll::<()>::Pending
    });
    run::spawn_named("console", serve);
}

/// Takes up the console of a restored domain.
pub(crate) fn restored() {
    CONSOLE.with(|c| {
        if let (Some(console), Some((page, port))) = (c.borrow_mut().as_mut(), platform::console())
        {
            // Whoever waits for the channel was woken, and waits for this one next.
            (console.page, console.channel) = (page, Channel::bound(port));
        }
    });
}

impl Console {
    /// Moves what fits from the backlog into the ring.
    fn flush(&mut self) {
        let (cons, prod) = (
            self.page.load_acquire(OUT_CONS),
            self.page.load_acquire(OUT_PROD),
        );
        let used = prod.wrapping_sub(cons) as usize;
        // An index that makes no sense is a full ring: the peer hurts only what it reads itself.
        let room = OUT_SIZE.saturating_sub(used);
        let count = room.min(self.backlog.len());
        if count > 0 {
            let at = self.page.drain(&mut self.backlog, count, &OUTPUT, prod);
            self.page.store_release(OUT_PROD, at);
            self.channel.notify();
            #[cfg(feature = "inspect")]
            keys::has_room();
        }
        if self.lost > 0 && self.backlog.len() < BACKLOG / 2 {
            let mut line = Line::new();
            let _ = write!(
                line,
                "console: {} lines were lost, nobody read them in time",
                self.lost
            );
            line.end();
            self.lost = 0;
            self.backlog.extend(line.bytes());
        }
    }

    fn take_input(&mut self) {
        let prod = self.page.load_acquire(IN_PROD);
        #[cfg(feature = "inspect")]
        keys::typed(&self.page, self.page.load_acquire(IN_CONS), prod);
        self.page.store_release(IN_CONS, prod);
    }

    fn write(&mut self, line: &Line) {
        if self.backlog.len() + line.len > BACKLOG {
            self.lost += 1;
            #[cfg(feature = "inspect")]
            keys::lost();
        } else {
            self.backlog.extend(line.bytes());
        }
        self.flush();
    }
}

/// Writes one line. Before there is a console it goes to Xen's own log.
pub fn write_line(text: fmt::Arguments<'_>) {
    let mut line = Line::new();
    let _ = line.write_fmt(text);
    line.end();
    CONSOLE.with(|c| {
        // A trap may come while the console is borrowed; its report then has to do without.
        if let Ok(mut console) = c.try_borrow_mut() {
            match console.as_mut() {
                Some(console) => console.write(&line),
                None => platform::early_line(line.bytes()),
            }
        }
    });
}

/// Moves what fits into the ring. True when nothing is left.
pub(crate) fn flush() -> bool {
    CONSOLE.with(|c| match c.try_borrow_mut() {
        Ok(mut console) => console.as_mut().is_none_or(|console| {
            console.flush();
            console.backlog.is_empty()
        }),
        Err(_) => true,
    })
}

/// Gives the reader up to a second to take everything: for the last lines of a domain's life.
pub(crate) fn drain() {
    let deadline = now() + crate::time::Duration::from_secs(1);
    while !(flush() && empty()) && now() < deadline {
        platform::console_pause();
    }
}

fn empty() -> bool {
    CONSOLE.with(|c| {
        c.try_borrow().ok().is_none_or(|console| {
            console
                .as_ref()
                .is_none_or(|c| c.page.load_acquire(OUT_CONS) == c.page.load_acquire(OUT_PROD))
        })
    })
}

/// One line being written, cut off at its length, without what a terminal would act on.
struct Line {
    text: [u8; LINE],
    len: usize,
}

impl Line {
    const fn new() -> Self {
        Self {
            text: [0; LINE],
            len: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }

    /// Ends the line, which always has room for that.
    fn end(&mut self) {
        self.text[self.len..self.len + 2].copy_from_slice(b"\r\n");
        self.len += 2;
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let c = if c.is_control() { '?' } else { c };
            let mut utf8 = [0; 4];
            let bytes = c.encode_utf8(&mut utf8).as_bytes();
            let end = self.len + bytes.len();
            if end > LINE - 2 {
                return Ok(());
            }
            self.text[self.len..end].copy_from_slice(bytes);
            self.len = end;
        }
        Ok(())
    }
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let at = now().since(timeline::started());
            let target = record
                .target()
                .strip_prefix("xenlet_")
                .unwrap_or(record.target());
            let target = target.split(':').next().unwrap_or(target);
            let (secs, micros, level) = (at.as_secs(), at.subsec_micros(), record.level());
            write_line(format_args!(
                "[{secs:5}.{micros:06}] {level} {target}: {}",
                record.args()
            ));
        }
    }

    fn flush(&self) {}
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests {
    use super::*;
    use crate::hosted;

    #[test]
    fn a_line_has_its_form() {
        hosted::test(async || {
            log::info!("hello {}", 1);
            let text = hosted::console_text();
            assert!(text.ends_with("] INFO kernel: hello 1\r\n"), "{text:?}");
        });
    }

    #[test]
    fn a_terminal_is_not_commanded_by_what_comes_from_outside() {
        hosted::test(async || {
            write_line(format_args!("{}", "a\x1b[2Jb\r\nc\x07\u{9b}d é"));
            let text = hosted::console_text();
            assert!(
                !text.trim_end().contains(['\x1b', '\r', '\n', '\x07']),
                "{text:?}"
            );
            assert!(text.contains("a?[2Jb??c??d é"), "{text:?}");
        });
    }

    #[test]
    fn nobody_reads_and_the_guest_goes_on() {
        hosted::test(async || {
            // The hosted reader takes nothing before it is asked to: 2 KiB of ring, 16 KiB of backlog.
            let before = CONSOLE.with(|c| c.borrow().as_ref().map(|c| c.backlog.capacity()));
            for i in 0..10_000 {
                write_line(format_args!("line {i} {}", "x".repeat(64)));
            }
            let mut text = hosted::console_text();
            for _ in 0..20 {
                text = hosted::console_text();
            }
            assert!(text.contains("line 0 "));
            assert!(
                text.contains(" lines were lost, nobody read them in time\r\n"),
                "it says so, on a line of its own"
            );
            let capacity = CONSOLE.with(|c| c.borrow().as_ref().map(|c| c.backlog.capacity()));
            assert_eq!(
                capacity, before,
                "no allocation, which a crash could not make"
            );
            assert!(text.len() < 2 * (OUT_SIZE + BACKLOG));
            let whole = text
                .lines()
                .filter(|l| l.starts_with("line"))
                .all(|l| l.ends_with(&"x".repeat(64)));
            assert!(whole, "lines are dropped whole");
        });
    }

    #[test]
    fn a_long_line_is_cut() {
        hosted::test(async || {
            write_line(format_args!("{}", "y".repeat(10_000)));
            let text = hosted::console_text();
            assert_eq!(text.matches('y').count(), LINE - 2);
        });
    }
}
