//! How a domain ends: the toolstack asks through `control/shutdown`, the application is told, has a deadline, and
//! then the domain ends either way.
//!
//! The key and its values are those of Xen's `docs/misc/xenstore-paths.pandoc`; the guest acknowledges a request by
//! clearing the key, and announces what it honours by `control/feature-*`.

use crate::run::Notify;
use crate::time::{Duration, Instant, now};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

/// Why the domain ends. The numbers are `SHUTDOWN_*` of Xen's `sched.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Reason {
    /// Ended for good.
    Poweroff = xen_sys::SHUTDOWN_poweroff,
    /// To be started again.
    Reboot = xen_sys::SHUTDOWN_reboot,
    /// Stopped; to Xen this is a poweroff.
    Halt = u32::MAX,
    /// Something went wrong: the toolstack does what `on_crash` says.
    Crash = xen_sys::SHUTDOWN_crash,
}

impl Reason {
    /// The `SHUTDOWN_*` number that Xen is given.
    pub const fn code(self) -> u32 {
        match self {
            Self::Halt => xen_sys::SHUTDOWN_poweroff,
            other => other as u32,
        }
    }

    #[cfg(not(xenlet = "unix"))]
    fn from_request(text: &str) -> Option<Self> {
        match text {
            "poweroff" => Some(Self::Poweroff),
            "reboot" => Some(Self::Reboot),
            "halt" => Some(Self::Halt),
            _ => None,
        }
    }
}

/// How long the application has after a request, unless `shutdown_secs=` on the command line says otherwise.
pub const GRACE: Duration = Duration::from_secs(10);

struct State {
    asked: Cell<Option<(Reason, Instant)>>,
    waiting: RefCell<Vec<Rc<Notify>>>,
}

local! {
    static STATE: State = State { asked: Cell::new(None), waiting: RefCell::new(Vec::new()) };
}

/// Waits until the domain is asked to end, and says how. Any number of tasks may wait.
pub async fn requested() -> Reason {
    let place = Rc::new(Notify::new());
    loop {
        if let Some(reason) = pending() {
            return reason;
        }
        STATE.with(|s| {
            let mut waiting = s.waiting.borrow_mut();
            waiting.retain(|other| Rc::strong_count(other) > 1);
            waiting.push(Rc::clone(&place));
        });
        place.notified().await;
    }
}

/// How the domain has been asked to end, if it has.
pub fn pending() -> Option<Reason> {
    STATE.with(|s| s.asked.get().map(|(reason, _)| reason))
}

/// When the domain ends whatever the application does, if it has been asked to end.
pub fn deadline() -> Option<Instant> {
    STATE.with(|s| s.asked.get().map(|(_, deadline)| deadline))
}

/// Asks the domain to end, as the toolstack would. The first request counts; later ones cost nothing. An application
/// in which no task waits for [`requested`] ends at once.
pub fn request(reason: Reason) {
    if pending().is_some() {
        return;
    }
    let grace = match crate::cmdline::parse("shutdown_secs") {
        Ok(secs) => secs.map_or(GRACE, Duration::from_secs),
        Err(text) => {
            log::warn!("{text}; using {} s", GRACE.as_secs());
            GRACE
        }
    };
    let waiting = STATE.with(|s| s.waiting.take());
    // Nobody wants to be told: there is nothing to wait for.
    let grace = if waiting.iter().any(|place| Rc::strong_count(place) > 1) {
        grace
    } else {
        Duration::ZERO
    };
    STATE.with(|s| s.asked.set(Some((reason, now() + grace))));
    for place in waiting {
        place.notify();
    }
    // A timer makes the loop come round when the deadline passes; `overdue` is what acts on it.
    crate::run::spawn(crate::time::sleep(grace));
}

/// The reason, once the deadline has passed.
pub(crate) fn overdue() -> Option<Reason> {
    STATE.with(|s| {
        s.asked
            .get()
            .and_then(|(reason, deadline)| (deadline <= now()).then_some(reason))
    })
}

/// Turns what the toolstack writes to `control/shutdown` into [`request`]. Runs as a task of every domain.
#[cfg(not(xenlet = "unix"))]
pub(crate) async fn serve() {
    // Again from the start in each new place in xenstore.
    while let Err(crate::xenstore::Error::Restored) = serve_here().await {}
}

#[cfg(not(xenlet = "unix"))]
async fn serve_here() -> Result<(), crate::xenstore::Error> {
    use crate::{suspend, xenstore};
    const KEY: &str = "control/shutdown";
    for feature in [
        "control/feature-poweroff",
        "control/feature-reboot",
        "control/feature-halt",
        "control/feature-suspend",
    ] {
        // A toolstack need not let us write these; a request works without them.
        xenstore::post(feature, "1");
    }
    let mut watch = match xenstore::watch(KEY).await {
        Ok(watch) => watch,
        Err(e) => {
            log::warn!("shutdown: cannot watch {KEY}: {e}; `xl shutdown` will not work");
            return Err(e);
        }
    };
    let limit = crate::limit::RateLimit::new(4);
    loop {
        watch.changed().await?;
        match xenstore::read(KEY).await {
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
                // Clearing the key is the acknowledgement.
                if let Err(e) = xenstore::write(KEY, "").await {
                    limit.warn(format_args!("shutdown: cannot acknowledge `{text}`: {e}"));
                }
                match Reason::from_request(&text) {
                    None if text == "suspend" => suspend::request(),
                    Some(reason) => {
                        if pending().is_none() {
                            log::info!("shutdown: the toolstack asks for {text}");
                        }
                        request(reason);
                    }
                    None => limit.warn(format_args!(
                        "shutdown: `{text}` is not something this guest can do"
                    )),
                }
            }
            Err(xenstore::Error::Refused(xenstore::Errno::ENOENT)) => {}
            Err(e) => limit.warn(format_args!("shutdown: cannot read {KEY}: {e}")),
        }
    }
}

/// On the host's own target nobody asks: an interrupt from the terminal ends the process.
#[cfg(xenlet = "unix")]
pub(crate) async fn serve() {}
