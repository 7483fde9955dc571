//! Transactions: several writes that happen together or not at all.

use super::{Errno, Error, client, read_in, remove_in, text, write_in};
use crate::abi::xs_wire::Type;
use crate::{run, suspend};
use alloc::string::String;

/// How often a transaction that others disturb is tried again.
const TRIES: usize = 16;

/// A transaction under way.
#[derive(Debug)]
pub struct Transaction {
    id: u32,
    ended: bool,
}

impl Transaction {
    /// As [`super::read`], in the transaction.
    ///
    /// # Errors
    /// As [`super::read`].
    pub fn read(&self, path: &str) -> impl Future<Output = Result<String, Error>> + use<> {
        read_in(self.id, path)
    }

    /// As [`super::write`], in the transaction.
    ///
    /// # Errors
    /// As [`super::write`].
    pub fn write(
        &self,
        path: &str,
        value: &str,
    ) -> impl Future<Output = Result<(), Error>> + use<> {
        write_in(self.id, path, value)
    }

    /// As [`super::remove`], in the transaction.
    ///
    /// # Errors
    /// As [`super::remove`].
    pub async fn remove(&self, path: &str) -> Result<(), Error> {
        remove_in(self.id, path).await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            client::send(Type::TransactionEnd, self.id, &[b"F", b"\0"]);
        }
    }
}

async fn start() -> Result<Transaction, Error> {
    let id = text(client::request(Type::TransactionStart, 0, &[b"\0"]).await?)?;
    let id = id
        .trim_end_matches('\0')
        .parse()
        .map_err(|_| Error::Unexpected)?;
    Ok(Transaction { id, ended: false })
}

/// Runs `body` in a transaction, again if others disturbed it (`EAGAIN`).
///
/// # Errors
/// What `body` gives, and the transaction is undone; `Refused(EAGAIN)` when it was disturbed every time.
pub async fn transaction<T>(
    mut body: impl AsyncFnMut(&Transaction) -> Result<T, Error>,
) -> Result<T, Error> {
    // A restored domain could not go on with it.
    let _whole = suspend::hold();
    for _ in 0..TRIES {
        // A task of its own, so that the answer is seen, and the transaction ended by its drop, also when whoever wanted
        // it has gone away: xenstored gives a domain few of them.
        let mut tx = run::spawn(start()).await?;
        let value = body(&tx).await?;
        tx.ended = true;
        match client::request(Type::TransactionEnd, tx.id, &[b"T", b"\0"]).await {
            Ok(_) => return Ok(value),
            Err(Error::Refused(Errno::EAGAIN)) => {}
            Err(e) => return Err(e),
        }
    }
    Err(Error::Refused(Errno::EAGAIN))
}
