//! Disks that are files of the host, for a guest that is a program of it.

use super::OpenError;
use super::words::{FileWord, files};
use crate::{BlockDevice, FileDisk, Geometry, IoError};
use core::fmt;
use std::path::Path;
use std::rc::Rc;
use xenlet_kernel::cmdline;
use xenlet_kernel::page::Pages;

/// The command line names no such disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such disk.
    NoDisk(String),
    /// The command line, or the file.
    Open(Box<OpenError>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDisk(name) => write!(
                f,
                "there is no {name}: name a file on the command line, disk=FILE for xvda, disk1=FILE for xvdb"
            ),
            Self::Open(e) => e.fmt(f),
        }
    }
}

/// An open disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct Disk(Rc<(FileDisk, String)>);

impl Disk {
    pub(super) async fn open(name: &str) -> Result<Self, Error> {
        let words = files(cmdline::line()).map_err(|e| Error::Open(Box::new(e)))?;
        let Some(file) = words.iter().find(|file| file.name() == name) else {
            return Err(Error::NoDisk(name.into()));
        };
        let disk = FileDisk::open(Path::new(&file.path), file.read_only);
        let disk = disk.map_err(|e| Error::Open(Box::new(file.failed(&e))))?;
        Ok(Self(Rc::new((disk, name.into()))))
    }

    /// What the disk is called in messages, such as `xvda`.
    pub fn name(&self) -> &str {
        &self.0.1
    }

    /// Closes the disk.
    pub async fn close(self) {}
}

impl BlockDevice for Disk {
    fn geometry(&self) -> Geometry {
        self.0.0.geometry()
    }

    async fn read(&self, sector: u64, pages: Pages) -> (Pages, Result<(), IoError>) {
        self.0.0.read(sector, pages).await
    }

    async fn write(&self, sector: u64, pages: Pages) -> (Pages, Result<(), IoError>) {
        self.0.0.write(sector, pages).await
    }

    async fn flush(&self) -> Result<(), IoError> {
        self.0.0.flush().await
    }

    async fn discard(&self, sector: u64, sectors: u64) -> Result<(), IoError> {
        self.0.0.discard(sector, sectors).await
    }
}

pub(super) async fn names() -> Result<Vec<String>, OpenError> {
    Ok(files(cmdline::line())?.iter().map(FileWord::name).collect())
}
