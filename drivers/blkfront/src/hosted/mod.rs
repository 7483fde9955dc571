//! A blkback in this process: what answers a disk's requests on the hosted target.
//!
//! It maps the guest's grants, reads and writes real ring bytes and follows the states in xenstore as Linux's blkback
//! does, and it is stricter: what makes no sense for a frontend to ask is a panic here, so that our own bugs show.
//!
//! A [`Medium`] is what is behind a disk: memory or a file, under a volatile write cache, with power that can be cut. A
//! [`MediumDisk`] is a medium as a disk without a ring between, for tests of what is built on disks.
//!
//! ```
//! use xenlet_blkfront::{BlockDevice, hosted::{Faults, Medium, Nth}};
//! use xenlet_kernel::{hosted, page::Pages};
//!
//! let medium = Medium::new(1 << 20);
//! hosted::test({
//!     let medium = medium.clone();
//!     async move || {
//!         let disk = medium.disk(Faults { seed: 7, cut: Some(Nth::any(2)), ..Faults::default() });
//!         let ended = medium.until_cut(async {
//!             disk.write(0, Pages::new(512).unwrap()).await.1.unwrap();
//!             disk.flush().await.unwrap();
//!             // Nobody will know of this one.
//!             disk.write(1, Pages::new(512).unwrap()).await.1.unwrap();
//!         });
//!         assert!(ended.await.is_none());
//!     }
//! });
//! // What is left is for the next domain.
//! assert_eq!(medium.bytes().len(), 1 << 20);
//! ```

mod blkback;
mod cache;
mod config;
mod content;
mod dice;
mod disk;
mod faults;
mod fuzz;
pub mod hostile;
mod medium;
mod queue;

pub use blkback::Counts;
pub use config::Config;
pub use dice::Dice;
pub use disk::MediumDisk;
pub use faults::{Faults, Kind, Nth};
pub use fuzz::fuzz;
pub use medium::Medium;

use blkback::Blkback;
use std::cell::RefCell;
use std::rc::Rc;
use xenlet_kernel::hosted::{Backend, add_backend};
use xenlet_kernel::time::Instant;
use xenlet_kernel::xenbus::State;

/// Gives this thread's domain a disk, as `xl create` or `xl block-attach` does, with `medium` behind it.
pub fn attach(config: Config, medium: &Medium) -> Vbd {
    config.write_keys(medium.geometry().read_only);
    let blkback = Blkback::new(config, medium.clone());
    let vbd = Vbd(Rc::new(RefCell::new(blkback)));
    add_backend(Box::new(vbd.clone()));
    vbd
}

/// The host's end of a disk. Dropping it changes nothing.
#[derive(Clone)]
pub struct Vbd(Rc<RefCell<Blkback>>);

impl Vbd {
    /// Takes the disk away, as `xl block-detach` does: tells both ends to close, and removes their keys when the guest
    /// has followed.
    pub fn detach(&self) {
        self.0.borrow_mut().detach();
    }

    /// Lets the backend's domain die: it answers nothing more, and its keys are gone.
    pub fn vanish(&self) {
        self.0.borrow_mut().vanish();
    }

    /// Has the driver of dom0 let go of the disk and take it again, as `unbind` and `bind` in sysfs do: nobody tells the guest but its
    /// state, which is `InitWait`. From then on it is slow to look at the guest's.
    pub fn rebind(&self) {
        self.0.borrow_mut().rebind();
    }

    /// The backend's state.
    pub fn state(&self) -> State {
        self.0.borrow().state()
    }

    /// What it has seen so far.
    pub fn counts(&self) -> Counts {
        self.0.borrow().counts()
    }
}

impl Backend for Vbd {
    fn poll(&mut self) -> bool {
        self.0.borrow_mut().poll()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.0.borrow().next_deadline()
    }

    fn is_gone(&self) -> bool {
        self.0.borrow().is_gone()
    }
}

#[cfg(test)]
mod tests;
