//! The numbers of a running guest. Whoever owns some gives a function that writes them ([`provide`]); whoever is asked for all of
//! them has each write its own ([`write`]).
//!
//! Without the feature `inspect` nothing is kept and nobody asks, so that an image has nothing of it.

mod histogram;
#[cfg(feature = "inspect")]
mod own;
mod writer;

pub use histogram::Histogram;
pub use writer::{Form, Label, Rows, Value, Writer};

use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::RefCell;
#[cfg(feature = "inspect")]
use core::fmt;

/// Whether anything is noted for those who look into a guest.
pub const ENABLED: bool = cfg!(feature = "inspect");

local! {
    static SOURCES: RefCell<Vec<fn(&mut Writer<'_>)>> = RefCell::new(Vec::new());
}

/// Has `source` write its numbers from now on. Giving it again changes nothing.
pub fn provide(source: fn(&mut Writer<'_>)) {
    if ENABLED {
        SOURCES.with(|sources| {
            let mut sources = sources.borrow_mut();
            if !sources
                .iter()
                .any(|other| core::ptr::fn_addr_eq(*other, source))
            {
                sources.push(source);
            }
        });
    }
}

/// Writes every number there is.
///
/// # Errors
/// Those of `out`.
#[cfg(feature = "inspect")]
pub fn write(out: &mut dyn fmt::Write, form: Form) -> fmt::Result {
    let mut writer = Writer::new(out, form);
    own::write(&mut writer);
    let sources = SOURCES.with(|sources| sources.borrow().clone());
    for source in sources {
        source(&mut writer);
    }
    writer.finish()
}

/// What there is of a kind, for the function that writes the numbers of all of them; with [`local!`](crate::local!).
#[derive(Debug)]
pub struct Instances<T: 'static>(RefCell<Vec<Weak<T>>>);

impl<T> Instances<T> {
    /// None.
    #[allow(clippy::new_without_default, reason = "statics are made by it")]
    pub const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// One more, for as long as it is there.
    pub fn add(&self, instance: &Rc<T>) {
        if ENABLED {
            let mut list = self.0.borrow_mut();
            list.retain(|other| other.strong_count() > 0);
            list.push(Rc::downgrade(instance));
        }
    }

    /// Those that are there now.
    pub fn all(&self) -> Vec<Rc<T>> {
        self.0.borrow().iter().filter_map(Weak::upgrade).collect()
    }
}
