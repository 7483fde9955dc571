//! What fuzzers drive: each [`Target`] is a peer that does what the input says, and a guest that must survive it.
//!
//! A target panics when something is wrong: the guest panicked or waits for ever, a page was shown that was not wiped, a
//! page, a grant or a watch was lost, a lie was told in more lines than one. `cargo xtask fuzz` looks for inputs that do so;
//! those that it found interesting are in `corpus/`, and `cargo test` runs them all again.
#![forbid(unsafe_code)]

mod blackbox;
mod corpus;
mod ext4;
mod grants;
mod http;
mod pem;
mod ring;
mod stream;
mod tls;
mod words;

pub use corpus::Corpus;

use xenlet_kernel::hosted::fuzz as kernel;
use xenlet_net::hosted::fuzz as net;

/// A peer that does what an input says.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its corpus, too.
    pub name: &'static str,
    /// What the input is.
    pub about: &'static str,
    /// Runs one input; panics if something is wrong.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target::new(
        "console",
        "indices and input of the console, or nobody who reads it",
        kernel::console,
    ),
    Target::new(
        "xenstored",
        "what xenstored answers: lengths, types, numbers, errors",
        kernel::xenstored,
    ),
    Target::new(
        "toolstack",
        "what the toolstack asks for: shutdown, suspend, memory",
        kernel::toolstack,
    ),
    Target::new(
        "grants",
        "pages that are shared, mapped and taken back in any order",
        grants::grants,
    ),
    Target::new(
        "ring",
        "a shared ring of which the backend writes any byte",
        ring::ring,
    ),
    Target::new(
        "netif",
        "a netback: rings, pages, events, keys, states",
        xenlet_netfront::hosted::fuzz,
    ),
    Target::new(
        "blkif",
        "a blkback: rings, pages, events, keys, states",
        xenlet_blkfront::hosted::fuzz,
    ),
    Target::new(
        "blackbox",
        "what is in the black box when a guest starts",
        blackbox::blackbox,
    ),
    Target::new(
        "store",
        "what is on the disk of a store, with checksums that are right",
        xenlet_storage::store::fuzz::fuzz,
    ),
    Target::new("ext4", "what is in a file system", ext4::ext4),
    Target::new(
        "frames",
        "frames on the wire, with checksums that are right",
        net::frames,
    ),
    Target::new("dhcp", "what a DHCP server answers", net::dhcp),
    Target::new("http", "what a client sends, cut anywhere", http::http),
    Target::new(
        "tls",
        "records of TLS, changed on their way or made up",
        tls::tls,
    ),
    Target::new("pem", "keys and certificates, as text and as DER", pem::pem),
    Target::new("words", "the command line", words::words),
];

impl Target {
    const fn new(name: &'static str, about: &'static str, run: fn(&[u8])) -> Self {
        Self { name, about, run }
    }

    /// The target of this name.
    pub fn find(name: &str) -> Option<Self> {
        TARGETS.iter().find(|target| target.name == name).copied()
    }
}
