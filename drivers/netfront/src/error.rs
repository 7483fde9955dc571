//! What can go wrong, by who did it: [`Error`] while connecting, [`Lie`] of a backend that breaks the protocol.

use alloc::string::String;
use core::fmt;
use xenlet_kernel::ring::BogusProducer;
use xenlet_kernel::xenbus::{self, DeviceError};

/// Why an interface could not be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// As any device may fail.
    Device(DeviceError),
    /// The interface's `mac` is not an address that an interface can have.
    BadMac(u32, String),
    /// The backend does not copy into our pages (`feature-rx-copy`).
    NoCopy(u32),
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
            Self::BadMac(n, mac) => write!(
                f,
                "vif{n}: mac is `{mac}`, not the address of one interface; write it as mac=00:16:3e:12:34:56"
            ),
            Self::NoCopy(n) => write!(
                f,
                "vif{n}: the backend does not offer feature-rx-copy; use Linux's netback or one as new"
            ),
        }
    }
}

impl core::error::Error for Error {}

/// How a backend broke the protocol. An interface whose backend lies is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The transmit ring claims more responses than there are requests.
    TxProducer(BogusProducer),
    /// A transmit response for a request that is not outstanding.
    TxId(u16),
    /// A transmit response with a status that does not exist.
    TxStatus(i16),
    /// More answers to extras than there are extras.
    TxNull,
    /// The receive ring claims more responses than there are requests.
    RxProducer(BogusProducer),
    /// A receive response with another id than its slot's request.
    RxId {
        /// The slot's.
        due: u16,
        /// What the backend said.
        said: u16,
    },
    /// A receive response whose bytes are not within its page.
    RxOutside {
        /// Where in the page they are said to begin.
        offset: u16,
        /// How many they are said to be.
        len: u16,
    },
    /// A frame that takes more slots than any may.
    RxEndless,
    /// An extra announced elsewhere than by a frame's first slot.
    RxStrayExtra,
    /// More extras for one frame than there are kinds.
    RxExtras,
    /// The backend has a page mapped that it said it is done with.
    RxPageKept,
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TxProducer(e) => write!(f, "transmit ring: {e}"),
            Self::TxId(id) => write!(
                f,
                "transmit response for request {id}, which it does not have"
            ),
            Self::TxStatus(status) => write!(f, "transmit response with status {status}"),
            Self::TxNull => f.write_str("transmit response to an extra that was not sent"),
            Self::RxProducer(e) => write!(f, "receive ring: {e}"),
            Self::RxId { due, said } => {
                write!(f, "receive response with id {said} where {due} is due")
            }
            Self::RxOutside { offset, len } => {
                write!(f, "receive response of {len} bytes at {offset} of a page")
            }
            Self::RxEndless => f.write_str("a received frame of more slots than a frame may have"),
            Self::RxStrayExtra => f.write_str("an extra in the middle of a received frame"),
            Self::RxExtras => f.write_str("a received frame with more extras than there are kinds"),
            Self::RxPageKept => {
                f.write_str("a receive response for a page that it still has mapped")
            }
        }
    }
}

impl core::error::Error for Lie {}

/// Whether frames can come and go.
pub type Link = xenbus::Link<Lie>;

/// Why a link is down.
pub type Why = xenbus::Why<Lie>;
