//! The uploads on the disk.

use crate::name;
use crate::record::{self, DIGEST, Record};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use xenlet_kernel::memory;
use xenlet_storage::BlockDevice;
use xenlet_storage::store::{self, BlobReader, BlobWriter, Entry, Options, Store};

/// How the store uses memory: sparingly, since a small guest is to take several uploads at once.
const OPTIONS: Options = Options {
    cache_bytes: 512 << 10,
    request_bytes: 64 << 10,
    requests: 2,
    read_only: false,
};

/// What a transfer costs at most: its requests to the disk, and some of the network's buffers.
const TRANSFER_BYTES: usize = OPTIONS.request_bytes * (OPTIONS.requests + 1) + (64 << 10);

/// How many transfers there may be where memory is not the limit.
const MOST_TRANSFERS: usize = 64;

/// How many uploads are looked at in one go.
const PAGE: usize = 64;

/// Why something can't be done with an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// An upload can't have this name; for people.
    Name(&'static str),
    /// Its name is taken, by an upload or by one on its way.
    Taken,
    /// It is not there.
    Missing,
    /// Too many transfers are under way.
    Busy,
    /// What the store says.
    Store(store::Error),
    /// The store holds something else.
    Foreign,
}

impl Problem {
    /// Whether the operator should know: it is not for what the client asked.
    pub(crate) fn is_ours(self) -> bool {
        use store::Error::{Exists, Full, Missing, ReadOnly};
        match self {
            Self::Name(_) | Self::Taken | Self::Missing | Self::Busy => false,
            Self::Store(error) => !matches!(error, Exists | Full | Missing | ReadOnly(_)),
            Self::Foreign => true,
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(why) => f.write_str(why),
            Self::Taken => f.write_str("the name is taken"),
            Self::Missing => f.write_str("there is no such upload"),
            Self::Busy => f.write_str("too many transfers are under way"),
            Self::Store(error) => error.fmt(f),
            Self::Foreign => f.write_str(
                "the store holds what is not an upload: it is another application's; give another disk",
            ),
        }
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    /// Uploads.
    pub(crate) uploads: u64,
    /// Bytes of their content.
    pub(crate) bytes: u64,
}

impl Total {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.uploads += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn remove(&mut self, bytes: u64) {
        self.uploads = self.uploads.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// An upload in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    key: Vec<u8>,
    pub(crate) record: Record,
    pub(crate) bytes: u64,
}

impl Listed {
    fn new((key, entry): (Vec<u8>, Entry)) -> Result<Self, Problem> {
        let record = Record::decode(&entry.value).ok_or(Problem::Foreign)?;
        let bytes = entry.blob_bytes.ok_or(Problem::Foreign)?;
        Ok(Self { key, record, bytes })
    }
}

/// An upload that is there, and its content, which stays readable though it is deleted.
#[derive(Debug)]
pub(crate) struct Found<'u, D: BlockDevice + 'static> {
    pub(crate) record: Record,
    pub(crate) content: BlobReader<D>,
    pub(crate) place: Place<'u>,
}

/// The uploads of a disk.
#[derive(Debug)]
pub(crate) struct Uploads<D> {
    store: Store<D>,
    /// The number of the next upload.
    next: Cell<u64>,
    total: Cell<Total>,
    /// Names of uploads on their way.
    coming: RefCell<BTreeSet<Box<str>>>,
    transfers: Places,
}

impl<D: BlockDevice + 'static> Uploads<D> {
    /// Opens the store on `disk`, or makes one if the disk is blank and `format_blank` says so.
    ///
    /// # Errors
    /// The store's; [`Problem::Foreign`].
    pub(crate) async fn open(disk: D, format_blank: bool) -> Result<Self, Problem> {
        let store = match format_blank {
            true => Store::open_or_format_blank(disk, OPTIONS).await?,
            false => Store::open(disk, OPTIONS).await?,
        };
        let next = match store.last(record::ALL).await? {
            None => 0,
            Some((key, _)) => record::number_of_key(&key)
                .and_then(|number| number.checked_add(1))
                .ok_or(Problem::Foreign)?,
        };
        let uploads = Self {
            store,
            next: Cell::new(next),
            total: Cell::default(),
            coming: RefCell::default(),
            transfers: Places::by_memory(),
        };
        let (mut total, mut last) = (Total::default(), None);
        loop {
            let page = uploads.page(last.as_ref()).await?;
            page.iter().for_each(|listed| total.add(listed.bytes));
            last = page.into_iter().next_back();
            if last.is_none() {
                break;
            }
        }
        uploads.total.set(total);
        Ok(uploads)
    }

