//! A medium as a disk without a ring: for tests of what is built on disks, by the thousand.

use super::faults::{Fates, Faults, Request};
use super::medium::Medium;
use crate::block::{BlockDevice, Geometry, IoError, SECTOR};
use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use xenlet_kernel::page::Pages;
use xenlet_kernel::run::{spawn, yield_now};

/// How many turns of the loop a request may take.
const TURNS: u64 = 6;

/// A [`Medium`] as a disk, with [`Faults`].
///
/// Requests are begun when they are first polled, go on when they are dropped, and are done in an order that the
/// seed decides. After the power was cut none is ever answered: see [`Medium::until_cut`].
#[derive(Clone, Debug)]
pub struct MediumDisk(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    medium: Medium,
    fates: RefCell<Fates>,
    in_order: bool,
    /// Cuts of the medium before the disk was there.
    cuts: u64,
}

impl Medium {
    /// The medium as a disk without a ring.
    pub fn disk(&self, faults: Faults) -> MediumDisk {
        MediumDisk(Rc::new(Shared {
            medium: self.clone(),
            in_order: faults.in_order,
            fates: RefCell::new(Fates::new(faults)),
            cuts: self.cuts(),
        }))
    }
}

impl MediumDisk {
    /// Does what `request` makes of the bytes of `pages`, in its turn.
    async fn perform(
        &self,
        mut pages: Pages,
        request: impl FnOnce(&mut [u8]) -> Request<'_> + 'static,
    ) -> (Pages, Result<(), IoError>) {
        let shared = Rc::clone(&self.0);
        // A task of its own, since a request goes on when nobody waits for it any more.
        let task = spawn(async move {
            shared.turn().await;
            let mut bytes = pages.chunks().collect::<Vec<_>>().concat();
            let done = {
                let request = request(&mut bytes);
                let mut fates = shared.fates.borrow_mut();
                fates.perform(&shared.medium, request, None)
            };
            let Some(done) = done else {
                return pending().await;
            };
            pages.write_at(0, &bytes);
            shared.turn().await;
            (pages, done)
        });
        task.await
    }

    fn check_write(&self) -> Result<(), IoError> {
        if self.geometry().read_only {
            return Err(IoError::ReadOnly);
        }
        Ok(())
    }
}

impl Shared {
    /// Lets others go first, as the seed decides. It does not end once the power is cut.
    async fn turn(&self) {
        let turns = if self.in_order {
            0
        } else {
            self.fates.borrow_mut().dice.below(TURNS)
        };
        for _ in 0..turns {
            yield_now().await;
        }
        if self.medium.cuts() != self.cuts {
            pending().await
        }
    }
}

/// A buffer for a request that has no pages.
fn nothing() -> Pages {
    Pages::from_pages(Vec::new(), 0)
}

impl BlockDevice for MediumDisk {
    fn geometry(&self) -> Geometry {
        self.0.medium.geometry()
    }

    async fn read(&self, sector: u64, pages: Pages) -> (Pages, Result<(), IoError>) {
        if let Err(e) = self.geometry().check(sector, pages.len()) {
            return (pages, Err(e));
        }
        self.perform(pages, move |into| Request::Read(sector, into))
            .await
    }

    async fn write(&self, sector: u64, pages: Pages) -> (Pages, Result<(), IoError>) {
        let checked = self.check_write();
        if let Err(e) = checked.and_then(|()| self.geometry().check(sector, pages.len())) {
            return (pages, Err(e));
        }
        self.perform(pages, move |from| Request::Write(sector, from))
            .await
    }

    async fn flush(&self) -> Result<(), IoError> {
        self.perform(nothing(), |_| Request::Flush).await.1
    }

    async fn discard(&self, sector: u64, sectors: u64) -> Result<(), IoError> {
        self.check_write()?;
        let len = usize::try_from(sectors).unwrap_or(usize::MAX / SECTOR);
        self.geometry().check(sector, len.saturating_mul(SECTOR))?;
        self.perform(nothing(), move |_| Request::Discard(sector, sectors))
            .await
            .1
    }
}
