//! The connection to xenstored: requests out, answers matched to who waits, watch events to who watches.

use super::watch;
use super::wire::{Lie, Parser};
use super::{Errno, Error};
use crate::abi::xs_wire::{Head, PAYLOAD_MAX, RING_SIZE, Type};
use crate::event::Channel;
use crate::page::Window;
use crate::run::{self, Notify};
use crate::{platform, trace};
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;
use core::pin::Pin;
use core::sync::atomic::{Ordering, fence};
use core::task::{Context, Poll};

/// Offsets in `struct xenstore_domain_interface`.
const REQ: Range<usize> = 0..RING_SIZE;
const RSP: Range<usize> = RING_SIZE..2 * RING_SIZE;
const REQ_CONS: usize = 2048;
const REQ_PROD: usize = 2052;
const RSP_CONS: usize = 2056;
const RSP_PROD: usize = 2060;

/// Bytes of requests that may wait for a xenstored that does not read them.
const OUT_MAX: usize = 64 * 1024;

type Answer = Result<(Type, Vec<u8>), Error>;

/// Where the answer to one request goes.
#[derive(Default)]
struct Slot {
    ty: Option<Type>,
    answer: RefCell<Option<Answer>>,
    place: Notify,
}

struct Client {
    page: Window,
    channel: Channel,
    /// Requests that are not in the ring yet, and word for the task that puts them there: what is asked in one turn goes
    /// out together, with one event.
    out: VecDeque<u8>,
    asked: Notify,
    parser: Parser,
    /// Few: those of one turn, or two.
    waiting: Vec<(u32, Rc<Slot>)>,
    next_id: u32,
    /// How many requests have no answer yet, whether somebody waits for it or not.
    unanswered: usize,
}

local! {
    /// `None` before `start` and once the connection is broken.
    static CLIENT: RefCell<Option<Client>> = RefCell::new(None);
}

/// Connects to xenstored.
pub(crate) fn start() {
    let Some(client) = Client::new() else {
        return;
    };
    CLIENT.with(|c| *c.borrow_mut() = Some(client));
    run::spawn_named("xenstore", core::future::poll_fn(serve));
}

/// Connects anew to the xenstored of a restored domain.
pub(crate) fn restored() {
    match CLIENT.with(RefCell::take) {
        Some(old) => {
            CLIENT.with(|c| *c.borrow_mut() = Client::new());
            // The task goes on with the new one.
            old.asked.notify();
            old.end(&Error::Restored);
        }
        None => start(),
    }
}

/// Whether xenstored owes nothing, and there is no message of which only a part has come.
pub(crate) fn is_quiet() -> bool {
    with_client(|client| {
        let index = |at| client.page.load_acquire(at);
        client.unanswered == 0
            && client.parser.is_empty()
            && index(REQ_CONS) == index(REQ_PROD)
            && index(RSP_CONS) == index(RSP_PROD)
    })
    .unwrap_or(true)
}

/// Moves bytes both ways on each event of xenstored's. Ready only when the connection is broken.
fn serve(cx: &mut Context<'_>) -> Poll<()> {
    loop {
        let result = with_client(|client| {
            let asked = client.asked.poll_notified(cx).is_ready();
            let event = client.channel.poll_event(cx).is_ready();
            if !asked && !event {
                return Ok(None);
            }
            client.flush();
            client.receive().map(Some)
        });
        match result {
            Some(Ok(Some(()))) => {}
            Some(Ok(None)) => return Poll::Pending,
            Some(Err(lie)) => {
                broken(lie);
                return Poll::Ready(());
            }
            None => return Poll::Ready(()),
        }
    }
}

fn with_client<R>(f: impl FnOnce(&mut Client) -> R) -> Option<R> {
    CLIENT.with(|c| c.borrow_mut().as_mut().map(f))
}

/// Ends the connection: whoever waits is told.
fn broken(lie: Lie) {
    log::error!("xenstored sent {lie}; the connection to it is closed");
    if let Some(client) = CLIENT.with(RefCell::take) {
        client.end(&Error::Broken);
    }
}

impl Client {
    fn new() -> Option<Self> {
        let (page, port) = platform::xenstore()?;
        // Of what a restored domain finds there nothing is for it.
        page.store_release(RSP_CONS, page.load_acquire(RSP_PROD));
        Some(Self {
            page,
            channel: Channel::bound(port),
            out: VecDeque::new(),
            asked: Notify::new(),
            parser: Parser::new(),
            waiting: Vec::new(),
            next_id: 0,
            unanswered: 0,
        })
    }

    /// Tells whoever waits why there is no answer.
    fn end(self, why: &Error) {
        for (_, slot) in self.waiting {
            slot.answer.replace(Some(Err(why.clone())));
            slot.place.notify();
        }
        watch::end_all(why);
    }

