//! A netback that lies about whatever a string of bytes tells it to: what property tests and fuzzers drive. What each byte
//! does, to the rings, the indices, the pages, the events or the keys, is in `steps`.

mod steps;

use super::Config;
use crate::connect;
use crate::proto::{
    self, RSP_NULL, RSP_OKAY, RxResponse, TX_EXTRA_INFO, TxData, TxRequest, TxResponse,
};
use xenlet_kernel::addr::{GrantRef, Port};
use xenlet_kernel::hosted::hostile::{self, Device, Script};
use xenlet_kernel::hosted::{BackendPort, Ends, MappedPage, map_grant};
use xenlet_kernel::ring::BackRing;

/// What it lies about.
const OFFERS: [&str; 8] = {
    let [copy, sg, checksum, tcpv4, tcpv6, split] = connect::OFFERS;
    let (queues, hotplug) = ("multi-queue-max-queues", "hotplug-status");
    [copy, sg, checksum, tcpv4, tcpv6, split, queues, hotplug]
};

/// Gives this thread's domain an interface whose netback does what `script` says.
pub fn attach(config: Config, script: Vec<u8>) -> Hostile {
    Hostile::attach(
        Liar {
            config,
            rings: None,
        },
        script,
    )
}

/// What the guest shared when it connected.
pub struct Rings {
    grefs: [GrantRef; 2],
    pub(super) tx: BackRing<proto::Tx, MappedPage>,
    pub(super) rx: BackRing<proto::Rx, MappedPage>,
    ends: Vec<BackendPort>,
    /// The slot that the guest transmitted last says that an extra is next.
    extra_next: bool,
}

/// A slot that the guest transmitted.
enum Sent {
    Data(TxData),
    Extra,
}

impl Sent {
    /// The answer that it should have.
    fn answer(&self) -> TxResponse {
        let (id, status) = match self {
            Self::Data(data) => (data.id, RSP_OKAY),
            Self::Extra => (0, RSP_NULL),
        };
        TxResponse { id, status }
    }
}

impl Rings {
    fn open(config: &Config) -> Option<Self> {
        let key = |key: &str| config.ends().front_key(key)?.parse().ok();
        let grefs = [GrantRef(key("tx-ring-ref")?), GrantRef(key("rx-ring-ref")?)];
        let ports = ["event-channel", "event-channel-tx", "event-channel-rx"];
        Some(Self {
            grefs,
            tx: BackRing::new(vec![map_grant(grefs[0], true).ok()?]),
            rx: BackRing::new(vec![map_grant(grefs[1], true).ok()?]),
            ends: ports
                .into_iter()
                .filter_map(|port| BackendPort::bind(Port(key(port)?)))
                .collect(),
            extra_next: false,
        })
    }

    /// Shows the guest what was pushed and sends it an event, whether it asked for one or not.
    pub(super) fn publish(&mut self) {
        let _ = self.tx.publish();
        let _ = self.rx.publish();
        self.notify();
    }

    fn notify(&self) {
        self.ends.iter().for_each(BackendPort::notify);
    }

    /// Answers `request` as it is, but for what `change` makes of it.
    fn receive(&mut self, change: impl FnOnce(&mut RxResponse, GrantRef)) {
        if let Ok(Some(request)) = self.rx.pop() {
            let mut response = RxResponse {
                id: request.id,
                offset: 0,
                flags: 0,
                status: 60,
            };
            change(&mut response, request.gref);
            self.rx.push(&response);
        }
    }

    fn transmitted(&mut self) -> Option<Sent> {
        let Ok(Some(TxRequest::Data(data))) = self.tx.pop() else {
            return None;
        };
        if std::mem::take(&mut self.extra_next) {
            return Some(Sent::Extra);
        }
        self.extra_next = data.flags & TX_EXTRA_INFO != 0;
        Some(Sent::Data(data))
    }
}

/// A handle of it.
pub type Hostile = hostile::Hostile<Liar>;

/// An interface whose netback lies.
pub struct Liar {
    config: Config,
    rings: Option<Rings>,
}

#[cfg(test)]
impl Liar {
    /// Lets a test put into the rings what it likes.
    ///
    /// # Panics
    /// If the guest has not connected.
    pub(super) fn tell<R>(&mut self, f: impl FnOnce(&mut Rings) -> R) -> R {
        f(self.rings.as_mut().expect("connected"))
    }
}

impl Device for Liar {
    fn ends(&self) -> Ends {
        self.config.ends()
    }

    fn create(&mut self) {
        self.config.write_keys();
    }

    fn offer(&mut self, script: &mut Script) {
        self.config.write_offers();
        script.lie_about(self.ends(), &OFFERS);
    }

    fn connect(&mut self, script: &mut Script) {
        self.rings = Rings::open(&self.config);
        script.lie_about(self.ends(), &OFFERS);
    }

    fn rings(&self) -> Vec<GrantRef> {
        self.rings.iter().flat_map(|rings| rings.grefs).collect()
    }

    fn disconnect(&mut self) {
        self.rings = None;
    }

    fn step(&mut self, script: &mut Script) {
        if let Some(rings) = self.rings.as_mut() {
            rings.step(self.config.ends(), script);
        }
    }
}
