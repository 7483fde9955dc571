//! What can go wrong, by who did it: [`Error`] while connecting, [`Lie`] of a backend that breaks the protocol.

use alloc::string::String;
use core::fmt;
use xenlet_kernel::event::NoPort;
use xenlet_kernel::page::OutOfPages;
use xenlet_kernel::ring::BogusProducer;
use xenlet_kernel::xenbus::State;
use xenlet_kernel::xenstore;

/// Why an interface could not be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The toolstack gave this guest no such interface.
    NoDevice(u32),
    /// A [`Netfront`](crate::Netfront) for this interface exists, or is still closing.
    InUse(u32),
    /// xenstore did not answer as it should.
    Store(u32, xenstore::Error),
    /// The interface's `mac` is not an address that an interface can have.
    BadMac(u32, String),
    /// The backend does not copy into our pages (`feature-rx-copy`).
    NoCopy(u32),
    /// The backend went no further than this state in the time it had.
    BackendStuck(u32, State),
    /// The backend gave up: it went to this state instead of `Connected`.
    BackendRefused(u32, State),
    /// No memory for the rings and the pages of frames.
    OutOfPages(u32),
    /// Backends kept so many pages of closed interfaces that they are given no more.
    PagesKept(u32, usize),
    /// No event channel is left.
    NoPort(u32, NoPort),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice(n) => write!(
                f,
                "there is no vif{n}: add one to vif = [ … ] in the guest's configuration"
            ),
            Self::InUse(n) => write!(f, "vif{n} is in use: close what has it first"),
            Self::Store(n, e) => write!(f, "vif{n}: {e}"),
            Self::BadMac(n, mac) => write!(
                f,
                "vif{n}: mac is {mac:?}, not the address of one interface; write it as mac=00:16:3e:12:34:56"
            ),
            Self::NoCopy(n) => write!(
                f,
                "vif{n}: the backend does not offer feature-rx-copy; use Linux's netback or one as new"
            ),
            Self::BackendStuck(n, state) => write!(
                f,
                "vif{n}: the backend is still at {state:?}: is xen-netback loaded in its domain, and did its vif \
                 script end well (/var/log/xen)?"
            ),
            Self::BackendRefused(n, state) => write!(
                f,
                "vif{n}: the backend went to {state:?} instead of Connected; its domain's log says why"
            ),
            Self::OutOfPages(n) => write!(f, "vif{n}: {OutOfPages}"),
            Self::PagesKept(n, pages) => write!(
                f,
                "vif{n}: {pages} pages of closed interfaces are still mapped by their backends, which get no more: \
                 restart this guest, and ask the backend's domain why"
            ),
            Self::NoPort(n, e) => write!(f, "vif{n}: {e}"),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// They can.
    Up,
    /// They cannot, and never will again with this [`Netfront`](crate::Netfront).
    Down(Why),
}

/// Why a link is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The backend left `Connected` for this state.
    Backend(State),
    /// The backend lied, and we closed.
    Lied(Lie),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(State::Unknown) => f.write_str("the backend is gone"),
            Self::Backend(state) => write!(f, "the backend went to {state:?}"),
            Self::Lied(lie) => write!(f, "the backend broke the protocol: {lie}"),
        }
    }
}
