//! A netback in this process: what answers [`Netfront`](crate::Netfront) on the hosted target.
//!
//! It maps the guest's grants, reads and writes real ring bytes and follows the states in xenstore as Linux's netback
//! does, and it is as strict: what netback would kill an interface for is a panic here, so that our own bugs show.
//! Behind it is a [`Wire`]: another stack in this process ([`pair`]), a TAP device ([`Tap`]), either of them
//! with a copy of the traffic in a file ([`Tee`]).
//!
//! ```
//! use xenlet_kernel::hosted;
//! use xenlet_netfront::{Netfront, TxMeta, hosted::{Config, Wire, attach, pair}};
//!
//! hosted::test(async || {
//!     let (wire, mut other) = pair();
//!     let _vif = attach(Config::default(), wire);
//!     let mut vif = Netfront::connect(0).await.unwrap();
//!     vif.transmit(60, TxMeta::default(), |bytes| bytes.fill(7));
//!     vif.flush();
//!     xenlet_kernel::time::sleep(xenlet_kernel::time::Duration::from_millis(1)).await;
//!     assert_eq!(other.recv().unwrap().bytes, [7; 60]);
//! });
//! ```

mod fuzz;
pub mod hostile;
mod netback;
pub mod offload;
mod pcap;
mod port;
#[cfg(target_os = "linux")]
mod tap;
mod wire;

pub use fuzz::fuzz;
pub use netback::Counts;
pub use pcap::Tee;
#[cfg(target_os = "linux")]
pub use tap::Tap;
pub use wire::{Frame, Pair, Wire, pair};

use netback::Netback;
use std::cell::RefCell;
use std::rc::Rc;
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::hosted::{Backend, Ends, add_backend};
use xenlet_kernel::time::{Duration, Instant};
use xenlet_kernel::xenbus::State;

/// What an interface is and what its netback offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `device/vif/NUMBER`.
    pub number: u32,
    /// The guest's Ethernet address.
    pub mac: [u8; 6],
    /// The toolstack's word on the MTU, if it says one.
    pub mtu: Option<u32>,
    /// `feature-rx-copy`.
    pub rx_copy: bool,
    /// `feature-sg`.
    pub sg: bool,
    /// The opposite of `feature-no-csum-offload`.
    pub tx_checksum: bool,
    /// `feature-gso-tcpv4` and `feature-gso-tcpv6`.
    pub gso: bool,
    /// `feature-split-event-channels`.
    pub split_channels: bool,
    /// Bytes that are put in one receive slot, at most a page; fewer make scatter-gather of small frames.
    pub slot_bytes: usize,
    /// Where in a page received bytes begin.
    pub offset: usize,
    /// Frames that are moved each way before the guest runs again.
    pub pace: usize,
    /// How long the last few transmitted frames stay unanswered, as those do that the host's own stack still reads;
    /// they are answered in the opposite order. Zero is at once.
    pub hold: Duration,
}

impl Default for Config {
    /// `vif0` of a Linux netback, with all that it offers.
    fn default() -> Self {
        Self {
            number: 0,
            mac: [0x00, 0x16, 0x3e, 0, 0, 1],
            mtu: None,
            rx_copy: true,
            sg: true,
            tx_checksum: true,
            gso: true,
            split_channels: true,
            slot_bytes: PAGE_SIZE,
            offset: 0,
            pace: 64,
            hold: Duration::ZERO,
        }
    }
}

impl Config {
    /// Where it is in xenstore.
    pub fn ends(&self) -> Ends {
        Ends::of("vif", self.number)
    }

    /// Writes what the toolstack writes, both ends at `Initialising`.
    pub(crate) fn write_keys(&self) {
        let mac: Vec<String> = self.mac.iter().map(|b| format!("{b:02x}")).collect();
        let (handle, mac) = (self.number.to_string(), mac.join(":"));
        let back = [("handle", handle.as_str()), ("mac", &mac)];
        let mtu = self.mtu.map(|mtu| mtu.to_string());
        let mut front = back.to_vec();
        front.extend(mtu.as_deref().map(|mtu| ("mtu", mtu)));
        self.ends().create(&front, &back);
    }

    /// Writes what netback offers at `InitWait`.
    pub(crate) fn write_offers(&self) {
        let offers = [
            ("feature-rx-copy", self.rx_copy),
            ("feature-rx-flip", false),
            ("feature-sg", self.sg),
            ("feature-gso-tcpv4", self.gso),
            ("feature-gso-tcpv6", self.gso),
            ("feature-ipv6-csum-offload", self.tx_checksum),
            ("feature-no-csum-offload", !self.tx_checksum),
            ("feature-split-event-channels", self.split_channels),
            ("feature-multicast-control", true),
            ("multi-queue-max-queues", true),
        ];
        for (key, offered) in offers {
            self.ends().write_back(key, &u32::from(offered).to_string());
        }
    }
}

/// Gives this thread's domain an interface, as `xl create` or `xl network-attach` does, with `wire` behind it.
///
/// # Panics
/// If `config` has more bytes in a slot than a page has.
pub fn attach(config: Config, wire: impl Wire + 'static) -> Vif {
    assert!(
        config.slot_bytes > 0 && config.offset + config.slot_bytes <= PAGE_SIZE,
        "a slot must fit a page"
    );
    config.write_keys();
    let vif = Vif(Rc::new(RefCell::new(Netback::new(config, Box::new(wire)))));
    add_backend(Box::new(vif.clone()));
    vif
}

/// The host's end of an interface. Dropping it changes nothing.
#[derive(Clone)]
pub struct Vif(Rc<RefCell<Netback>>);

impl Vif {
    /// Takes the interface away, as `xl network-detach` does: tells both ends to close, and removes their keys when the
    /// guest has followed.
    pub fn detach(&self) {
        self.0.borrow_mut().detach();
    }

    /// The backend's state.
    pub fn state(&self) -> State {
        self.0.borrow().state()
    }

    /// What it has seen so far.
    pub fn counts(&self) -> Counts {
        self.0.borrow().counts()
    }
}

impl Backend for Vif {
    fn poll(&mut self) -> bool {
        self.0.borrow_mut().poll()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.0.borrow().next_deadline()
    }

    fn is_gone(&self) -> bool {
        self.0.borrow().is_gone()
    }
}

#[cfg(test)]
mod tests;
