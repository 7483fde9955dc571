//! A device's two places in xenstore, as the toolstack makes them and its backend uses them.

use super::store;
use crate::xenbus::State;
use std::fmt::Display;
use std::str::FromStr;

/// The frontend's and the backend's directory of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    class: &'static str,
    number: u32,
}

impl Ends {
    /// Those of `device/CLASS/NUMBER`.
    pub const fn of(class: &'static str, number: u32) -> Self {
        Self { class, number }
    }

    /// The frontend's directory.
    pub fn front(self) -> String {
        format!("{}/device/{}/{}", store::HOME, self.class, self.number)
    }

    /// The backend's directory.
    pub fn back(self) -> String {
        format!("/local/domain/0/backend/{}/1/{}", self.class, self.number)
    }

    /// Writes what the toolstack writes: where the other end is, these keys of each end, and both states.
    pub fn create(self, front: &[(&str, &str)], back: &[(&str, &str)]) {
        let write = |end: &str, keys: &[(&str, &str)]| {
            for (key, value) in keys {
                store::write(&format!("{end}/{key}"), value);
            }
        };
        let (front_end, back_end) = (self.front(), self.back());
        let state = ("state", State::Initialising.text());
        write(
            &front_end,
            &[("backend", back_end.as_str()), ("backend-id", "0")],
        );
        write(&front_end, front);
        write(
            &back_end,
            &[
                ("frontend", front_end.as_str()),
                ("frontend-id", "1"),
                ("online", "1"),
            ],
        );
        write(&back_end, back);
        write(&back_end, &[state]);
        write(&front_end, &[state]);
    }

    /// Tells both ends to close, as `xl network-detach` and `xl block-detach` do.
    pub fn detach(self) {
        self.write_back("online", "0");
        self.switch(State::Closing);
    }

    /// Takes both directories away.
    pub fn remove(self) {
        store::remove(&self.front());
        store::remove(&self.back());
    }

    /// The frontend's state; [`State::Unknown`] when it says none.
    pub fn front_state(self) -> State {
        let state = self.front_key("state");
        state.as_deref().map_or(State::Unknown, State::from_text)
    }

    /// The frontend's key; `None` when it is missing.
    pub fn front_key(self, key: &str) -> Option<String> {
        store::read(&format!("{}/{key}", self.front()))
    }

    /// The frontend's key, which the backend can't do without.
    ///
    /// # Panics
    /// If it is missing or nonsense: a backend would refuse the frontend.
    pub fn need<T: FromStr<Err: Display>>(self, key: &str) -> T {
        let value = self.front_key(key).unwrap_or_default();
        match value.parse() {
            Ok(value) => value,
            Err(e) => panic!(
                "the backend would refuse {}/{key} = {value:?}: {e}",
                self.front()
            ),
        }
    }

    /// Whether the frontend says 1 under a key that it may leave out.
    pub fn front_flag(self, key: &str) -> bool {
        self.front_key(key).is_some_and(|value| value == "1")
    }

    /// Writes a key of the backend's.
    pub fn write_back(self, key: &str, value: &str) {
        store::write(&format!("{}/{key}", self.back()), value);
    }

    /// Writes the backend's state.
    pub fn switch(self, state: State) {
        self.write_back("state", state.text());
    }
}
