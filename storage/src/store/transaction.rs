//! Changes that happen together or not at all.

use super::commit::commit;
use super::tree::copied;
use super::{Blob, Error, MAX_KEY, MAX_VALUE, Store};
use crate::BlockDevice;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// One step of a transaction.
#[derive(Debug)]
pub(super) enum Step {
    IfAbsent(Box<[u8]>),
    IfPresent(Box<[u8]>),
    Put(Box<[u8]>, Box<[u8]>, Option<Blob>),
    Delete(Box<[u8]>),
}

/// Changes that are made together by [`commit`](Self::commit), in the order in which they were added; dropped before
/// that, none of them is.
#[derive(Debug)]
#[must_use = "nothing happens before `commit`"]
pub struct Transaction<D> {
    store: Store<D>,
    steps: Vec<Step>,
}

fn copied_key(key: &[u8]) -> Result<Box<[u8]>, Error> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(Error::KeyLength(key.len()));
    }
    Ok(copied(key)?.into_boxed_slice())
}

impl<D: BlockDevice + 'static> Transaction<D> {
    pub(super) fn new(store: Store<D>) -> Self {
        Self {
            store,
            steps: Vec::new(),
        }
    }

    fn add(&mut self, step: Step) -> Result<(), Error> {
        self.steps.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        self.steps.push(step);
        Ok(())
    }

    /// Lets the commit fail with [`Error::Exists`] if there is `key` at this point.
    ///
    /// # Errors
    /// [`Error::KeyLength`], [`Error::OutOfMemory`].
    pub fn if_absent(&mut self, key: &[u8]) -> Result<(), Error> {
        self.add(Step::IfAbsent(copied_key(key)?))
    }

    /// Lets the commit fail with [`Error::Missing`] if there is no `key` at this point.
    ///
    /// # Errors
    /// [`Error::KeyLength`], [`Error::OutOfMemory`].
    pub fn if_present(&mut self, key: &[u8]) -> Result<(), Error> {
        self.add(Step::IfPresent(copied_key(key)?))
    }

    /// Puts `value` under `key`, in the place of what is there, its blob included.
    ///
    /// # Errors
    /// [`Error::KeyLength`], [`Error::ValueLength`], [`Error::OutOfMemory`].
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.put_entry(key, value, None)
    }

    /// Puts `value` and `blob` under `key`, in the place of what is there.
    ///
    /// # Errors
    /// [`Error::KeyLength`], [`Error::ValueLength`], [`Error::OutOfMemory`].
    ///
    /// # Panics
    /// If the blob was written to another store: a bug of the caller.
    pub fn put_blob(&mut self, key: &[u8], value: &[u8], blob: Blob) -> Result<(), Error> {
        self.put_entry(key, value, Some(blob))
    }

    fn put_entry(&mut self, key: &[u8], value: &[u8], blob: Option<Blob>) -> Result<(), Error> {
        let ours = blob
            .as_ref()
            .is_none_or(|blob| blob.is_of(&self.store.0.space));
        assert!(ours, "a blob goes into the store that it was written to");
        if value.len() > MAX_VALUE {
            return Err(Error::ValueLength(value.len()));
        }
        let value = copied(value)?.into_boxed_slice();
        self.add(Step::Put(copied_key(key)?, value, blob))
    }

    /// Deletes `key`, with its blob, if it is there.
    ///
    /// # Errors
    /// [`Error::KeyLength`], [`Error::OutOfMemory`].
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.add(Step::Delete(copied_key(key)?))
    }

    /// Makes the changes. When this answers `Ok` they are there to stay; after an error none of them was made
    /// ([`Error::Unsure`] aside). Dropped before it answers, either can be.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Missing`] as asked for; [`Error::Full`]; [`Error::Lost`]; [`Error::ReadOnly`];
    /// what the disk gives.
    pub async fn commit(self) -> Result<(), Error> {
        commit(&self.store.0, self.steps).await
    }
}
