//! The task that drives one interface, from connecting its vif to the end of the domain.

use super::device::Outgoing;
use super::{Inner, Stack, moment, now};
use crate::metrics;
use crate::tap::{self, Way};
use alloc::rc::Rc;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use smoltcp::iface::{Config, Interface};
use smoltcp::phy::Device;
use smoltcp::wire::{EthernetAddress, HardwareAddress};
use xenlet_kernel::run::yield_now;
use xenlet_kernel::time;
use xenlet_kernel::time::{Duration, Sleep, sleep, sleep_until};
use xenlet_kernel::{entropy, timeline};
use xenlet_netfront::{Checksum, Link, Netfront, Why};

/// Frames taken in before those that they woke have their turn.
const FRAMES: usize = 64;

/// How long a vif that could not be connected is left alone. Each later time is twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// Connects the vif and moves its frames; again when the backend went away.
pub(crate) async fn drive(stack: Rc<Stack>) {
    let mut pause = FIRST_PAUSE;
    let mut said = None;
    loop {
        match Netfront::connect(stack.number).await {
            Ok(mut nic) => {
                said = None;
                let since = time::now();
                stack.attach(&mut nic);
                stack.run(&mut nic).await;
                stack.detach(&nic);
                let restored = nic.link() == Link::Down(Why::Restored);
                nic.close().await;
                if restored {
                    // It is not this vif that went away, and its successor is there.
                    pause = FIRST_PAUSE;
                    continue;
                }
                // One that goes sooner than it came is left alone for longer each time, too.
                if since.elapsed() > pause {
                    pause = FIRST_PAUSE;
                }
            }
            // Once, however long it lasts.
            Err(e) if said.as_ref() == Some(&e) => {}
            Err(e) => {
                log::error!(target: "net", "{e}; trying again until it works");
                said = Some(e);
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

impl Stack {
    /// Marks that there is something to do.
    pub(super) fn wake(&self) {
        self.wake.notify();
    }

    fn attach(&self, nic: &mut Netfront) {
        let mut inner = self.inner.borrow_mut();
        inner.attach(nic);
        log::info!(
            target: "net",
            "vif{}: link is up, address {}, MTU {}", self.number, Colons(inner.mac), inner.mtu
        );
        if !inner.shared.linked.replace(true) {
            timeline::mark("link");
        }
        inner.begin_address();
        inner.shared.changed();
    }

    fn detach(&self, nic: &Netfront) {
        if let Link::Down(why) = nic.link() {
            log::warn!(target: "net", "vif{}: link is down: {why}", self.number);
        }
        let mut inner = self.inner.borrow_mut();
        inner.interface = None;
        inner.shared.changed();
    }

    /// Moves frames until the link goes down.
    async fn run(&self, nic: &mut Netfront) {
        let mut alarm = sleep_until(time::round());
        while matches!(nic.link(), Link::Up) {
            let more_in = self.take_in(nic);
            // Those whose data arrived run now, so that what they answer leaves with the acknowledgement; and whatever
            // the backend does, others run.
            yield_now().await;
            let more_out = self.send_out(nic);
            nic.flush();
            metrics::note(nic);
            if !more_in && !more_out {
                poll_fn(|cx| self.poll_anything(nic, &mut alarm, cx)).await;
            }
        }
    }

    /// Frames in. Returns whether there may be more.
    fn take_in(&self, nic: &mut Netfront) -> bool {
        let mut inner = self.inner.borrow_mut();
        let mut out = Outgoing::new(nic);
        inner.acks.begin(FRAMES);
        let mut more = true;
        for _ in 0..FRAMES {
            let Some(frame) = out.receive_frame() else {
                more = false;
                break;
            };
            tap::show(self.number, Way::In, &frame);
            let checked = frame.checksum() != Checksum::Unknown;
            inner.receive(&frame, checked, &mut out);
        }
        inner.end_turn(&mut out);
        inner.count(&out);
        more
    }

    /// Frames out. Returns whether there may be more.
    fn send_out(&self, nic: &mut Netfront) -> bool {
        let mut inner = self.inner.borrow_mut();
        let mut out = Outgoing::new(nic);
        let more = inner.transmit(&mut out);
        inner.count(&out);
        more
    }

    /// Ready when there may be something to do.
    fn poll_anything(
        &self,
        nic: &mut Netfront,
        alarm: &mut Sleep,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let inner = self.inner.borrow();
        let woken = self.wake.poll_notified(cx).is_ready();
        let due = inner.next_deadline().is_some_and(|at| {
            alarm.reset(moment(at));
            Pin::new(&mut *alarm).poll(cx).is_ready()
        });
        drop(inner);
        // Asked in any case: this is what makes the backend tell us when it has something.
        let nic = nic.poll_ready(cx);
        if woken || due { Poll::Ready(()) } else { nic }
    }
}

impl Inner {
    /// Makes smoltcp's interface for the vif. Connections outlive the vif; they go on if the address is the same.
    fn attach(&mut self, nic: &mut Netfront) {
        self.mac = EthernetAddress(nic.mac());
        let mut config = Config::new(HardwareAddress::Ethernet(self.mac));
        config.random_seed = entropy::seed();
        let mut device = Outgoing::new(nic);
        self.mtu = device.capabilities().ip_mtu();
        self.interface = Some(Interface::new(config, &mut device, now()));
    }

    fn count(&mut self, out: &Outgoing<'_>) {
        self.asked |= out.asked;
        self.stats.tx_frames += out.count as u64;
        self.stats.tx_bytes += out.bytes as u64;
    }
}

/// A hardware address as Xen's configuration has it.
struct Colons(EthernetAddress);

impl core::fmt::Display for Colons {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, e, g] = self.0.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
