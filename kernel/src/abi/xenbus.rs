//! The states of a device's two ends (`xen/io/xenbus.h`).

/// `enum xenbus_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs, reason = "spelt as the header spells them")]
pub enum State {
    Unknown = 0,
    Initialising = 1,
    InitWait = 2,
    Initialised = 3,
    Connected = 4,
    Closing = 5,
    Closed = 6,
    Reconfiguring = 7,
    Reconfigured = 8,
}

impl State {
    /// The state that a key's text names; `Unknown` for anything else.
    pub fn from_text(text: &str) -> Self {
        match text {
            "1" => Self::Initialising,
            "2" => Self::InitWait,
            "3" => Self::Initialised,
            "4" => Self::Connected,
            "5" => Self::Closing,
            "6" => Self::Closed,
            "7" => Self::Reconfiguring,
            "8" => Self::Reconfigured,
            _ => Self::Unknown,
        }
    }

    /// The text of the key that says this state.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "0",
            Self::Initialising => "1",
            Self::InitWait => "2",
            Self::Initialised => "3",
            Self::Connected => "4",
            Self::Closing => "5",
            Self::Closed => "6",
            Self::Reconfiguring => "7",
            Self::Reconfigured => "8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn text_is_the_number() {
        for n in 0..=8u32 {
            let state = State::from_text(&n.to_string());
            assert_eq!((state as u32, state.text()), (n, n.to_string().as_str()));
        }
        for bad in ["", "9", "04", " 4", "4\n", "-1", "Connected"] {
            assert_eq!(State::from_text(bad), State::Unknown);
        }
    }
}
