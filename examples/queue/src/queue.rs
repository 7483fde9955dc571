//! Which request is for whom, and who may send it.

use crate::record::Record;
use crate::refusal::Refusal;
use crate::tokens::{Role, Tokens};
use crate::uploads::{Problem, Uploads};
use crate::{download, list, stats, upload};
use alloc::rc::Rc;
use core::cell::Cell;
use embedded_io_async::{Read, Write};
use serde::Serialize;
use xenlet_http::access::WrongTokens;
use xenlet_http::{
    Error, Exchange, Handler, KernelClock, Method, Precondition, Request, Server, Status,
};
use xenlet_kernel::limit::RateLimit;
use xenlet_net::Peer;
use xenlet_storage::BlockDevice;

/// Nobody is to keep what changes all the time.
pub(crate) const NOT_KEPT: (&str, &str) = ("Cache-Control", "no-store");

/// Failures of the disk that are logged at once, before it is one a second.
const BURST: u32 = 10;

/// The queue as a service.
#[derive(Debug)]
pub(crate) struct Queue<D> {
    tokens: Rc<Tokens>,
    wrong: WrongTokens,
    /// `None` if there is no store that can be used.
    open: Option<Open<D>>,
}

/// A queue whose store is open.
#[derive(Debug)]
pub(crate) struct Open<D> {
    pub(crate) uploads: Uploads<D>,
    counts: Cell<Counts>,
    limit: RateLimit,
}

/// What was done since the guest was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) uploads: u64,
    pub(crate) uploaded_bytes: u64,
    pub(crate) downloads: u64,
    pub(crate) downloaded_bytes: u64,
    pub(crate) deletes: u64,
}

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action<'p> {
    Put(&'p str),
    Fetch(&'p str),
    Delete(&'p str),
    List,
    Next,
    Stats,
}

impl<'p> Action<'p> {
    fn of(request: &Request<'p>) -> Result<Self, Refusal> {
        let is_read = matches!(request.method(), Method::Get | Method::Head);
        let read = |action| match is_read {
            true => Ok(action),
            false => Err(not_allowed("GET, HEAD")),
        };
        match request.path() {
            "/uploads" => read(Self::List),
            "/next" => read(Self::Next),
            "/stats" => read(Self::Stats),
            path => match (path.strip_prefix("/uploads/"), request.method()) {
                (Some(name), Method::Put) => Ok(Self::Put(name)),
                (Some(name), Method::Delete) => Ok(Self::Delete(name)),
                (Some(name), _) if is_read => Ok(Self::Fetch(name)),
                (Some(_), _) => Err(not_allowed("GET, HEAD, PUT, DELETE")),
                (None, _) => Err(Refusal::new(
                    Status::NOT_FOUND,
                    "There is nothing here but /uploads, /uploads/NAME, /next and /stats.",
                )),
            },
        }
    }

    fn role(self) -> Option<Role> {
        match self {
            Self::Put(_) => Some(Role::Uploader),
            Self::Fetch(_) | Self::Delete(_) | Self::List | Self::Next => Some(Role::Downloader),
            Self::Stats => None,
        }
    }
}

const fn not_allowed(methods: &'static str) -> Refusal {
    let why = "The Allow field says what can be done here.";
    Refusal::new(Status::METHOD_NOT_ALLOWED, why).with("Allow", methods)
}

impl<D: BlockDevice + 'static> Queue<D> {
    pub(crate) fn new(tokens: Rc<Tokens>, uploads: Option<Uploads<D>>) -> Self {
        let open = uploads.map(|uploads| Open {
            uploads,
            counts: Cell::default(),
            limit: RateLimit::new(BURST),
        });
        Self {
            tokens,
            wrong: WrongTokens::default(),
            open,
        }
    }

    /// Who sent a wrong token waits first.
    async fn refuse<S: Read + Write>(
        &self,
        refusal: Refusal,
        exchange: Exchange<'_, '_, S, KernelClock>,
    ) -> Result<(), Error<S::Error>> {
        let request = exchange.request();
        let is_wrong_token = refusal.is_of_a_stranger() && request.value("Authorization").is_some();
        if is_wrong_token && !self.wrong.penalty(request.path()).await {
            let (status, why) = WrongTokens::MANY;
            return exchange.refuse(status, why).await;
        }
        refusal.send(exchange).await
    }

    /// What an authorised request wants, and the store to do it with.
    fn admit<'p>(
        &self,
        request: &Request<'p>,
        peer: Option<&Peer>,
    ) -> Result<(Action<'p>, &Open<D>), Refusal> {
        let action = Action::of(request)?;
        if let Some(role) = action.role() {
            self.tokens.check(request, peer, role)?;
        }
        let closed = Refusal::new(
            Status::SERVICE_UNAVAILABLE,
            "There is no disk that can be used; the guest's console says why.",
        );
        Ok((action, self.open.as_ref().ok_or(closed)?))
    }
}

impl<D: BlockDevice + 'static> Handler for Queue<D> {
    async fn answer<S: Read + Write>(
        &self,
        exchange: Exchange<'_, '_, S, KernelClock>,
        server: &Server<KernelClock>,
    ) -> Result<(), Error<S::Error>> {
        let (action, open) = match self.admit(&exchange.request(), exchange.peer()) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(refusal, exchange).await,
        };
        match action {
            Action::Put(name) => upload::put(open, name, exchange).await,
            Action::Fetch(name) => {
                let found = open.uploads.find(name).await;
                download::send(open, name, found, exchange).await
            }
            Action::Next => {
                let found = open.uploads.oldest().await;
                download::send(open, "the oldest", found, exchange).await
            }
            Action::Delete(name) => open.delete(name, exchange).await,
            Action::List => list::send(open, exchange).await,
            Action::Stats => stats::send(open, exchange, server).await,
        }
    }
}

impl<D: BlockDevice + 'static> Open<D> {
    /// `DELETE /uploads/NAME`.
    async fn delete<S: Read + Write>(
        &self,
        name: &str,
        exchange: Exchange<'_, '_, S, KernelClock>,
    ) -> Result<(), Error<S::Error>> {
        let request = exchange.request();
        let condition =
            |record: &Record| request.precondition(Some(&record.tag())) == Precondition::Passed;
        match self.uploads.delete(name, condition).await {
            Ok(true) => {
                self.count(|counts| counts.deletes += 1);
                exchange.respond(Status::NO_CONTENT, &[], b"").await
            }
            Ok(false) => {
                let why = "The upload is not what If-Match says.";
                exchange.refuse(Status::PRECONDITION_FAILED, why).await
            }
            Err(problem) => self.refusal(name, problem).send(exchange).await,
        }
    }

    /// What a client is told of a problem with `what`. The console is told as well if it is one of ours.
    pub(crate) fn refusal(&self, what: &str, problem: Problem) -> Refusal {
        self.report(what, problem);
        problem.into()
    }

    /// Logs a problem with `what`, if it is not the client's.
    pub(crate) fn report(&self, what: &str, problem: Problem) {
        if problem.is_ours() {
            self.limit.warn(format_args!("queue: {what:?}: {problem}"));
        }
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.get()
    }
}
