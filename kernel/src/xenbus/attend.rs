//! The task beside a device, which has its end in xenstore: agrees with the backend, says when it leaves, and takes
//! leave of it.
//!
//! The backend takes its hands off our pages on the way to `Closed`, so rings and pages are handed over to this task
//! when the driver is done with them, and are taken back only then.

use super::device::{Class, Link, Why, reach};
use super::{Failure, Frontend, State};
use crate::limit::RateLimit;
use crate::page;
use crate::run::Notify;
use crate::suspend;
use crate::time::{Duration, sleep, timeout};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::{Future, pending, poll_fn};
use core::pin::pin;

/// How long the backend has for each step of closing.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long it has afterwards to let go of our pages. blkback goes to `Closed` while its disk is still busy, and keeps them until that
/// is done.
const LETTING_GO: Duration = Duration::from_secs(30);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);

local! {
    /// The devices that are connected, connecting or closing.
    static CLAIMED: RefCell<Vec<(&'static str, u32)>> = RefCell::new(Vec::new());
}
local! {
    static LIES: RateLimit = RateLimit::new(8);
}

/// The right to be the one frontend of a device. Given back when dropped.
#[derive(Debug)]
pub(super) struct Claim(&'static str, u32);

impl Claim {
    /// `None` when somebody has it.
    pub(super) fn new(class: &'static str, number: u32) -> Option<Self> {
        CLAIMED.with(|c| {
            let mut claimed = c.borrow_mut();
            if claimed.contains(&(class, number)) {
                return None;
            }
            claimed.push((class, number));
            Some(Self(class, number))
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.with(|c| c.borrow_mut().retain(|taken| *taken != (self.0, self.1)));
    }
}

/// What a device and its task have in common.
#[derive(Debug)]
pub(super) struct Control<C: Class> {
    name: String,
    /// The life of the domain that it is of.
    life: u64,
    link: Cell<Link<C::Lie>>,
    /// What came of agreeing with the backend, once that is known.
    agreed: RefCell<Option<Result<(), Failure>>>,
    /// Wakes the driver when either of these changed.
    pub(super) changed: Notify,
    /// What the driver shared and is done with.
    retired: RefCell<Option<C::Shared>>,
    retire: Notify,
    /// Whether the driver wants it back then.
    wanted: Cell<bool>,
}

impl<C: Class> Control<C> {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            life: suspend::lives(),
            link: Cell::new(Link::Up),
            agreed: RefCell::new(None),
            changed: Notify::new(),
            retired: RefCell::new(None),
            retire: Notify::new(),
            wanted: Cell::new(false),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn link(&self) -> Link<C::Lie> {
        match self.link.get() {
            // At once, before xenstore is asked: what is said to a backend that is gone is lost.
            Link::Up if self.life != suspend::lives() => Link::Down(Why::Restored),
            link => link,
        }
    }

    /// Waits until the backend is connected, or is known not to be.
    pub(super) async fn agreed(&self) -> Result<(), Failure> {
        loop {
            if let Some(result) = self.agreed.take() {
                return result;
            }
            self.changed.notified().await;
        }
    }

    /// Takes the link down for a lie, with one line in the log.
    pub(super) fn fail(&self, lie: C::Lie) {
        LIES.with(|limit| {
            limit.warn(format_args!(
                "{}: the backend broke the protocol: {lie}; the device is closed",
                self.name
            ));
        });
        self.link.set(Link::Down(Why::Lied(lie)));
    }

    /// Hands over what was shared, to be taken back from the backend.
    pub(super) fn retire(&self, shared: C::Shared) {
        *self.retired.borrow_mut() = Some(shared);
        self.retire.notify();
    }

    /// Says that what was shared is not to be dropped once the backend has left.
    pub(super) fn want(&self) {
        self.wanted.set(true);
    }

    /// What was shared and is wanted back, once the task has ended.
    pub(super) fn take_back(&self) -> Option<C::Shared> {
        self.retired.take()
    }
}

/// The task: to `Connected` with `keys`, and when the driver is done, to `Closed`.
pub(super) async fn attend<C: Class>(
    claim: Claim,
    mut frontend: Frontend,
    keys: Vec<(&'static str, String)>,
    control: Rc<Control<C>>,
) {
    {
        let mut life = pin!(live(&mut frontend, &keys, &control));
        poll_fn(|cx| {
            // It is never ready.
            let _ = life.as_mut().poll(cx);
            control.retire.poll_notified(cx)
        })
        .await;
    }
    part(&mut frontend).await;
    let let_go = async {
        while control.retired.borrow().as_ref().is_some_and(C::is_held) {
            sleep(LOOK).await;
        }
    };
    let _ = timeout(LETTING_GO, let_go).await;
    if !control.wanted.get() {
        release(&control.name, control.retired.take());
    }
    drop(claim);
}

/// Connects, and says when the backend leaves.
async fn live<C: Class>(
    frontend: &mut Frontend,
    keys: &[(&'static str, String)],
    control: &Control<C>,
) {
    let agreed = agree::<C>(frontend, keys).await;
    let connected = agreed.is_ok();
    *control.agreed.borrow_mut() = Some(agreed);
    control.changed.notify();
    if connected
        // Without xenstore there is nobody to ask; the rings go on.
        && let Ok(state) = frontend
            .wait_backend(|state| state != State::Connected)
            .await
        && matches!(control.link(), Link::Up)
    {
        control.link.set(Link::Down(Why::Backend(state)));
        control.changed.notify();
    }
    pending().await
}

/// Shows the backend our keys and waits for it to follow.
async fn agree<C: Class>(
    frontend: &mut Frontend,
    keys: &[(&'static str, String)],
) -> Result<(), Failure> {
    frontend
        .publish(keys, C::PUBLISH_AT)
        .await
        .map_err(Failure::Store)?;
    reach::<C>(frontend, State::Connected).await?;
    if C::PUBLISH_AT != State::Connected {
        frontend
            .publish(&[], State::Connected)
            .await
            .map_err(Failure::Store)?;
    }
    Ok(())
}

/// Takes the memory back of what was shared with a backend.
pub(super) fn release<S>(name: &str, shared: Option<S>) {
    let before = page::leaked();
    drop(shared);
    let lost = page::leaked() - before;
    if lost > 0 {
        log::warn!(
            "{name}: the backend still has pages mapped: {lost} pages are lost to this guest"
        );
    }
}

/// Brings both ends to `Closed`, or as near as the backend comes in the time it has.
async fn part(frontend: &mut Frontend) {
    // Waited for by name: a backend that was bound anew is at `InitWait`, and, if it has not looked at each of our steps, stays there or
    // at `Closing` for ever.
    let left = |s| matches!(s, State::Closing | State::Closed | State::Unknown);
    let closed = |s| matches!(s, State::Closed | State::Unknown);
    // Errors: the device, xenstore or the domain that the backend was for is gone: there is nobody to take leave of.
    let _ = frontend.publish(&[], State::Closing).await;
    let _ = timeout(FAREWELL, frontend.wait_backend(left)).await;
    let _ = frontend.publish(&[], State::Closed).await;
    let _ = timeout(FAREWELL, frontend.wait_backend(closed)).await;
}
