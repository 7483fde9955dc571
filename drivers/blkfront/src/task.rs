//! The task of a disk: moves requests from the queue to the ring and answers to those who wait.

use crate::connect::Vbd;
use crate::disk::Shared;
use crate::io::State;
use crate::{Lie, Link, Why, absence};
use alloc::rc::Rc;
use core::future::poll_fn;
use core::task::{Context, Poll};
use xenlet_kernel::time::{Duration, timeout};
use xenlet_kernel::xenbus::Device;

/// How long the backend has to answer what is outstanding when the disk is closed.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// Serves the disk until it is closed, or its backend breaks the protocol.
pub(crate) async fn serve(number: u32, mut device: Device<Vbd>, shared: Rc<Shared>) {
    while let Some(why) = work(&mut device, &shared).await {
        if let Why::Lied(_) = why {
            break;
        }
        match absence::next(number, device, why, &shared).await {
            Some(next) => device = next,
            None => {
                shared.closing.set(true);
                shared.give_up();
                return;
            }
        }
    }
    let rest = poll_fn(|cx| match turn(&mut device, &shared, cx) {
        Turn::Down | Turn::Idle => Poll::Ready(()),
        Turn::Busy => Poll::Pending,
    });
    let _ = timeout(LAST_ANSWERS, rest).await;
    shared.closing.set(true);
    if let Some(io) = device.shared_mut() {
        io.abandon(&mut shared.state.borrow_mut());
    }
    device.close().await;
}

/// Does what is asked until the disk is to be closed, or is down: then it says why.
async fn work(device: &mut Device<Vbd>, shared: &Shared) -> Option<Why> {
    poll_fn(|cx| match turn(device, shared, cx) {
        Turn::Down => match shared.link.get() {
            Link::Down(why) => Poll::Ready(Some(why)),
            Link::Up => Poll::Ready(None),
        },
        _ if shared.closing.get() => Poll::Ready(None),
        _ => Poll::Pending,
    })
    .await
}

/// What a turn left behind.
enum Turn {
    /// The backend is gone, or lied.
    Down,
    /// Nothing is outstanding and nothing waits.
    Idle,
    /// Something is, or does.
    Busy,
}

/// Does all that can be done now. `cx` is woken when there is more to do.
fn turn(device: &mut Device<Vbd>, shared: &Shared, cx: &mut Context<'_>) -> Turn {
    loop {
        if let Link::Down(why) = device.link() {
            if let (Link::Up, Link::Down(_)) = (shared.link.get(), device.link()) {
                log::warn!("{}: {why}", shared.name());
            }
            shared.link.set(device.link());
            return Turn::Down;
        }
        let mut state = shared.state.borrow_mut();
        let could_flush = state.features.flush().is_some();
        let (idle, more) = match step(device, &mut state) {
            Ok(done) => done,
            Err(lie) => {
                if let Some(io) = device.shared_mut() {
                    io.abandon(&mut state);
                }
                device.fail(lie);
                shared.link.set(device.link());
                return Turn::Down;
            }
        };
        if could_flush && state.features.flush().is_none() {
            log::warn!(
                "{}: the backend can't flush as it said: from now on writes last as its domain has it",
                shared.name()
            );
        }
        // Whatever is already set is from before the ring was looked at: look again.
        let event = device
            .shared()
            .is_some_and(|io| io.channel.poll_event(cx).is_ready());
        let asked = shared.wake.poll_notified(cx).is_ready();
        let changed = device.poll_changed(cx).is_ready();
        state.stats.events += u64::from(event);
        if !(more || event || asked || changed) {
            return if idle { Turn::Idle } else { Turn::Busy };
        }
    }
}

/// Takes answers, sends what waits, tells the backend if it wants to be told. Whether nothing is left, and whether there
/// is more to do at once.
fn step(device: &mut Device<Vbd>, state: &mut State) -> Result<(bool, bool), Lie> {
    let Some(io) = device.shared_mut() else {
        return Ok((true, false));
    };
    io.reap(state)?;
    io.issue(state);
    state.stats.in_flight = (io.ring.outstanding(), io.ring.slots());
    if io.ring.publish() {
        io.channel.notify();
        state.stats.notified += 1;
    }
    let more = io.ring.arm(1).map_err(Lie::Producer)?;
    Ok((io.is_idle() && state.queue.is_empty(), more))
}
