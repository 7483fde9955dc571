//! What callers asked for, until they have the answer.

use crate::IoError;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::page::{OutOfPages, Page, Pages};
use xenlet_kernel::trace::{Span, waits_for};

/// What a request does. In this order they are sent, of those that wait at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Flush,
    Discard,
    Read,
    Write,
}

impl Kind {
    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// A request's place in [`Ops`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OpId(usize);

/// One request of a caller.
#[derive(Debug)]
pub(crate) struct Op {
    /// A page that is with the backend leaves its place empty.
    pub(crate) pages: Vec<Option<Page>>,
    /// Bytes that count.
    len: usize,
    /// How many of its units (pages, or one if it has none) are not answered yet.
    left: usize,
    error: Option<IoError>,
    waiter: Waiter,
    /// Where it is.
    pub(crate) span: Span,
}

#[derive(Debug)]
enum Waiter {
    /// Whoever waits, once it has asked.
    Some(Option<Waker>),
    /// The caller went away.
    Gone,
}

impl Op {
    /// The bytes of page `index` that count.
    pub(crate) fn bytes(&self, index: usize) -> usize {
        self.len.saturating_sub(index * PAGE_SIZE).min(PAGE_SIZE)
    }

    /// The answer. Pages that are lost to the backend, and could not be replaced, are missing.
    fn answer(self) -> (Pages, Result<(), IoError>) {
        let pages: Vec<Page> = self.pages.into_iter().map_while(|page| page).collect();
        let len = self.len.min(pages.len() * PAGE_SIZE);
        let result = self.error.map_or(Ok(()), Err);
        (Pages::from_pages(pages, len), result)
    }
}

/// The requests of a disk. Places are used again, so that a request allocates nothing once there were as many.
#[derive(Debug, Default)]
pub(crate) struct Ops {
    places: Vec<Option<Op>>,
    /// Has room for every place.
    free: Vec<usize>,
}

impl Ops {
    /// Takes a request with `pages`, none for a flush or a discard.
    ///
    /// # Errors
    /// The pages, when there is no memory for one more.
    pub(crate) fn add(&mut self, pages: Pages) -> Result<OpId, Pages> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let more = self.places.len() + 1 - self.free.len();
                if self.places.try_reserve(1).is_err() || self.free.try_reserve(more).is_err() {
                    return Err(pages);
                }
                self.places.push(None);
                self.places.len() - 1
            }
        };
        let len = pages.len();
        let pages: Vec<Option<Page>> = pages.into_pages().into_iter().map(Some).collect();
        self.places[index] = Some(Op {
            left: pages.len().max(1),
            pages,
            len,
            error: None,
            waiter: Waiter::Some(None),
            span: Span::default(),
        });
        Ok(OpId(index))
    }

    /// The request `id`, which is not answered yet.
    pub(crate) fn get(&mut self, id: OpId) -> Option<&mut Op> {
        self.places.get_mut(id.0)?.as_mut()
    }

    /// Notes the answer for `units` of request `id`, and tells the caller when it was the last.
    pub(crate) fn finish(&mut self, id: OpId, units: usize, result: Result<(), IoError>) {
        let Some(op) = self.get(id) else { return };
        op.left = op.left.saturating_sub(units);
        op.error = op.error.or(result.err());
        if op.left > 0 {
            return;
        }
        op.span.end();
        match &mut op.waiter {
            Waiter::Some(waker) => {
                if let Some(waker) = waker.take() {
                    waker.wake();
                }
            }
            Waiter::Gone => drop(self.remove(id)),
        }
    }

    /// Ends all requests that are not done with `error`, and gives each pages for those that are with the backend.
    pub(crate) fn end(&mut self, error: IoError) {
        for index in 0..self.places.len() {
            let Some(op) = self.places[index].as_mut().filter(|op| op.left > 0) else {
                continue;
            };
            for page in op.pages.iter_mut().filter(|page| page.is_none()) {
                *page = Page::new().map_err(|OutOfPages| ()).ok();
            }
            let left = op.left;
            self.finish(OpId(index), left, Err(error));
        }
    }

    /// The answer of request `id`, once; before, `cx` is woken when it is there.
    pub(crate) fn poll(
        &mut self,
        id: OpId,
        cx: &mut Context<'_>,
    ) -> Poll<(Pages, Result<(), IoError>)> {
        if let Some(op) = self.get(id)
            && op.left > 0
        {
            op.waiter = Waiter::Some(Some(cx.waker().clone()));
            waits_for("the disk");
            return Poll::Pending;
        }
        match self.remove(id) {
            Some(op) => Poll::Ready(op.answer()),
            None => Poll::Pending,
        }
    }

    /// The caller of request `id` went away without its answer.
    pub(crate) fn forget(&mut self, id: OpId) {
        let Some(op) = self.get(id) else { return };
        if op.left > 0 {
            op.waiter = Waiter::Gone;
        } else {
            drop(self.remove(id));
        }
    }

    fn remove(&mut self, id: OpId) -> Option<Op> {
        let op = self.places.get_mut(id.0)?.take()?;
        self.free.push(id.0);
        Some(op)
    }

    /// How many requests have a place.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}
