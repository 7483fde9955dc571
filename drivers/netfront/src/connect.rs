//! The handshake in xenstore, from `Initialising` to `Connected` and back to `Closed`.
//!
//! As Linux's netback has it: the frontend reads what is offered at `InitWait`, writes its keys with `Connected`, and
//! the backend follows. It takes its hands off our pages on the way to `Closed`, so they are taken back only then.

use crate::{Channels, Data, Error, Features, Lie, Link, Netfront, Stats, Why};
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::pin::pin;
use core::task::Poll;
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::event::Channel;
use xenlet_kernel::limit::RateLimit;
use xenlet_kernel::local;
use xenlet_kernel::page;
use xenlet_kernel::run::{self, Notify};
use xenlet_kernel::time::{Duration, timeout};
use xenlet_kernel::xenbus::{Frontend, State};
use xenlet_kernel::xenstore::{self, Errno};

/// How long the backend has for each step of connecting: its domain may be busy starting others.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it has for each step of closing.
const FAREWELL: Duration = Duration::from_secs(5);

/// IP packet bytes without a word of the toolstack's.
const DEFAULT_MTU: usize = 1500;
/// The least that IPv4 allows a link.
const LEAST_MTU: usize = 68;
/// An Ethernet header, with a VLAN tag.
const HEADER: usize = 18;

local! {
    /// The interfaces that are connected, connecting or closing.
    static CLAIMED: RefCell<Vec<u32>> = RefCell::new(Vec::new());
}
local! {
    static LIES: RateLimit = RateLimit::new(8);
}

/// The right to be the one frontend of an interface. Given back when dropped.
struct Claim(u32);

impl Claim {
    fn new(number: u32) -> Result<Self, Error> {
        CLAIMED.with(|c| {
            let mut claimed = c.borrow_mut();
            if claimed.contains(&number) {
                return Err(Error::InUse(number));
            }
            claimed.push(number);
            Ok(Self(number))
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.with(|c| c.borrow_mut().retain(|number| *number != self.0));
    }
}

/// What the interface and the task that watches its backend have in common.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) link: Cell<Link>,
    /// Wakes the interface's task when the link goes down.
    pub(crate) changed: Notify,
    /// Rings and pages that the interface has done with.
    retired: RefCell<Option<Data>>,
    retire: Notify,
}

impl Control {
    /// Hands over rings and pages, to be taken back from the backend.
    pub(crate) fn retire(&self, data: Data) {
        *self.retired.borrow_mut() = Some(data);
        self.retire.notify();
    }
}

/// Says in the log which lie ended an interface.
pub(crate) fn log_lie(number: u32, lie: Lie) {
    LIES.with(|limit| {
        limit.warn(format_args!(
            "vif{number}: the backend broke the protocol: {lie}; the interface is closed"
        ))
    });
}

pub(crate) async fn connect(number: u32) -> Result<Netfront, Error> {
    let store = |e| match e {
        xenstore::Error::Refused(Errno::ENOENT) => Error::NoDevice(number),
        e => Error::Store(number, e),
    };
    let claim = Claim::new(number)?;
    let mut frontend = Frontend::open("vif", number).await.map_err(store)?;
    // It may not be where a handshake begins, but where an earlier life of ours left it.
    if frontend.read::<String>("state").await.as_deref() != Some(State::Initialising.text()) {
        frontend
            .publish(&[], State::Initialising)
            .await
            .map_err(store)?;
    }
    reach(number, &mut frontend, State::InitWait).await?;

    // Only now, since the toolstack may have taken the device away meanwhile and given us another.
    let (mac, mtu) = (frontend.read::<String>("mac"), frontend.read("mtu"));
    let features = offers(number, &frontend).await?;
    let mac = mac.await.unwrap_or_default();
    let Some(mac) = parse_mac(&mac) else {
        return Err(Error::BadMac(number, mac));
    };
    let mtu = parse_mtu(number, mtu.await, features);

    let data = Data::new(number, frontend.backend_id(), features)?;
    let keys = keys(&data);
    let published = frontend.publish(&keys, State::Connected).await;
    let answered = match published {
        Ok(()) => reach(number, &mut frontend, State::Connected).await,
        Err(e) => Err(store(e)),
    };
    if let Err(e) = answered {
        finish(number, frontend, Some(data)).await;
        return Err(e);
    }
    // Whatever either side did before the other listened is looked at now.
    data.channels.notify(true, true);

    let control = Rc::new(Control {
        link: Cell::new(Link::Up),
        changed: Notify::new(),
        retired: RefCell::new(None),
        retire: Notify::new(),
    });
    let task = run::spawn(attend(claim, frontend, Rc::clone(&control)));
    Ok(Netfront {
        number,
        mac,
        mtu,
        features,
        data: Some(data),
        control,
        task: Some(task),
        stats: Stats::default(),
    })
}

/// Waits for the backend to come to `wanted`.
async fn reach(number: u32, frontend: &mut Frontend, wanted: State) -> Result<(), Error> {
    // Before `InitWait` it may still be on its way out from an earlier life.
    let refused = |s| {
        wanted == State::Connected && matches!(s, State::Closing | State::Closed | State::Unknown)
    };
    match timeout(
        PATIENCE,
        frontend.wait_backend(|s| s == wanted || refused(s)),
    )
    .await
    {
        Ok(Ok(state)) if state == wanted => Ok(()),
        Ok(Ok(state)) => Err(Error::BackendRefused(number, state)),
        Ok(Err(e)) => Err(Error::Store(number, e)),
        Err(_elapsed) => Err(Error::BackendStuck(number, frontend.backend_state().await)),
    }
}

/// Reads what the backend offers.
async fn offers(number: u32, frontend: &Frontend) -> Result<Features, Error> {
    let [
        rx_copy,
        sg,
        no_checksum,
        gso_tcpv4,
        gso_tcpv6,
        split_channels,
    ] = frontend
        .offers_each([
            "feature-rx-copy",
            "feature-sg",
            "feature-no-csum-offload",
            "feature-gso-tcpv4",
            "feature-gso-tcpv6",
            "feature-split-event-channels",
        ])
        .await;
    if !rx_copy {
        return Err(Error::NoCopy(number));
    }
    Ok(Features {
        sg,
        tx_checksum: !no_checksum,
        // A large segment takes several pages.
        gso_tcpv4: gso_tcpv4 && sg,
        gso_tcpv6: gso_tcpv6 && sg,
        split_channels,
    })
}

/// The keys that netback reads, as Linux's netfront writes them.
fn keys(data: &Data) -> Vec<(&'static str, String)> {
    let mut keys = vec![
        ("tx-ring-ref", data.tx.ring_ref().to_string()),
        ("rx-ring-ref", data.rx.ring_ref().to_string()),
    ];
    match &data.channels {
        Channels::One(channel) => keys.push(("event-channel", channel.port().to_string())),
        Channels::Split { tx, rx } => keys.extend([
            ("event-channel-tx", tx.port().to_string()),
            ("event-channel-rx", rx.port().to_string()),
        ]),
    }
    // Whole frames of 64 KiB with blank checksums are the cheapest for both sides, so all of these are taken.
    let can = [
        "request-rx-copy",
        "feature-rx-notify",
        "feature-sg",
        "feature-gso-tcpv4",
        "feature-gso-tcpv6",
        "feature-ipv6-csum-offload",
    ];
    keys.extend(can.map(|key| (key, String::from("1"))));
    keys.push(("feature-no-csum-offload", String::from("0")));
    keys
}

impl Data {
    fn new(
        number: u32,
        peer: xenlet_kernel::addr::DomId,
        features: Features,
    ) -> Result<Self, Error> {
        let memory = |_| Error::OutOfPages(number);
        let port = |e| Error::NoPort(number, e);
        Ok(Self {
            tx: crate::tx::Tx::new(peer, features).map_err(memory)?,
            rx: crate::rx::Rx::new(peer).map_err(memory)?,
            channels: if features.split_channels {
                Channels::Split {
                    tx: Channel::unbound(peer).map_err(port)?,
                    rx: Channel::unbound(peer).map_err(port)?,
                }
            } else {
                Channels::One(Channel::unbound(peer).map_err(port)?)
            },
        })
    }
}

/// Six bytes in hexadecimal, two digits each, with colons between: the address of one interface.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    let one = mac[0] & 1 == 0 && mac != [0; 6];
    (parts.next().is_none() && one).then_some(mac)
}

