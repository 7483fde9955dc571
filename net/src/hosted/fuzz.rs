//! The entries for fuzzers: a guest that serves, and a network on which there is whatever the input says.

mod dhcp;
mod frames;

pub use dhcp::dhcp;
pub use frames::{frames, mend};
