//! A disk that is a file of the host.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use xenlet_blkfront::{BlockDevice, Geometry, IoError, SECTOR, host_file};
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::page::Pages;

/// A file as a disk. Requests are done at once, by the caller's thread.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    geometry: Geometry,
}

impl FileDisk {
    /// The file (or block device) `path`, to be read and, unless `read_only`, written. What is beyond the last whole
    /// sector is left alone.
    ///
    /// # Errors
    /// As [`host_file::open`].
    pub fn open(path: &Path, read_only: bool) -> io::Result<Self> {
        use std::io::Seek;
        let mut file = host_file::open(path, read_only)?;
        let bytes = file.seek(io::SeekFrom::End(0))?;
        Ok(Self {
            file,
            geometry: Geometry {
                sectors: bytes / SECTOR as u64,
                sector_size: SECTOR,
                read_only,
                discard: false,
            },
        })
    }

    /// Does `one` for each page and its position in the file.
    fn each<T>(
        sector: u64,
        pages: impl Iterator<Item = T>,
        mut one: impl FnMut(T, u64) -> io::Result<()>,
    ) -> Result<(), IoError> {
        for (page, at) in pages.zip((sector * SECTOR as u64..).step_by(PAGE_SIZE)) {
            one(page, at).map_err(|e| {
                log::error!("disk file, byte {at}: {e}");
                IoError::Failed
            })?;
        }
        Ok(())
    }
}

impl BlockDevice for FileDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    async fn read(&self, sector: u64, mut pages: Pages) -> (Pages, Result<(), IoError>) {
        let done = self.geometry.check(sector, pages.len()).and_then(|()| {
            Self::each(sector, pages.chunks_mut(), |page, at| {
                self.file.read_exact_at(page, at)
            })
        });
        (pages, done)
    }

    async fn write(&self, sector: u64, pages: Pages) -> (Pages, Result<(), IoError>) {
        if self.geometry.read_only {
            return (pages, Err(IoError::ReadOnly));
        }
        let done = self.geometry.check(sector, pages.len()).and_then(|()| {
            Self::each(sector, pages.chunks(), |page, at| {
                self.file.write_all_at(page, at)
            })
        });
        (pages, done)
    }

    async fn flush(&self) -> Result<(), IoError> {
        if self.geometry.read_only {
            return Ok(());
        }
        self.file.sync_data().map_err(|e| {
            log::error!("disk file, flush: {e}");
            IoError::Failed
        })
    }

    async fn discard(&self, sector: u64, sectors: u64) -> Result<(), IoError> {
        let len = usize::try_from(sectors).unwrap_or(usize::MAX / SECTOR) * SECTOR;
        self.geometry.check(sector, len)
    }
}
