//! A directory that became part of the image: what a web server needs to answer from it without a
//! file system, an allocation or a line of formatting.
//!
//! `xenlet-fs-static-build` reads a folder in an application's `build.rs` and works out everything that
//! does not depend on the request: content types, entity tags, gzip and brotli variants, index files,
//! redirects, and the response heads as bytes. [`site!`] puts the result into the program:
//!
//! ```ignore
//! static SITE: xenlet_fs_static::Tree = xenlet_fs_static::site!();
//! ```
//!
//! What is left for the server to do:
//!
//! ```
//! use xenlet_fs_static::{Accept, Entry, Tree};
//!
//! fn respond(site: &Tree, path: &str, accept_encoding: &[u8], send: impl Fn(&[&[u8]])) {
//!     let rest: &[u8] = b"Date: Sat, 21 Nov 2026 10:00:00 GMT\r\n\r\n";
//!     match site.get(path) {
//!         Some(Entry::File(file)) => {
//!             let variant = file.negotiate(Accept::parse(accept_encoding)).unwrap_or(file.identity());
//!             send(&[variant.head(), rest, variant.body()]);
//!         }
//!         Some(Entry::Redirect(redirect)) => send(&[redirect.head(), rest]),
//!         None => match site.not_found() {
//!             Some(page) => send(&[page.identity().head(), rest, page.identity().body()]),
//!             None => send(&[b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n", rest]),
//!         },
//!     }
//! }
//! ```
//!
//! # Heads
//!
//! A head is the status line and every header field that can be known at build time, each line with its
//! CRLF, *without* the empty line that ends a head: the server adds `Date`, `Connection` and that line. It is
//! laid out so that the other responses are made from its tail ([`Variant`] draws it). There is no
//! `Last-Modified`: it would make the image depend on when files were copied, and the entity tags are strong.
//!
//! # From a disk
//!
//! The same site can lie on a disk instead. [`index`] is what is then known of its files beforehand, and [`Head`] makes
//! of it the same heads, byte for byte.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod accept;
mod file;
mod head;
pub mod index;
mod tree;
mod types;

pub use accept::Accept;
pub use file::{Coding, File, Redirect, Variant};
pub use head::{Encoded, Head, Places, redirect};
pub use tree::{Entry, Tree};
pub use types::ContentTypes;

/// The names that the build half's source refers to. Nobody else should.
#[doc(hidden)]
pub mod generated {
    pub use crate::file::slice;
    pub use crate::{Coding, Entry, File, Redirect, Tree, Variant};
    pub use phf;
}

/// The [`Tree`] that `xenlet_fs_static_build::embed` made in this package's `build.rs`.
///
/// It is the initial value of a static: `static SITE: Tree = xenlet_fs_static::site!();`
#[macro_export]
macro_rules! site {
    () => {{
        // The generated source says `fs_static::`, whatever name the package gave its dependency.
        use $crate::generated as fs_static;
        include!(concat!(env!("OUT_DIR"), "/site.rs"))
    }};
}
