//! The xenstore client: reads, writes, transactions and watches, asynchronous and multiplexed on one ring.
//!
//! Paths without a leading `/` are relative to the domain's own (`/local/domain/N`). Every answer is matched by its
//! request's number; what answers nothing is dropped. A xenstored that breaks the protocol ends the client: all that
//! wait get [`Error::Broken`], and one line says how.

mod client;
mod errno;
mod transaction;
mod watch;
mod wire;

pub(crate) use client::{is_quiet, restored, start};
pub use errno::Errno;
pub use transaction::{Transaction, transaction};
pub(crate) use watch::count as watches;
pub use watch::{Watch, watch};

use crate::abi::xs_wire::Type;
use alloc::string::String;
use alloc::vec::Vec;

/// Why xenstore gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// xenstored refused, and said why.
    Refused(Errno),
    /// The request does not fit the wire: a path or value is too long, or has a NUL in it.
    Unsendable,
    /// The answer is not text, or not what this request has for an answer.
    Unexpected,
    /// The connection has ended: xenstored broke the protocol, or there is none.
    Broken,
    /// The domain was restored meanwhile, and has another place in xenstore: ask again.
    Restored,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Refused(errno) => write!(f, "xenstored says {errno}"),
            Self::Unsendable => {
                f.write_str("the path or value cannot be sent (too long, or a NUL in it)")
            }
            Self::Unexpected => f.write_str("xenstored's answer makes no sense"),
            Self::Restored => f.write_str("the domain was restored meanwhile"),
            Self::Broken => f.write_str("there is no connection to xenstored"),
        }
    }
}

impl core::error::Error for Error {}

/// Reads the value of `path`. The request goes out with the call, so several can be under way before the first is
/// awaited.
///
/// # Errors
/// `Refused(ENOENT)` when there is none; as [`Error`] says.
pub fn read(path: &str) -> impl Future<Output = Result<String, Error>> + use<> {
    read_in(0, path)
}

/// Writes the value of `path`, made if it is not there. The request goes out with the call.
///
/// # Errors
/// As [`Error`] says.
pub fn write(path: &str, value: &str) -> impl Future<Output = Result<(), Error>> + use<> {
    write_in(0, path, value)
}

/// Writes the value of `path`, and does not wait to hear whether that was allowed.
pub(crate) fn post(path: &str, value: &str) {
    client::send(Type::Write, 0, &[path.as_bytes(), b"\0", value.as_bytes()]);
}

/// Lists the names below `path`.
///
/// # Errors
/// `Refused(ENOENT)` when there is no such path; as [`Error`] says.
pub async fn directory(path: &str) -> Result<Vec<String>, Error> {
    let payload = client::request(Type::Directory, 0, &[path.as_bytes(), b"\0"]).await?;
    let text = text(payload)?;
    Ok(text.split_terminator('\0').map(String::from).collect())
}

/// Removes `path` and everything below it.
///
/// # Errors
/// As [`Error`] says.
pub async fn remove(path: &str) -> Result<(), Error> {
    remove_in(0, path).await
}

fn read_in(tx: u32, path: &str) -> impl Future<Output = Result<String, Error>> + use<> {
    let answer = client::request(Type::Read, tx, &[path.as_bytes(), b"\0"]);
    async move { text(answer.await?) }
}

fn write_in(tx: u32, path: &str, value: &str) -> impl Future<Output = Result<(), Error>> + use<> {
    let parts = [path.as_bytes(), b"\0", value.as_bytes()];
    let answer = client::request(Type::Write, tx, &parts);
    async move { answer.await.map(drop) }
}

async fn remove_in(tx: u32, path: &str) -> Result<(), Error> {
    client::request(Type::Rm, tx, &[path.as_bytes(), b"\0"])
        .await
        .map(drop)
}

fn text(payload: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(payload).map_err(|_| Error::Unexpected)
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests;
