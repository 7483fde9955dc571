//! Where the file is.

use alloc::format;
use alloc::string::String;
use xenlet_kernel::boot_module;
#[cfg(feature = "disk")]
use {
    alloc::string::ToString,
    alloc::vec::Vec,
    xenlet_kernel::page::Pages,
    xenlet_storage::BlockDevice,
    zeroize::{Zeroize, Zeroizing},
};

/// Bytes of a disk that are looked at; the file is shorter.
#[cfg(feature = "disk")]
const DISK_BYTES: u64 = 64 * 1024;

/// Where the file is.
pub(super) enum Source {
    /// It is the boot module.
    Module,
    /// At the begin of this disk, up to the first zero byte.
    #[cfg(feature = "disk")]
    Disk(String),
}

impl Source {
    /// The disk that is called so; `None` if that can't be a disk's name.
    #[cfg(feature = "disk")]
    pub(super) fn disk(name: &str) -> Option<Self> {
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_name && name.starts_with(|first: char| first.is_ascii_lowercase()))
            .then(|| Self::Disk(name.into()))
    }

    /// This image knows no disks.
    #[cfg(not(feature = "disk"))]
    pub(super) fn disk(_: &str) -> Option<Self> {
        None
    }

    /// Lends the file to `read`, and wipes what was read.
    ///
    /// # Errors
    /// One line that says where the file is, and why it is not read or what `read` says is wrong.
    pub(super) async fn lend<R>(
        &self,
        read: impl FnOnce(&[u8]) -> Result<R, String>,
    ) -> Result<R, String> {
        match self {
            Self::Module => module(read)?.ok_or_else(|| {
                String::from(
                    "there is no key: name a file with the key and its certificates, ramdisk = \"tls.pem\" in the guest's configuration; \
                     or tls=selfsigned for trying out, or tls=off to serve in the clear, on its command line",
                )
            }),
            #[cfg(feature = "disk")]
            Self::Disk(name) => from_disk(name, read)
                .await
                .map_err(|why| format!("the disk {name}: {why}")),
        }
    }
}

/// The boot module, if there is one.
///
/// # Errors
/// As [`Source::lend`].
pub(super) fn module<R>(
    read: impl FnOnce(&[u8]) -> Result<R, String>,
) -> Result<Option<R>, String> {
    boot_module::take(read)?.transpose().map_err(|why| {
        format!("the boot module (ramdisk = \"…\" in the guest's configuration): {why}")
    })
}

/// The disk is closed again: that wipes the memory in which its driver had what was read.
#[cfg(feature = "disk")]
async fn from_disk<R>(
    name: &str,
    read: impl FnOnce(&[u8]) -> Result<R, String>,
) -> Result<R, String> {
    let disk = xenlet_storage::open(name).await;
    let disk = disk.map_err(|why| why.to_string())?;
    let result = first_of(&disk, read).await;
    disk.close().await;
    result
}

#[cfg(feature = "disk")]
async fn first_of<R>(
    disk: &impl BlockDevice,
    read: impl FnOnce(&[u8]) -> Result<R, String>,
) -> Result<R, String> {
    // Both are whole sectors.
    let len = usize::try_from(disk.geometry().bytes().min(DISK_BYTES)).unwrap_or(0);
    let pages = Pages::new(len).map_err(|why| why.to_string())?;
    let (mut pages, done) = disk.read(0, pages).await;
    let mut text = Zeroizing::new(Vec::new());
    let result = match done {
        // With room for all at once: what grows leaves copies behind.
        Ok(()) if text.try_reserve_exact(len).is_ok() => {
            let bytes = pages.chunks().flatten().copied();
            text.extend(bytes.take_while(|byte| *byte != 0));
            if text.len() as u64 == DISK_BYTES {
                Err(String::from(
                    "no zero byte follows the file: it is longer than 64 KiB",
                ))
            } else {
                read(&text)
            }
        }
        Ok(()) => Err(String::from("there is no memory to read it")),
        Err(why) => Err(why.to_string()),
    };
    pages.chunks_mut().for_each(Zeroize::zeroize);
    result
}