/// The bytes of an IP packet that the link takes: the toolstack's word, if it makes sense.
fn parse_mtu(number: u32, said: Option<String>, features: Features) -> usize {
    let most = if features.sg {
        usize::from(u16::MAX)
    } else {
        PAGE_SIZE
    } - HEADER;
    let Some(said) = said else {
        return DEFAULT_MTU;
    };
    match said.parse() {
        Ok(mtu) if (LEAST_MTU..=most).contains(&mtu) => mtu,
        _ => {
            log::warn!(
                "vif{number}: mtu is {said:?}, not {LEAST_MTU} to {most} bytes; it is {DEFAULT_MTU} here"
            );
            DEFAULT_MTU
        }
    }
}

/// The task beside a connected interface: says when the backend leaves, and closes when the interface is done.
async fn attend(claim: Claim, mut frontend: Frontend, control: Rc<Control>) {
    {
        let mut left = pin!(frontend.wait_backend(|state| state != State::Connected));
        let mut watching = true;
        core::future::poll_fn(|cx| {
            if watching && let Poll::Ready(result) = left.as_mut().poll(cx) {
                watching = false;
                // Without xenstore there is nobody to ask; the rings go on.
                if let Ok(state) = result
                    && control.link.get() == Link::Up
                {
                    control.link.set(Link::Down(Why::Backend(state)));
                    control.changed.notify();
                }
            }
            control.retire.poll_notified(cx)
        })
        .await;
    }
    let data = control.retired.take();
    finish(claim.0, frontend, data).await;
    drop(claim);
}

/// Takes leave of the backend, then takes the memory back.
async fn finish(number: u32, mut frontend: Frontend, data: Option<Data>) {
    part(&mut frontend).await;
    let before = page::leaked();
    drop(data);
    let lost = page::leaked() - before;
    if lost > 0 {
        log::warn!(
            "vif{number}: the backend still has pages mapped: {lost} pages are lost to this guest"
        );
    }
}

/// Brings both ends to `Closed`, or as near as the backend comes in the time it has.
async fn part(frontend: &mut Frontend) {
    let left = |s| !matches!(s, State::Connected | State::Initialised);
    let closed = |s| !matches!(s, State::Connected | State::Initialised | State::Closing);
    // Errors: the device or xenstore is gone, so there is nobody to take leave of.
    let _ = frontend.publish(&[], State::Closing).await;
    let _ = timeout(FAREWELL, frontend.wait_backend(left)).await;
    let _ = frontend.publish(&[], State::Closed).await;
    let _ = timeout(FAREWELL, frontend.wait_backend(closed)).await;
}

#[cfg(test)]
mod tests;
