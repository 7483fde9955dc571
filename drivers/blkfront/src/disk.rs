//! A disk for those who use it: a handle that puts requests into the queue, and the futures that wait for answers.

use crate::connect::{self, Vbd};
use crate::io::State;
use crate::ops::{Kind, OpId, Ops};
use crate::queue::{Part, Queue};
use crate::task::serve;
use crate::{BlockDevice, Error, Features, Geometry, IoError, Link, SECTOR, Stats, metrics, name};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use xenlet_kernel::page::Pages;
use xenlet_kernel::run::{self, JoinHandle, Notify};
use xenlet_kernel::trace;
use xenlet_kernel::xenbus::Device;

/// What the handles of a disk and its task have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    name: String,
    geometry: Geometry,
    pub(crate) state: RefCell<State>,
    pub(crate) link: Cell<Link>,
    /// Wakes the task when there is something in the queue, or it is to close.
    pub(crate) wake: Notify,
    /// Nothing more is taken.
    pub(crate) closing: Cell<bool>,
    /// The backend has been gone for so long that nothing waits for another.
    pub(crate) missed: Cell<bool>,
}

impl Shared {
    /// What the disk is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn features(&self) -> Features {
        self.state.borrow().features
    }

    /// Whether `other` is of a disk like this one.
    pub(crate) fn is_like(&self, other: Geometry) -> bool {
        let discard = self.geometry.discard;
        self.geometry == Geometry { discard, ..other }
    }

    /// Fails all that was asked for and is not with a backend.
    pub(crate) fn give_up(&self) {
        let mut state = self.state.borrow_mut();
        state.queue.clear();
        state.ops.end(IoError::Gone);
    }

    pub(crate) fn geometry(&self) -> Geometry {
        Geometry {
            discard: self.features().discard.is_some(),
            ..self.geometry
        }
    }

    /// Takes no more requests, and ends the task once those that were taken are done.
    fn close(&self) {
        self.closing.set(true);
        self.wake.notify();
    }

    /// Puts a request into the queue.
    fn submit(self: &Rc<Self>, kind: Kind, sector: u64, sectors: u64, pages: Pages) -> Answer {
        if self.closing.get() || self.missed.get() {
            return Answer::Now(Some((pages, Err(IoError::Gone))));
        }
        let mut state = self.state.borrow_mut();
        let units = pages.chunks().len().max(1);
        let op = match state.ops.add(pages) {
            Ok(op) => op,
            Err(pages) => return Answer::Now(Some((pages, Err(IoError::OutOfMemory)))),
        };
        state.waits(op, kind, sector, sectors);
        let part = Part {
            op,
            kind,
            units: 0..units,
            sector,
            sectors,
            alone: false,
        };
        if let Err(e) = state.queue.push(part) {
            state.ops.finish(op, units, Err(e));
        }
        state.stats.count(kind, sectors);
        self.wake.notify();
        Answer::Later(Rc::clone(self), op)
    }
}

impl Stats {
    fn count(&mut self, kind: Kind, sectors: u64) {
        let bytes = sectors.saturating_mul(SECTOR as u64);
        match kind {
            Kind::Flush => self.flushes += 1,
            Kind::Discard => self.discards += 1,
            Kind::Read => {
                self.reads += 1;
                self.read_bytes = self.read_bytes.saturating_add(bytes);
            }
            Kind::Write => {
                self.writes += 1;
                self.write_bytes = self.write_bytes.saturating_add(bytes);
            }
        }
    }
}

/// Closes the disk when it is dropped.
#[derive(Debug)]
struct Handle {
    number: u32,
    shared: Rc<Shared>,
    task: RefCell<Option<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A connected disk. Clones are the same disk.
///
/// When the last one is dropped, the requests that were taken are done and the disk is closed in the background;
/// [`close`](Self::close) waits for that.
///
/// A request is in the queue once its method was called, whether its future is polled or not. In one round of the loop
/// all that is in the queue goes out, adjacent requests as one.
#[derive(Clone, Debug)]
pub struct Disk(Rc<Handle>);

impl Disk {
    /// Connects the disk that the guest's configuration calls `name`, such as `xvda`.
    ///
    /// # Errors
    /// As [`Error`] says. What was done is undone, so that it can be tried again.
    pub async fn open(name: &str) -> Result<Self, Error> {
        match name::number(name) {
            Some(number) => Self::connect(number).await,
            None => Err(Error::NoName(name.into())),
        }
    }

    /// Connects disk `number` (`device/vbd/NUMBER`): waits for its backend and agrees with it on features.
    ///
    /// # Errors
    /// As [`Error`] says. What was done is undone, so that it can be tried again.
    pub async fn connect(number: u32) -> Result<Self, Error> {
        connect::connect(number).await
    }

