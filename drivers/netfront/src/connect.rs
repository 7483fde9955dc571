//! The handshake in xenstore, from `Initialising` to `Connected`.
//!
//! As Linux's netback has it: the frontend reads what is offered at `InitWait`, writes its keys with `Connected`, and
//! the backend follows.

use crate::data::{Channels, Data};
use crate::settings::{parse_mac, parse_mtu};
use crate::{Error, Features, Lie, Netfront, Stats};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use xenlet_kernel::xenbus::{Class, DeviceError, Frontend, Opening, State};

/// Network interfaces, as xenbus sees them.
#[derive(Debug)]
pub(crate) struct Vif;

impl Class for Vif {
    const NAME: &'static str = "vif";
    const CONFIG: &'static str = "vif";
    const BACKEND: &'static str = "xen-netback";
    const PUBLISH_AT: State = State::Connected;
    type Shared = Data;
    type Lie = Lie;

    fn is_held(data: &Data) -> bool {
        data.tx.is_held() || data.rx.is_held()
    }
}

pub(crate) async fn connect(number: u32) -> Result<Netfront, Error> {
    let opening = Opening::<Vif>::new(number).await?;
    let frontend = opening.frontend();
    // Only now, since the toolstack may have taken the device away meanwhile and given us another.
    let (mac, mtu) = (frontend.read::<String>("mac"), frontend.read("mtu"));
    let features = offers(number, frontend).await?;
    let mac = mac.await.unwrap_or_default();
    let Some(mac) = parse_mac(&mac) else {
        return Err(Error::BadMac(number, mac));
    };
    let mtu = parse_mtu(number, mtu.await, features);

    let data = Data::new(frontend.backend_id(), features).map_err(|why| DeviceError {
        device: alloc::format!("vif{number}"),
        why,
    })?;
    let keys = keys(&data);
    let device = opening.connect(keys, data).await?;
    // Whatever either side did before the other listened is looked at now.
    if let Some(data) = device.shared() {
        data.channels.notify(true, true);
    }
    Ok(Netfront {
        number,
        mac,
        mtu,
        features,
        device,
        stats: Stats::default(),
    })
}

/// What is understood of what a backend may offer.
pub(crate) const OFFERS: [&str; 6] = [
    "feature-rx-copy",
    "feature-sg",
    "feature-no-csum-offload",
    "feature-gso-tcpv4",
    "feature-gso-tcpv6",
    "feature-split-event-channels",
];

/// Reads what the backend offers.
async fn offers(number: u32, frontend: &Frontend) -> Result<Features, Error> {
    let [
        rx_copy,
        sg,
        no_checksum,
        gso_tcpv4,
        gso_tcpv6,
        split_channels,
    ] = frontend.offers_each(OFFERS).await;
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