    /// The uploads after `last`, oldest first, or the oldest ones: a number of them, and none only at the end.
    pub(crate) async fn page(&self, last: Option<&Listed>) -> Result<Vec<Listed>, Problem> {
        let range = last.map_or(record::ALL, |last| record::after(&last.key));
        let page = self.store.range(range, PAGE).await?;
        page.into_iter().map(Listed::new).collect()
    }

    /// Begins an upload; `bytes` is its length if that is known.
    ///
    /// # Errors
    /// [`Problem::Name`], [`Problem::Taken`], [`Problem::Busy`], the store's.
    pub(crate) async fn begin(
        &self,
        name: &str,
        bytes: Option<u64>,
    ) -> Result<Upload<'_, D>, Problem> {
        name::check(name).map_err(Problem::Name)?;
        let name = Claim::new(&self.coming, name)?;
        if self.number_of(&name.name).await?.is_some() {
            return Err(Problem::Taken);
        }
        let place = self.transfers.take()?;
        let content = self.store.blob_writer(bytes)?;
        Ok(Upload {
            uploads: self,
            name,
            content,
            _place: place,
        })
    }

    /// The upload called `name`.
    ///
    /// # Errors
    /// [`Problem::Missing`], [`Problem::Busy`], the store's.
    pub(crate) async fn find(&self, name: &str) -> Result<Found<'_, D>, Problem> {
        let number = self.number_of(name).await?.ok_or(Problem::Missing)?;
        self.fetch(&record::upload_key(number)).await
    }

    /// The oldest upload.
    ///
    /// # Errors
    /// [`Problem::Missing`] if there is none, [`Problem::Busy`], the store's.
    pub(crate) async fn oldest(&self) -> Result<Found<'_, D>, Problem> {
        loop {
            let first = self.store.range(record::ALL, 1).await?.into_iter().next();
            let first = Listed::new(first.ok_or(Problem::Missing)?)?;
            match self.fetch(&first.key).await {
                // Deleted since it was seen: look again.
                Err(Problem::Missing) => {}
                done => return done,
            }
        }
    }

    async fn fetch(&self, key: &[u8]) -> Result<Found<'_, D>, Problem> {
        let place = self.transfers.take()?;
        let (value, content) = self.store.blob(key).await?.ok_or(Problem::Missing)?;
        Ok(Found {
            record: Record::decode(&value).ok_or(Problem::Foreign)?,
            content,
            place,
        })
    }

    /// Deletes the upload called `name`, if `condition` holds for it. When this answers, it is gone for good.
    ///
    /// # Errors
    /// [`Problem::Missing`], the store's.
    pub(crate) async fn delete(
        &self,
        name: &str,
        condition: impl FnOnce(&Record) -> bool,
    ) -> Result<bool, Problem> {
        let number = self.number_of(name).await?.ok_or(Problem::Missing)?;
        let key = record::upload_key(number);
        let entry = self.store.get(&key).await?.ok_or(Problem::Missing)?;
        let Listed { record, bytes, .. } = Listed::new((key.to_vec(), entry))?;
        if !condition(&record) {
            return Ok(false);
        }
        let mut transaction = self.store.transaction();
        // Two clients may delete it at once, and a third put a new one of its name in between: numbers tell them apart.
        transaction.if_present(&key)?;
        transaction.delete(&key)?;
        transaction.delete(&record::name_key(name))?;
        transaction.commit().await?;
        self.change_total(|total| total.remove(bytes));
        Ok(true)
    }

    /// The number of the upload called `name`, if there is one.
    async fn number_of(&self, name: &str) -> Result<Option<u64>, Problem> {
        if name::check(name).is_err() {
            return Ok(None);
        }
        match self.store.get(&record::name_key(name)).await? {
            None => Ok(None),
            Some(entry) => record::number(&entry.value)
                .map(Some)
                .ok_or(Problem::Foreign),
        }
    }

    fn change_total(&self, change: impl FnOnce(&mut Total)) {
        let mut total = self.total.get();
        change(&mut total);
        self.total.set(total);
    }

    /// How much there is.
    pub(crate) fn total(&self) -> Total {
        self.total.get()
    }

    /// How many uploads are on their way.
    pub(crate) fn coming(&self) -> usize {
        self.coming.borrow().len()
    }

    /// The store below.
    pub(crate) fn store(&self) -> &Store<D> {
        &self.store
    }
}

