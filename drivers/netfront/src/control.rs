//! The task beside an interface, which has its end in xenstore: agrees with the backend, says when it leaves, and takes
//! leave of it.
//!
//! The backend takes its hands off our pages on the way to `Closed`, so rings and pages are handed over to this task
//! when the interface is done with them, and are taken back only then.

use crate::connect::agree;
use crate::data::Data;
use crate::{Error, Lie, Link, Why};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::{Future, pending, poll_fn};
use core::pin::pin;
use xenlet_kernel::limit::RateLimit;
use xenlet_kernel::run::Notify;
use xenlet_kernel::time::{Duration, timeout};
use xenlet_kernel::xenbus::{Frontend, State};
use xenlet_kernel::{local, page};

/// How long the backend has for each step of closing.
const FAREWELL: Duration = Duration::from_secs(5);

local! {
    /// The interfaces that are connected, connecting or closing.
    static CLAIMED: RefCell<Vec<u32>> = RefCell::new(Vec::new());
}
local! {
    static LIES: RateLimit = RateLimit::new(8);
}

/// The right to be the one frontend of an interface. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim(u32);

impl Claim {
    pub(crate) fn new(number: u32) -> Result<Self, Error> {
        CLAIMED.with(|c| {
            let mut claimed = c.borrow_mut();
            if claimed.contains(&number) {
                return Err(Error::InUse(number));
            }
            claimed.push(number);
            Ok(Self(number))
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.with(|c| c.borrow_mut().retain(|number| *number != self.0));
    }
}

/// What an interface and its task have in common.
#[derive(Debug)]
pub(crate) struct Control {
    link: Cell<Link>,
    /// What came of agreeing with the backend, once that is known.
    agreed: RefCell<Option<Result<(), Error>>>,
    /// Wakes the interface when either of these changed.
    pub(crate) changed: Notify,
    /// Rings and pages that the interface is done with.
    retired: RefCell<Option<Data>>,
    retire: Notify,
}

impl Control {
    pub(crate) const fn new() -> Self {
        Self {
            link: Cell::new(Link::Up),
            agreed: RefCell::new(None),
            changed: Notify::new(),
            retired: RefCell::new(None),
            retire: Notify::new(),
        }
    }

    pub(crate) fn link(&self) -> Link {
        self.link.get()
    }

    /// Waits until the backend is connected, or is known not to be.
    pub(crate) async fn agreed(&self) -> Result<(), Error> {
        loop {
            if let Some(result) = self.agreed.take() {
                return result;
            }
            self.changed.notified().await;
        }
    }

    /// Takes the link down for a lie, with one line in the log.
    pub(crate) fn fail(&self, number: u32, lie: Lie) {
        LIES.with(|limit| {
            limit.warn(format_args!(
                "vif{number}: the backend broke the protocol: {lie}; the interface is closed"
            ));
        });
        self.link.set(Link::Down(Why::Lied(lie)));
    }

    /// Hands over rings and pages, to be taken back from the backend.
    pub(crate) fn retire(&self, data: Data) {
        *self.retired.borrow_mut() = Some(data);
        self.retire.notify();
    }
}

/// The task: to `Connected` with `keys`, and when the interface is done, to `Closed`.
pub(crate) async fn attend(
    claim: Claim,
    mut frontend: Frontend,
    keys: Vec<(&'static str, String)>,
    control: Rc<Control>,
) {
    {
        let mut life = pin!(live(claim.0, &mut frontend, &keys, &control));
        poll_fn(|cx| {
            // It is never ready.
            let _ = life.as_mut().poll(cx);
            control.retire.poll_notified(cx)
        })
        .await;
    }
    let data = control.retired.take();
    finish(claim.0, frontend, data).await;
    drop(claim);
}

/// Connects, and says when the backend leaves.
async fn live(
    number: u32,
    frontend: &mut Frontend,
    keys: &[(&'static str, String)],
    control: &Control,
) {
    let agreed = agree(number, frontend, keys).await;
    let connected = agreed.is_ok();
    *control.agreed.borrow_mut() = Some(agreed);
    control.changed.notify();
    if connected
        // Without xenstore there is nobody to ask; the rings go on.
        && let Ok(state) = frontend.wait_backend(|state| state != State::Connected).await
        && control.link.get() == Link::Up
    {
        control.link.set(Link::Down(Why::Backend(state)));
        control.changed.notify();
    }
    pending().await
}

/// Takes leave of the backend, then takes the memory back.
async fn finish(number: u32, mut frontend: Frontend, data: Option<Data>) {
    part(&mut frontend).await;
    let before = page::leaked();
    drop(data);
    let lost = page::leaked() - before;
    if lost > 0 {
        log::warn!(
            "vif{number}: the backend still has pages mapped: {lost} pages are lost to this guest"
        );
    }
}

/// Brings both ends to `Closed`, or as near as the backend comes in the time it has.
async fn part(frontend: &mut Frontend) {
    let left = |s| !matches!(s, State::Connected | State::Initialised);
    let closed = |s| !matches!(s, State::Connected | State::Initialised | State::Closing);
    // Errors: the device or xenstore is gone, so there is nobody to take leave of.
    let _ = frontend.publish(&[], State::Closing).await;
    let _ = timeout(FAREWELL, frontend.wait_backend(left)).await;
    let _ = frontend.publish(&[], State::Closed).await;
    let _ = timeout(FAREWELL, frontend.wait_backend(closed)).await;
}
