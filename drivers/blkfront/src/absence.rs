//! The time without a backend: one has gone, or the domain has been restored, and another is to come.

use crate::connect::{self, Vbd};
use crate::disk::Shared;
use crate::{Link, Why};
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use xenlet_kernel::time::{Duration, sleep};
use xenlet_kernel::xenbus::Device;

/// How long requests wait for the next backend, from when one left.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a disk that could not be connected is left alone. Each later time is twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(16);

/// Takes leave of the backend of `device`, and waits for another one of disk `number`, for which requests wait meanwhile. `None` when the
/// disk is to be closed, or the other one is of another disk.
pub(crate) async fn next(
    number: u32,
    device: Device<Vbd>,
    why: Why,
    shared: &Shared,
) -> Option<Device<Vbd>> {
    let mut next = pin!(async {
        // What it still does for us it has done when it is closed: what is asked again can then not be overtaken by it.
        device
            .close_with(|io| {
                // Else nobody waits for it any more.
                if !shared.missed.get() {
                    io.put_back(&mut shared.state.borrow_mut());
                }
            })
            .await;
        connect(number, why, shared).await
    });
    let mut patience = pin!(sleep(PATIENCE));
    poll_fn(|cx| {
        if shared.closing.get() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(next) = next.as_mut().poll(cx) {
            return Poll::Ready(next);
        }
        if !shared.missed.get() && patience.as_mut().poll(cx).is_ready() {
            log::error!(
                "{}: no backend has come for {} s; what is asked of it fails until one does",
                shared.name(),
                PATIENCE.as_secs()
            );
            shared.missed.set(true);
            shared.give_up();
        }
        // What is asked meanwhile waits. Only to be closed is something to do.
        while shared.wake.poll_notified(cx).is_ready() {}
        if shared.closing.get() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// Connects the disk anew. `None` when it is another one.
async fn connect(number: u32, why: Why, shared: &Shared) -> Option<Device<Vbd>> {
    let mut said = None;
    // A restored domain's backend is there; one that just left may be on its way out.
    let mut pause = match why {
        Why::Restored => Duration::ZERO,
        _ => FIRST_PAUSE,
    };
    loop {
        sleep(pause).await;
        pause = (pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
        match connect::open(number).await {
            Ok((device, geometry, features)) if shared.is_like(geometry) => {
                shared.state.borrow_mut().features = features;
                shared.missed.set(false);
                shared.link.set(Link::Up);
                log::info!("{}: there is a backend again", shared.name());
                return Some(device);
            }
            Ok((device, geometry, _)) => {
                log::error!(
                    "{}: the backend that came has another disk, of {} sectors of {} bytes{}; it is not used",
                    shared.name(),
                    geometry.sectors,
                    geometry.sector_size,
                    if geometry.read_only {
                        ", read-only"
                    } else {
                        ""
                    },
                );
                device.close().await;
                return None;
            }
            // Once, however long it lasts.
            Err(e) if said.as_ref() == Some(&e) => {}
            Err(e) => {
                log::warn!("{e}; trying again until it works");
                said = Some(e);
            }
        }
    }
}
