//! What answers a disk's requests on the hosted target, in this process.
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

mod cache;
mod content;
mod dice;
mod disk;
mod faults;
mod medium;

pub use dice::Dice;
pub use disk::MediumDisk;
pub use faults::{Faults, Kind, Nth};
pub use medium::Medium;
