//! Watches: being told that something changed at or below a path.
//!
//! A watch remembers only *that* something changed, so a peer that changes keys as fast as it can costs no memory;
//! whoever watches reads what it wants to know again.

use super::{Error, client};
use crate::abi::xs_wire::Type;
use crate::run::Notify;
use crate::trace;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{OnceCell, RefCell};

#[derive(Debug, Default)]
struct Place {
    notify: Notify,
    /// Why nothing will come any more.
    ended: OnceCell<Error>,
}

struct Watches {
    /// By token. Few: one for each device and a handful besides.
    places: Vec<(u32, Rc<Place>)>,
    next: u32,
}

local! {
    static WATCHES: RefCell<Watches> = RefCell::new(Watches { places: Vec::new(), next: 0 });
}

/// A watch on a path. Removed when dropped.
#[derive(Debug)]
pub struct Watch {
    path: String,
    token: u32,
    place: Rc<Place>,
}

/// Starts to watch `path` and everything below it. The first [`changed`](Watch::changed) comes at once.
///
/// # Errors
/// When xenstored refuses: `E2BIG` when this domain has too many.
pub async fn watch(path: &str) -> Result<Watch, Error> {
    let place = Rc::new(Place::default());
    let token = WATCHES.with(|w| {
        let mut watches = w.borrow_mut();
        watches.next = watches.next.wrapping_add(1);
        let token = watches.next;
        watches.places.push((token, Rc::clone(&place)));
        token
    });
    // Made before the answer: if the caller goes away meanwhile, the drop removes the watch.
    let watch = Watch {
        path: path.to_string(),
        token,
        place,
    };
    let token = token.to_string();
    client::request(
        Type::Watch,
        0,
        &[path.as_bytes(), b"\0", token.as_bytes(), b"\0"],
    )
    .await?;
    Ok(watch)
}

impl Watch {
    /// Waits until something changed since the last time.
    ///
    /// # Errors
    /// [`Error::Broken`] when the connection to xenstored has ended, [`Error::Restored`] when the domain was restored and
    /// is to watch again.
    pub async fn changed(&mut self) -> Result<(), Error> {
        if self.ended().is_none() {
            trace::waiting("a change in xenstore", self.place.notify.notified()).await;
        }
        self.ended().cloned().map_or(Ok(()), Err)
    }

    /// Why nothing will come any more, if so.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.place.ended.get()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        WATCHES.with(|w| {
            w.borrow_mut()
                .places
                .retain(|(token, _)| *token != self.token);
        });
        let token = self.token.to_string();
        client::send(
            Type::Unwatch,
            0,
            &[self.path.as_bytes(), b"\0", token.as_bytes(), b"\0"],
        );
    }
}

/// Watches there are now.
pub(crate) fn count() -> usize {
    WATCHES.with(|w| w.borrow().places.len())
}

/// A watch event: `path NUL token NUL`. One with a token that is not ours is for a watch just removed, or a lie.
pub(super) fn event(payload: &[u8]) {
    let token = payload
        .split(|b| *b == 0)
        .nth(1)
        .and_then(|token| core::str::from_utf8(token).ok()?.parse().ok());
    let place = token.and_then(|token: u32| {
        WATCHES.with(|w| {
            let watches = w.borrow();
            let found = watches.places.iter().find(|(other, _)| *other == token);
            found.map(|(_, place)| Rc::clone(place))
        })
    });
    if let Some(place) = place {
        place.notify.notify();
    }
}

/// Tells everybody who watches that nothing will come any more.
pub(super) fn end_all(why: &Error) {
    let all = WATCHES.with(|w| core::mem::take(&mut w.borrow_mut().places));
    for (_, place) in all {
        let _ = place.ended.set(why.clone());
        place.notify.notify();
    }
}
