//! The disks of a guest, by name, on every target.
//!
//! On Xen they are what `disk = [ … ]` of the guest's configuration says. Where the guest is a process of the host they
//! are files, which its command line names: `disk=FILE` is `xvda`, `disk1=FILE` is `xvdb` and so on, with `,ro` after
//! the file for one that can't be written.

#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
mod process;
#[cfg(not(xenlet = "xen"))]
mod words;

#[cfg(xenlet = "unix")]
#[path = "disk/unix.rs"]
mod target;
#[cfg(not(xenlet = "unix"))]
mod target {
    //! Disks behind our own driver.

    use alloc::string::String;
    use alloc::vec::Vec;
    use xenlet_blkfront::disk_name;
    pub use xenlet_blkfront::{Disk, Error};

    pub(super) async fn names() -> Result<Vec<String>, super::OpenError> {
        let numbers = xenlet_blkfront::disks().await;
        let numbers = numbers.map_err(super::OpenError::Store)?;
        Ok(numbers.into_iter().map(disk_name).collect())
    }
}

pub use target::{Disk, Error as DiskError};

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Why a disk could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The disk itself.
    Disk(target::Error),
    /// xenstore did not say which disks there are.
    #[cfg(not(xenlet = "unix"))]
    Store(xenlet_kernel::xenstore::Error),
    /// A word of the command line that can't be used, or a file that the host can't open.
    #[cfg(not(xenlet = "xen"))]
    Word(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(e) => e.fmt(f),
            #[cfg(not(xenlet = "unix"))]
            Self::Store(e) => write!(f, "which disks there are: {e}"),
            #[cfg(not(xenlet = "xen"))]
            Self::Word(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for OpenError {}

/// Opens the disk that is called `name`, such as `xvda`.
///
/// # Errors
/// As [`OpenError`] says. It can be tried again.
pub async fn open(name: &str) -> Result<Disk, OpenError> {
    prepare()?;
    Disk::open(name).await.map_err(OpenError::Disk)
}

/// The names of the guest's disks, in order.
///
/// # Errors
/// As [`OpenError`] says; no disks is no error.
pub async fn disks() -> Result<Vec<String>, OpenError> {
    prepare()?;
    target::names().await
}

/// Keeps the report of a crash for the next start, and logs the one of the start before, on the disk that `blackbox=` on the command line
/// names: [`xenlet_blkfront::black_box`]. A task of its own; without the word, or where the guest is the host's own process, it has
/// nothing to do.
pub async fn black_box() {
    #[cfg(not(xenlet = "unix"))]
    match prepare() {
        Ok(()) => xenlet_blkfront::black_box().await,
        Err(e) => log::error!(target: "blackbox", "{e}"),
    }
}

/// Gives a process that is a guest by itself its disks, once.
fn prepare() -> Result<(), OpenError> {
    #[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
    process::attach()?;
    Ok(())
}
