//! The memory of requests while it is with the backend: the caller's own pages, granted for one request, or pages that
//! are granted once and for all (`feature-persistent`) and copied from and to.

use crate::Lie;
use crate::ops::{Kind, Op};
use alloc::vec::Vec;
use xenlet_kernel::addr::{DomId, PAGE_SIZE};
use xenlet_kernel::grant::Access;
use xenlet_kernel::memory;
use xenlet_kernel::page::{OutOfPages, Page, SharedPage};

/// Most pages that are granted for ever: those that Linux's blkback keeps mapped (`max_persistent_grants`, 1056), less
/// some for the segments of indirect requests.
const MOST_POOLED: usize = 1024;

/// How pages are lent to the backend.
#[derive(Debug)]
pub(crate) enum Lender {
    /// Granted for each request. What the backend must not read is zeroed first: it can map a page whole.
    EachTime(DomId),
    /// Granted for ever, and only ever used with this backend.
    Pool(Pool),
}

/// Pages that are granted for ever.
#[derive(Debug)]
pub(crate) struct Pool {
    peer: DomId,
    /// The last one back is the first to go, so that the backend has the fewest to keep mapped.
    free: Vec<SharedPage>,
    made: usize,
    most: usize,
}

impl Pool {
    /// A pool of `least` pages, that grows as far as there is memory that nothing else will miss.
    pub(crate) fn new(peer: DomId, least: usize) -> Result<Self, OutOfPages> {
        let spare = memory::stats().map_or(usize::MAX, |stats| stats.free / 8 / PAGE_SIZE);
        let mut pool = Self {
            peer,
            free: Vec::new(),
            made: 0,
            most: least.max(spare.min(MOST_POOLED)),
        };
        for _ in 0..least {
            let page = pool.make().ok_or(OutOfPages)?;
            pool.free.push(page);
        }
        Ok(pool)
    }

    fn make(&mut self) -> Option<SharedPage> {
        if self.made == self.most {
            return None;
        }
        // Room for every page that was made: giving one back must not need memory.
        let more = (self.made + 1).saturating_sub(self.free.len());
        self.free.try_reserve(more).ok()?;
        let page = Page::new().ok()?;
        let page = page.share(self.peer, Access::ReadWrite).ok()?;
        self.made += 1;
        Some(page)
    }
}

/// What was read may be a secret: its copies here end with the disk.
impl Drop for Pool {
    fn drop(&mut self) {
        for page in &self.free {
            page.as_ref().write(0, &[0; PAGE_SIZE]);
        }
    }
}

/// Gives page `index` of `op` back what is in `shared`, if that was its own page; a backend that keeps the page has it for ever, and a
/// copy takes its place. False if there is no memory for that.
pub(crate) fn rescue(shared: SharedPage, op: &mut Op, index: usize) -> bool {
    let Some(place) = op.pages.get_mut(index).filter(|place| place.is_none()) else {
        // A page of the pool: the caller's own is where it was.
        return true;
    };
    *place = match shared.reclaim() {
        Ok(page) => Some(page),
        Err(kept) => Page::new().ok().map(|mut page| {
            kept.as_ref().read(0, &mut page[..]);
            page
        }),
    };
    place.is_some()
}

impl Lender {
    /// Whether the backend has any page of the pool mapped.
    pub(crate) fn is_held(&self) -> bool {
        match self {
            Self::EachTime(_) => false,
            Self::Pool(pool) => pool.free.iter().any(SharedPage::is_held),
        }
    }

    /// Lends page `index` of `op`; `None` when there is no grant, or no page of the pool, for it now.
    pub(crate) fn lend(&mut self, op: &mut Op, index: usize, kind: Kind) -> Option<SharedPage> {
        let bytes = op.bytes(index);
        let place = op.pages.get_mut(index)?;
        match self {
            Self::EachTime(peer) => {
                let mut page = place.take()?;
                let access = if kind == Kind::Write {
                    page[bytes..].fill(0);
                    Access::ReadOnly
                } else {
                    page.fill(0);
                    Access::ReadWrite
                };
                match page.share(*peer, access) {
                    Ok(shared) => Some(shared),
                    Err(page) => {
                        *place = Some(page);
                        None
                    }
                }
            }
            Self::Pool(pool) => {
                let page = place.as_ref()?;
                let shared = pool.free.pop().or_else(|| pool.make())?;
                if kind == Kind::Write {
                    shared.as_ref().write(0, &page[..bytes]);
                }
                Some(shared)
            }
        }
    }

    /// Takes page `index` of `op` back, when the backend said that it is done with it; of a read that was `done`,
    /// with what was read.
    ///
    /// # Errors
    /// [`Lie::PageKept`]. The page is lost, and another one is in its place.
    pub(crate) fn take_back(
        &mut self,
        shared: SharedPage,
        op: &mut Op,
        index: usize,
        done: Option<Kind>,
    ) -> Result<(), Lie> {
        let bytes = op.bytes(index);
        let Some(place) = op.pages.get_mut(index) else {
            return Ok(());
        };
        match self {
            Self::EachTime(_) => match shared.reclaim() {
                Ok(page) => {
                    *place = Some(page);
                    Ok(())
                }
                Err(_kept) => {
                    *place = Page::new().ok();
                    Err(Lie::PageKept)
                }
            },
            Self::Pool(pool) => {
                if let (Some(Kind::Read), Some(page)) = (done, place.as_mut()) {
                    shared.as_ref().read(0, &mut page[..bytes]);
                }
                pool.free.push(shared);
                Ok(())
            }
        }
    }

    /// Takes page `index` of `op` back from a backend that is not done with it, if that is possible; else it gives
    /// the page as it is shared, for later.
    pub(crate) fn recall(
        &self,
        shared: SharedPage,
        op: Option<&mut Op>,
        index: usize,
    ) -> Option<SharedPage> {
        match self {
            Self::EachTime(_) => match shared.reclaim() {
                Ok(page) => {
                    if let Some(place) = op.and_then(|op| op.pages.get_mut(index)) {
                        *place = Some(page);
                    }
                    None
                }
                Err(kept) => Some(kept),
            },
            Self::Pool(_) => Some(shared),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenlet_kernel::hosted;

    #[test]
    fn what_was_read_goes_with_the_disk() {
        hosted::test(async || {
            let pool = Pool::new(DomId(0), 2).unwrap();
            let [kept, other] = &pool.free[..] else {
                panic!("two pages");
            };
            other.as_ref().write(0, &[2; PAGE_SIZE]);
            kept.as_ref().write(0, &[1; PAGE_SIZE]);
            let mapped = hosted::map_grant(kept.gref(), false).unwrap();
            drop(pool);
            let mut bytes = [1; PAGE_SIZE];
            mapped.as_ref().read(0, &mut bytes);
            assert_eq!(bytes, [0; PAGE_SIZE]);
        });
    }
}
