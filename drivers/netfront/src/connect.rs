//! The handshake in xenstore, from `Initialising` to `Connected`.
//!
//! As Linux's netback has it: the frontend reads what is offered at `InitWait`, writes its keys with `Connected`, and
//! the backend follows.

use crate::control::{Claim, Control, attend};
use crate::data::{Channels, Data};
use crate::settings::{parse_mac, parse_mtu};
use crate::{Error, Features, Netfront, Stats};
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::time::{Duration, timeout};
use xenlet_kernel::xenbus::{Frontend, State};
use xenlet_kernel::xenstore::{self, Errno};
use xenlet_kernel::{memory, page, run};

/// How long the backend has for each step: its domain may be busy starting others.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pages that backends may keep of closed interfaces before none is opened any more: an eighth of the memory. Each
/// interface gives its backend the chance to keep some hundreds.
fn most_kept() -> usize {
    memory::stats().map_or(1024, |stats| stats.total / PAGE_SIZE / 8)
}

pub(crate) async fn connect(number: u32) -> Result<Netfront, Error> {
    let store = |e| match e {
        xenstore::Error::Refused(Errno::ENOENT) => Error::NoDevice(number),
        e => Error::Store(number, e),
    };
    let claim = Claim::new(number)?;
    let kept = page::leaked();
    if kept > most_kept() {
        return Err(Error::PagesKept(number, kept));
    }
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
    let control = Rc::new(Control::new());
    let task = run::spawn(attend(claim, frontend, keys, Rc::clone(&control)));
    // From here on the backend may have our pages: whichever way this ends, the task takes them back.
    let vif = Netfront {
        number,
        mac,
        mtu,
        features,
        data: Some(data),
        control: Rc::clone(&control),
        task: Some(task),
        stats: Stats::default(),
    };
    match control.agreed().await {
        Ok(()) => {
            // Whatever either side did before the other listened is looked at now.
            if let Some(data) = &vif.data {
                data.channels.notify(true, true);
            }
            Ok(vif)
        }
        Err(e) => {
            vif.close().await;
            Err(e)
        }
    }
}

/// Shows the backend our keys and waits for it to follow.
pub(crate) async fn agree(
    number: u32,
    frontend: &mut Frontend,
    keys: &[(&'static str, String)],
) -> Result<(), Error> {
    frontend
        .publish(keys, State::Connected)
        .await
        .map_err(|e| Error::Store(number, e))?;
    reach(number, frontend, State::Connected).await
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
