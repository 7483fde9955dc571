//! `/capture`: the frames of a vif, both ways, as they come and go, in the format of pcapng.
//!
//! Between the interface and who reads there are two buffers: one is filled while the other is sent. A frame for which there is no room is
//! counted and left out: the network does not wait for who looks at it. Of a frame only the headers are kept, unless the payload is asked
//! for, so that a capture has nobody's secrets. What is said to and from the port of this service is left out, or a capture would
//! capture itself.
//!
//! Frames of one round of the loop have the same time: when it began.

mod buffer;
mod headers;
mod pcapng;

use crate::query;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use buffer::{Buffer, Choice};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use embedded_io_async::{Read, Write};
use pcapng::Statistics;
use xenlet_http::{Error, Exchange, KernelClock, Method, Sender, Status};
use xenlet_kernel::limit::RateLimit;
use xenlet_kernel::time::{Duration, Instant, now, timeout};
use xenlet_kernel::{memory, shutdown};
use xenlet_net::{interfaces, tap};

/// Captures at once.
const MOST: usize = 4;

/// Memory that has to be free, in bytes, for one more, which takes a quarter of it.
const RESERVE: usize = 1 << 20;

/// Lines about captures that are logged at once.
const LINES: u32 = 16;

/// How long nothing is sent before a block that says how many frames there were: who is gone is noticed by that.
const SILENCE: Duration = Duration::from_secs(5);

/// What was asked for.
struct Asked {
    vif: u32,
    choice: Choice,
    until: Option<Instant>,
}

impl Asked {
    /// Reads the query; segments of the guest's port `without` are left out.
    fn read(query: Option<&str>, without: u16) -> Result<Self, String> {
        let choice = Choice {
            payload: false,
            packets: u64::MAX,
            without,
        };
        let mut asked = Self {
            vif: 0,
            choice,
            until: None,
        };
        query::read(query, |name, value| {
            match name {
                "vif" => asked.vif = query::number(name, value)?,
                "packets" => asked.choice.packets = query::number(name, value)?,
                "seconds" => {
                    let seconds = Duration::from_secs(query::number(name, value)?);
                    asked.until = Some(now() + seconds);
                }
                "payload" if matches!(value, "yes" | "no") => asked.choice.payload = value == "yes",
                _ => {
                    return Err(format!(
                        "{name}={value}: there are vif=0, seconds=10, packets=100 and payload=yes."
                    ));
                }
            }
            Ok(())
        })?;
        Ok(asked)
    }
}

/// Captures that are under way.
pub(crate) struct Captures {
    /// Where this service is.
    port: u16,
    /// Each of them has this, too.
    under_way: Rc<()>,
    /// What is logged of them.
    lines: RateLimit,
}

impl Captures {
    /// None, of a service on `port`.
    pub(crate) fn new(port: u16) -> Self {
        Self {
            port,
            under_way: Rc::default(),
            lines: RateLimit::new(LINES),
        }
    }

    /// Logs one line, within limits: who asks can make many.
    fn say(&self, line: fmt::Arguments<'_>) {
        if self.lines.take().is_some() {
            log::info!(target: "inspect", "{line}");
        }
    }

    /// Answers with frames, for as long as it is asked for and the client reads.
    pub(crate) async fn answer<S: Read + Write>(
        &self,
        exchange: Exchange<'_, '_, S, KernelClock>,
    ) -> Result<(), Error<S::Error>> {
        let asked = match Asked::read(exchange.request().query(), self.port) {
            Ok(asked) => asked,
            Err(why) => return exchange.refuse(Status::BAD_REQUEST, &why).await,
        };
        let vif = asked.vif;
        let Some(interface) = interfaces().into_iter().find(|one| one.number == vif) else {
            let why = format!("There is no vif {vif}.");
            return exchange.refuse(Status::NOT_FOUND, &why).await;
        };
        let under_way = Rc::clone(&self.under_way);
        let is_room = Rc::strong_count(&under_way) <= 1 + MOST && memory::has_room(RESERVE);
        let Some((buffer, mut bytes)) = is_room.then(|| Buffer::new(asked.choice)).flatten() else {
            let why = format!("{MOST} captures are under way, or there is no memory for one more.");
            return exchange.refuse(Status::SERVICE_UNAVAILABLE, &why).await;
        };
        let name = format!("attachment; filename=\"vif{vif}.pcapng\"");
        let fields = [
            ("Content-Type", "application/x-pcapng"),
            ("Content-Disposition", &name),
            ("Cache-Control", "no-store"),
        ];
        let is_head = exchange.request().method() == Method::Head;
        let mut sender = exchange.start(Status::OK, &fields, None).await?;
        if is_head {
            return sender.finish().await;
        }
        pcapng::begin(&mut bytes, &interface);
        let buffer = Rc::new(buffer);
        tap::tap(vif, &buffer);
        let what = if asked.choice.payload {
            "frames"
        } else {
            "headers"
        };
        self.say(format_args!("vif{vif}: a capture of its {what} begins"));
        let result = stream(&mut sender, &buffer, bytes, asked.until).await;
        let Statistics { seen, lost, .. } = buffer.statistics();
        self.say(format_args!(
            "vif{vif}: a capture ends; {lost} of {seen} frames were lost"
        ));
        result?;
        sender.finish().await
    }
}

/// Sends `bytes`, and what the buffer gets, until as much was there as was wanted, it is late enough, or the domain is to end.
async fn stream<S: Read + Write>(
    sender: &mut Sender<'_, '_, S, KernelClock>,
    buffer: &Buffer,
    mut bytes: Vec<u8>,
    until: Option<Instant>,
) -> Result<(), Error<S::Error>> {
    let mut asked_to_end = pin!(shutdown::requested());
    loop {
        sender.write(&bytes).await?;
        sender.flush().await?;
        let left = until.map_or(SILENCE, |until| until.since(now()));
        let event = poll_fn(|cx| match asked_to_end.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => buffer.filled.poll_notified(cx),
        });
        let _ = timeout(left.min(SILENCE), event).await;
        buffer.exchange(&mut bytes);
        let ends = buffer.is_done()
            || shutdown::pending().is_some()
            || until.is_some_and(|until| until <= now());
        if ends || bytes.is_empty() {
            pcapng::statistics(&mut bytes, &buffer.statistics());
        }
        if ends {
            sender.write(&bytes).await?;
            return Ok(());
        }
    }
}
