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

use alloc::vec::Vec;
use core::cell::RefCell;
#[cfg(feature = "inspect")]
use core::fmt;

/// Whether anything is noted for those who look into a guest.
pub const ENABLED: bool = cfg!(feature = "inspect");

/// Writes the numbers of one part of the guest.
pub type Source = fn(&mut Writer<'_>);

local! {
    static SOURCES: RefCell<Vec<(&'static str, Source)>> = RefCell::new(Vec::new());
}

/// Has `source` write the numbers of what is called `name` from now on. Giving it again changes nothing.
pub fn provide(name: &'static str, source: Source) {
    if ENABLED {
        SOURCES.with(|sources| {
            let mut sources = sources.borrow_mut();
            if sources.iter().all(|(other, _)| *other != name) {
                sources.push((name, source));
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
    for (_, source) in sources {
        source(&mut writer);
    }
    writer.finish()
}