/// An upload on its way. Dropped before [`finish`](Self::finish), nothing of it remains.
#[derive(Debug)]
pub(crate) struct Upload<'u, D: BlockDevice + 'static> {
    uploads: &'u Uploads<D>,
    name: Claim<'u>,
    pub(crate) content: BlobWriter<D>,
    _place: Place<'u>,
}

impl<D: BlockDevice + 'static> Upload<'_, D> {
    /// Puts it behind all others. When this answers, it is there to stay. Gives its length.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn finish(self, sha256: &[u8; DIGEST]) -> Result<u64, Problem> {
        let Self {
            uploads,
            name,
            content,
            ..
        } = self;
        let name = &name.name;
        let blob = content.finish().await?;
        let bytes = blob.len();
        let number = uploads.next.get();
        uploads
            .next
            .set(number.checked_add(1).ok_or(Problem::Foreign)?);
        let mut transaction = uploads.store.transaction();
        transaction.if_absent(&record::name_key(name))?;
        transaction.put(&record::name_key(name), &number.to_be_bytes())?;
        let value = Record::encode(name, sha256);
        transaction.put_blob(&record::upload_key(number), &value, blob)?;
        transaction.commit().await?;
        uploads.change_total(|total| total.add(bytes));
        Ok(bytes)
    }
}

/// A name that nobody else can upload to meanwhile.
#[derive(Debug)]
struct Claim<'u> {
    claimed: &'u RefCell<BTreeSet<Box<str>>>,
    name: Box<str>,
}

impl<'u> Claim<'u> {
    fn new(claimed: &'u RefCell<BTreeSet<Box<str>>>, name: &str) -> Result<Self, Problem> {
        let name: Box<str> = name.into();
        if !claimed.borrow_mut().insert(name.clone()) {
            return Err(Problem::Taken);
        }
        Ok(Self { claimed, name })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.claimed.borrow_mut().remove(&self.name);
    }
}

/// Places for transfers, as many as memory has room for.
#[derive(Debug)]
struct Places(Cell<usize>);

impl Places {
    fn by_memory() -> Self {
        let room = memory::stats().map_or(MOST_TRANSFERS, |stats| stats.free / 2 / TRANSFER_BYTES);
        Self(Cell::new(room.clamp(2, MOST_TRANSFERS)))
    }

    fn take(&self) -> Result<Place<'_>, Problem> {
        self.0
            .set(self.0.get().checked_sub(1).ok_or(Problem::Busy)?);
        Ok(Place(self))
    }
}

/// A place that a transfer has.
#[derive(Debug)]
pub(crate) struct Place<'u>(&'u Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.update(|free| free + 1);
    }
}
