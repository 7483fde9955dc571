//! Devices in xenstore: the frontend's half of the handshake, for every driver.
//!
//! ```text
//!   frontend: Initialising ──────────────► Initialised ──────► Connected ──► Closing ──► Closed
//!   backend:  Initialising ──► InitWait ─────────────────────► Connected ──► Closing ──► Closed
//!                              (offers)    (reads our keys)
//! ```
//!
//! What the backend offers is read once it is at `InitWait`; our keys and the state that says they are there are
//! written in one transaction.
//!
//! [`Frontend`] has the steps; [`Opening`] and [`Device`] are a device's whole life, made of them.

mod attend;
mod device;
mod error;

pub use crate::abi::xenbus::State;
pub use device::{Class, Device, Link, Opening, Why};
pub use error::{DeviceError, Failure};

use crate::addr::DomId;
use crate::xenstore::{self, Errno, Error, Watch};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::str::FromStr;

/// Lists the devices of `class` that the toolstack gave this domain, such as `vif`, by number.
///
/// # Errors
/// As xenstore gives them; no such directory is no devices.
pub async fn list(class: &str) -> Result<Vec<u32>, Error> {
    match xenstore::directory(&format!("device/{class}")).await {
        Ok(names) => {
            // In order from the start: there are a few, and a sort would be 3 KB of the image.
            let mut numbers = Vec::new();
            for number in names.iter().filter_map(|name| name.parse().ok()) {
                let place = numbers.partition_point(|other| *other < number);
                numbers.insert(place, number);
            }
            Ok(numbers)
        }
        Err(Error::Refused(Errno::ENOENT)) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// The frontend's end of a device.
#[derive(Debug)]
pub struct Frontend {
    path: String,
    backend: String,
    backend_id: DomId,
    watch: Watch,
}

impl Frontend {
    /// The device `device/CLASS/NUMBER`, once its backend is known.
    ///
    /// # Errors
    /// As xenstore gives them; [`Error::Unexpected`] for a backend-id that is no domain's number.
    pub async fn open(class: &str, number: u32) -> Result<Self, Error> {
        let path = format!("device/{class}/{number}");
        let backend = xenstore::read(&format!("{path}/backend"));
        let backend_id = xenstore::read(&format!("{path}/backend-id"));
        let (backend, backend_id) = (backend.await?, backend_id.await?);
        let backend_id = backend_id.parse().map_err(|_| Error::Unexpected)?;
        let watch = xenstore::watch(&format!("{backend}/state")).await?;
        Ok(Self {
            path,
            backend,
            backend_id,
            watch,
        })
    }

    /// The backend's directory in xenstore.
    pub(crate) fn backend(&self) -> &str {
        &self.backend
    }

    /// The domain that the backend is in.
    pub fn backend_id(&self) -> DomId {
        self.backend_id
    }

    /// The value of our key `key`; `None` when it is missing or is not a `T`. The request goes out with the call.
    pub fn read<T: FromStr>(&self, key: &str) -> impl Future<Output = Option<T>> + use<T> {
        let answer = xenstore::read(&format!("{}/{key}", self.path));
        async move { answer.await.ok()?.parse().ok() }
    }

    /// What the backend offers under `key`; `None` when it is missing or is not a `T`. The request goes out with the
    /// call.
    pub fn offer<T: FromStr>(&self, key: &str) -> impl Future<Output = Option<T>> + use<T> {
        let answer = xenstore::read(&format!("{}/{key}", self.backend));
        async move { answer.await.ok()?.parse().ok() }
    }

    /// Whether the backend says 1 under `key`.
    pub async fn offers(&self, key: &str) -> bool {
        self.offer(key).await == Some(1)
    }

    /// Whether the backend says 1 under each of `keys`, asked all at once.
    pub async fn offers_each<const N: usize>(&self, keys: [&str; N]) -> [bool; N] {
        let asked = keys.map(|key| self.offer(key));
        let mut offered = [false; N];
        for (offered, said) in offered.iter_mut().zip(asked) {
            *offered = said.await == Some(1);
        }
        offered
    }

    /// The state the backend is in.
    pub async fn backend_state(&self) -> State {
        self.ask_state().await.unwrap_or(State::Unknown)
    }

    /// The state the backend is in; an error only when there is nobody to ask.
    async fn ask_state(&self) -> Result<State, Error> {
        match xenstore::read(&format!("{}/state", self.backend)).await {
            Ok(text) => Ok(State::from_text(&text)),
            Err(e @ (Error::Broken | Error::Restored)) => Err(e),
            Err(_) => Ok(State::Unknown),
        }
    }

    /// Waits until `wanted` says yes to the backend's state, and returns that state.
    ///
    /// # Errors
    /// When the connection to xenstored ends.
    pub async fn wait_backend(&mut self, wanted: impl Fn(State) -> bool) -> Result<State, Error> {
        loop {
            self.watch.ended().cloned().map_or(Ok(()), Err)?;
            let state = self.ask_state().await?;
            if wanted(state) {
                return Ok(state);
            }
            self.watch.changed().await?;
        }
    }

    /// Writes our keys and then our state, in one transaction.
    ///
    /// # Errors
    /// As xenstore gives them; `Refused(ENOENT)` when the toolstack has taken the device away: its keys don't come back.
    pub async fn publish(&self, keys: &[(&str, String)], state: State) -> Result<(), Error> {
        // A restored domain has another device under this name, which these keys are not for.
        self.watch.ended().cloned().map_or(Ok(()), Err)?;
        xenstore::transaction(async |tx| {
            // All of it at once: a round trip costs more than a key.
            let path = format!("{}/state", self.path);
            let there = tx.read(&path);
            let mut written = Vec::new();
            for (key, value) in keys {
                written.push(tx.write(&format!("{}/{key}", self.path), value));
            }
            written.push(tx.write(&path, state.text()));
            there.await?;
            for answer in written {
                answer.await?;
            }
            Ok(())
        })
        .await
    }
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests;
