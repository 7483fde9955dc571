//! The entries for fuzzers of what every guest has, whatever its devices: the console, xenstored, the toolstack.
//!
//! Each runs a guest that does what guests do, and a peer that does what the input says. They panic if the guest does, if it
//! waits for ever, or if it holds more afterwards than before: that is what a fuzzer looks for.

mod console;
mod toolstack;
mod xenstored;

pub use console::console;
pub use toolstack::toolstack;
pub use xenstored::xenstored;