    pub(crate) fn new(
        number: u32,
        device: Device<Vbd>,
        geometry: Geometry,
        features: Features,
    ) -> Self {
        let name = name::describe(number);
        let trace = trace::Device::new(&name);
        let shared = Rc::new(Shared {
            name,
            geometry,
            state: RefCell::new(State {
                ops: Ops::default(),
                queue: Queue::default(),
                features,
                stats: Stats::default(),
                trace,
            }),
            link: Cell::new(Link::Up),
            wake: Notify::new(),
            closing: Cell::new(false),
            missed: Cell::new(false),
        });
        shared.announce();
        metrics::add(&shared);
        let task = run::spawn_named("disk", serve(number, device, Rc::clone(&shared)));
        Self(Rc::new(Handle {
            number,
            shared,
            task: RefCell::new(Some(task)),
        }))
    }

    /// The disk's number: 51712 for `xvda`.
    pub fn number(&self) -> u32 {
        self.0.number
    }

    /// What the disk is called in messages, such as `xvda (vbd51712)`.
    pub fn name(&self) -> &str {
        self.0.shared.name()
    }

    /// What the backend can do.
    pub fn features(&self) -> Features {
        self.0.shared.features()
    }

    /// Whether requests are done. While it is down because the backend left, or the domain was restored, requests wait for the
    /// backend that comes next, for [`PATIENCE`](crate::PATIENCE) from when it left; then they fail, until one comes. Once down
    /// because the backend lied, or because the next one has another disk, this disk stays down: drop it and connect again.
    pub fn link(&self) -> Link {
        self.0.shared.link.get()
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.0.shared.state.borrow().stats
    }

    /// Closes the disk, for all its handles: what was asked for is done first. Waits until the backend has let go of
    /// everything, or had its time to; of several callers only the first waits.
    pub async fn close(self) {
        self.0.shared.close();
        let task = self.0.task.take();
        if let Some(task) = task {
            task.await;
        }
    }

    /// How many requests are not answered, or their answers not taken.
    #[cfg(test)]
    pub(crate) fn outstanding(&self) -> usize {
        self.0.shared.state.borrow().ops.len()
    }

    fn transfer(&self, kind: Kind, sector: u64, pages: Pages) -> Answer {
        let shared = &self.0.shared;
        let checked = match kind {
            Kind::Write if shared.geometry.read_only => Err(IoError::ReadOnly),
            _ => shared.geometry.check(sector, pages.len()),
        };
        let sectors = (pages.len() / SECTOR) as u64;
        match checked {
            Ok(()) => shared.submit(kind, sector, sectors, pages),
            Err(e) => Answer::Now(Some((pages, Err(e)))),
        }
    }
}

impl BlockDevice for Disk {
    fn geometry(&self) -> Geometry {
        self.0.shared.geometry()
    }

    fn read(
        &self,
        sector: u64,
        pages: Pages,
    ) -> impl Future<Output = (Pages, Result<(), IoError>)> {
        self.transfer(Kind::Read, sector, pages)
    }

    fn write(
        &self,
        sector: u64,
        pages: Pages,
    ) -> impl Future<Output = (Pages, Result<(), IoError>)> {
        self.transfer(Kind::Write, sector, pages)
    }

    fn flush(&self) -> impl Future<Output = Result<(), IoError>> {
        let answer = if self.0.shared.geometry.read_only {
            Answer::now(Ok(()))
        } else {
            self.0.shared.submit(Kind::Flush, 0, 0, no_pages())
        };
        async move { answer.await.1 }
    }

    fn discard(&self, sector: u64, sectors: u64) -> impl Future<Output = Result<(), IoError>> {
        let answer = match self.discardable(sector, sectors) {
            Err(e) => Answer::now(Err(e)),
            Ok(range) if range.is_empty() => Answer::now(Ok(())),
            Ok(range) => {
                let count = range.end - range.start;
                let shared = &self.0.shared;
                shared.submit(Kind::Discard, range.start, count, no_pages())
            }
        };
        async move { answer.await.1 }
    }
}

impl Disk {
    /// What of `sectors` from `sector` on the backend can discard.
    fn discardable(&self, sector: u64, sectors: u64) -> Result<core::ops::Range<u64>, IoError> {
        let geometry = self.geometry();
        if geometry.read_only {
            return Err(IoError::ReadOnly);
        }
        let len = sectors.checked_mul(SECTOR as u64);
        let len = len.and_then(|len| usize::try_from(len).ok());
        let len = len.ok_or(IoError::OutOfRange {
            sector,
            len: usize::MAX,
        })?;
        geometry.check(sector, len)?;
        let granules = self.features().discard;
        Ok(granules.map_or(0..0, |granules| granules.within(sector..sector + sectors)))
    }
}

fn no_pages() -> Pages {
    Pages::from_pages(Vec::new(), 0)
}

/// The answer to come of a request.
#[derive(Debug)]
enum Answer {
    /// It is here, until it is taken.
    Now(Option<(Pages, Result<(), IoError>)>),
    Later(Rc<Shared>, OpId),
}

impl Answer {
    fn now(result: Result<(), IoError>) -> Self {
        Self::Now(Some((no_pages(), result)))
    }
}

impl Future for Answer {
    type Output = (Pages, Result<(), IoError>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Self::Later(shared, op) => {
                let answer = shared.state.borrow_mut().ops.poll(*op, cx);
                if answer.is_ready() {
                    *self = Self::Now(None);
                }
                answer
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Self::Later(shared, op) = self {
            shared.state.borrow_mut().ops.forget(*op);
        }
    }
}
