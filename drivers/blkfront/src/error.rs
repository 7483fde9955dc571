//! What can go wrong, by who did it: [`Error`] while connecting, [`Lie`] of a backend that breaks the protocol.

use alloc::string::String;
use core::fmt;
use xenlet_kernel::ring::BogusProducer;
use xenlet_kernel::xenbus::{self, DeviceError};

/// Why a disk could not be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// As any device may fail.
    Device(DeviceError),
    /// No disk can have this name.
    NoName(String),
    /// The backend says nothing that makes sense about the disk.
    BadOffer {
        /// The disk.
        disk: String,
        /// The key of the backend's.
        key: &'static str,
        /// What it says; `None` for nothing.
        said: Option<String>,
        /// What it may say.
        wanted: &'static str,
    },
}

impl From<DeviceError> for Error {
    fn from(e: DeviceError) -> Self {
        Self::Device(e)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(e) => e.fmt(f),
            Self::NoName(name) => write!(
                f,
                "{name:?} is not the name of a disk: write it as in disk = [ … ] of the guest's configuration, such as \
                 xvda"
            ),
            Self::BadOffer {
                disk,
                key,
                said,
                wanted,
            } => {
                write!(f, "{disk}: the backend's {key} is ")?;
                match said {
                    Some(said) => write!(f, "{said:?}")?,
                    None => f.write_str("missing")?,
                }
                write!(f, ", not {wanted}; its domain's log may say why")
            }
        }
    }
}

impl core::error::Error for Error {}

/// How a backend broke the protocol. A disk whose backend lies is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The ring claims more responses than there are requests.
    Producer(BogusProducer),
    /// A response for a request that is not outstanding.
    Id(u64),
    /// A response that names another operation than its request did.
    Operation {
        /// The request's.
        asked: u8,
        /// The response's.
        said: u8,
    },
    /// A response with a status that does not exist.
    Status(i16),
    /// The backend has a page mapped that it said it is done with.
    PageKept,
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Producer(e) => e.fmt(f),
            Self::Id(id) => write!(f, "response for request {id}, which it does not have"),
            Self::Operation { asked, said } => {
                write!(f, "response for operation {said} to a request for {asked}")
            }
            Self::Status(status) => write!(f, "response with status {status}"),
            Self::PageKept => f.write_str("a response for a page that it still has mapped"),
        }
    }
}

impl core::error::Error for Lie {}

/// Whether requests are done.
pub type Link = xenbus::Link<Lie>;

/// Why a disk is gone.
pub type Why = xenbus::Why<Lie>;