    /// Moves what fits of the waiting requests into the ring.
    fn flush(&mut self) {
        let (cons, prod) = (
            self.page.load_acquire(REQ_CONS),
            self.page.load_acquire(REQ_PROD),
        );
        let room = RING_SIZE.saturating_sub(prod.wrapping_sub(cons) as usize);
        let count = room.min(self.out.len());
        if count > 0 {
            let at = self.page.drain(&mut self.out, count, &REQ, prod);
            self.page.store_release(REQ_PROD, at);
            self.channel.notify();
        }
    }

    /// Takes what is in the ring and hands out the messages that it completes.
    fn receive(&mut self) -> Result<(), Lie> {
        let (cons, prod) = (
            self.page.load_acquire(RSP_CONS),
            self.page.load_acquire(RSP_PROD),
        );
        let used = prod.wrapping_sub(cons);
        if used as usize > RING_SIZE {
            return Err(Lie::BogusProducer(used));
        }
        if used > 0 {
            let mut bytes = [0; RING_SIZE];
            let bytes = &mut bytes[..used as usize];
            self.page.read_around(&RSP, cons, bytes);
            self.page.store_release(RSP_CONS, prod);
            self.parser.feed(bytes);
            // Whether xenstored found the ring full, and waits, is asked after it could see that there is room.
            fence(Ordering::SeqCst);
            let prod = self.page.load_acquire(RSP_PROD);
            if prod.wrapping_sub(cons) as usize >= RING_SIZE {
                self.channel.notify();
            }
        }
        while let Some((head, payload)) = self.parser.next()? {
            match Type::from_u32(head.ty) {
                Some(Type::WatchEvent) => watch::event(&payload),
                ty => self.answer(ty, head.req_id, payload),
            }
        }
        Ok(())
    }

    fn answer(&mut self, ty: Option<Type>, req_id: u32, payload: Vec<u8>) {
        self.unanswered = self.unanswered.saturating_sub(1);
        // Nobody waits for it: the asker went away, or the number is made up.
        let Some(at) = self.waiting.iter().position(|(id, _)| *id == req_id) else {
            return;
        };
        let slot = self.waiting.swap_remove(at).1;
        let answer = match ty {
            Some(Type::Error) => Err(Error::Refused(Errno::from_payload(&payload))),
            Some(ty) if Some(ty) == slot.ty => Ok((ty, payload)),
            _ => Err(Error::Unexpected),
        };
        slot.answer.replace(Some(answer));
        slot.place.notify();
    }

    fn send(&mut self, ty: Type, tx_id: u32, parts: &[&[u8]]) -> Result<u32, Error> {
        if self.out.len() > OUT_MAX {
            return Err(Error::Broken);
        }
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let sendable = len <= PAYLOAD_MAX
            && parts
                .iter()
                .all(|part| *part == b"\0" || !part.contains(&0));
        let len = u32::try_from(len)
            .ok()
            .filter(|_| sendable)
            .ok_or(Error::Unsendable)?;
        // Numbers of requests still waiting are not used again, so an old answer cannot be taken for a new one.
        loop {
            self.next_id = self.next_id.wrapping_add(1).max(1);
            if !self.waiting.iter().any(|(id, _)| *id == self.next_id) {
                break;
            }
        }
        let head = Head {
            ty: ty as u32,
            req_id: self.next_id,
            tx_id,
            len,
        };
        self.out.extend(head.emit());
        for part in parts {
            self.out.extend(*part);
        }
        self.unanswered += 1;
        self.asked.notify();
        Ok(self.next_id)
    }
}

/// Sends a request whose answer nobody needs.
pub(super) fn send(ty: Type, tx_id: u32, parts: &[&[u8]]) {
    // When there is no connection there is nothing left to be told.
    let _ = with_client(|client| client.send(ty, tx_id, parts));
}

/// Sends a request; the future is its answer's payload.
pub(super) fn request(ty: Type, tx_id: u32, parts: &[&[u8]]) -> Reply {
    let slot = Rc::new(Slot {
        ty: Some(ty),
        ..Slot::default()
    });
    let sent = with_client(|client| {
        let id = client.send(ty, tx_id, parts)?;
        client.waiting.push((id, Rc::clone(&slot)));
        Ok(())
    });
    if let Err(e) = sent.unwrap_or(Err(Error::Broken)) {
        slot.answer.replace(Some(Err(e)));
    }
    Reply(slot)
}

/// The answer to come. Whoever drops it is not waited for any more.
pub(super) struct Reply(Rc<Slot>);

impl Future for Reply {
    type Output = Result<Vec<u8>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(answer) = self.0.answer.take() {
                return Poll::Ready(answer.map(|(_, payload)| payload));
            }
            if self.0.place.poll_notified(cx).is_pending() {
                trace::waits_for("xenstore");
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // Not by its number: it may be that of another connection's request.
        with_client(|client| {
            client
                .waiting
                .retain(|(_, slot)| !Rc::ptr_eq(slot, &self.0))
        });
    }
}
