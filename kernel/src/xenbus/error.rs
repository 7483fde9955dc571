//! Why a device could not be connected.

use super::State;
use crate::event::NoPort;
use crate::page::OutOfPages;
use crate::xenstore;
use alloc::string::String;
use core::fmt;

/// A device that could not be connected, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceError {
    /// The device, such as `vif0`.
    pub device: String,
    /// What went wrong.
    pub why: Failure,
}

/// Why a device could not be connected, whatever its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The toolstack gave this guest no such device.
    NoDevice {
        /// What the guest's configuration calls its kind.
        config: &'static str,
    },
    /// It is connected, or still closing.
    InUse,
    /// xenstore did not answer as it should.
    Store(xenstore::Error),
    /// The backend went no further than this state in the time it had.
    BackendStuck {
        /// Where it is.
        state: State,
        /// Linux's driver of the backend.
        driver: &'static str,
    },
    /// The backend gave up: it went to this state instead of `Connected`.
    BackendRefused(State),
    /// Backends kept so many pages of closed devices that they are given no more.
    PagesKept(usize),
    /// No memory for what is to be shared.
    OutOfPages,
    /// No event channel is left.
    NoPort(NoPort),
}

impl From<OutOfPages> for Failure {
    fn from(_: OutOfPages) -> Self {
        Self::OutOfPages
    }
}

impl From<NoPort> for Failure {
    fn from(e: NoPort) -> Self {
        Self::NoPort(e)
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, why } = self;
        match why {
            Failure::NoDevice { config } => write!(
                f,
                "there is no {device}: add one to {config} = [ … ] in the guest's configuration"
            ),
            Failure::InUse => write!(f, "{device} is in use: close what has it first"),
            Failure::Store(e) => write!(f, "{device}: {e}"),
            Failure::BackendStuck { state, driver } => write!(
                f,
                "{device}: the backend is still at {state:?}: is {driver} loaded in its domain, and did its hotplug \
                 script end well (/var/log/xen)?"
            ),
            Failure::BackendRefused(state) => write!(
                f,
                "{device}: the backend went to {state:?} instead of Connected; its domain's log says why"
            ),
            Failure::PagesKept(pages) => write!(
                f,
                "{device}: {pages} pages of closed devices are still mapped by their backends, which get no more: \
                 restart this guest, and ask the backend's domain why"
            ),
            Failure::OutOfPages => write!(f, "{device}: {OutOfPages}"),
            Failure::NoPort(e) => write!(f, "{device}: {e}"),
        }
    }
}

impl core::error::Error for DeviceError {}
