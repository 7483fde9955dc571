//! The entry for fuzzers: a guest that does what guests do, with a netback that does what `data` says.

use super::{Config, hostile};
use crate::{Gso, GsoKind, Link, Netfront, TxMeta};
use core::future::poll_fn;
use core::num::NonZeroU16;
use xenlet_kernel::hosted;
use xenlet_kernel::hosted::hostile::Held;
use xenlet_kernel::time::{Duration, sleep, timeout};

/// How often the guest connects again after the link went down.
const LIVES: usize = 3;

/// Runs a guest against a hostile netback that does what `data` says.
///
/// # Panics
/// If the guest does, if it waits for ever, if it says more than one line for a lie, or if anything is lost to it beyond
/// what the netback still holds: that is what a fuzzer looks for.
pub fn fuzz(data: &[u8]) {
    let data = data.to_vec();
    hosted::test(async move || {
        // The domain's own watches are set by now.
        sleep(Duration::from_millis(1)).await;
        let before = Held::now();
        let (features, script) = match data.split_first() {
            Some((first, script)) => (*first, script.to_vec()),
            None => (0, Vec::new()),
        };
        let config = Config {
            sg: features & 1 == 0,
            split_channels: features & 2 == 0,
            gso: features & 4 == 0,
            tx_checksum: features & 8 == 0,
            ..Config::default()
        };
        let netback = hostile::attach(config, script);
        for life in 0..LIVES {
            if let Ok(vif) = Netfront::connect(0).await {
                live(vif, &netback, life == 0 && features & 16 != 0).await;
            }
            // A connection that was dropped is closed in the background, which may take 40 s.
            sleep(Duration::from_secs(60)).await;
        }
        netback.assert_nothing_lost(&before, LIVES);
    });
}

/// Sends and receives until the link is down or nothing more comes; perhaps the domain is restored meanwhile.
async fn live(mut vif: Netfront, netback: &hostile::Hostile, restored: bool) {
    let mut held = None;
    for turn in 0..200_usize {
        if restored && turn == 2 {
            netback.restore();
        }
        let len = 60 + turn * 997 % 20_000;
        vif.transmit(len, meta(&vif, len, turn), |bytes| bytes.fill(1));
        while let Some(frame) = vif.receive() {
            // Read every byte, and keep a frame across turns.
            assert!(frame.iter().map(|b| u64::from(*b)).sum::<u64>() < u64::MAX);
            held = Some(frame);
        }
        let ready = timeout(Duration::from_millis(10), poll_fn(|cx| vif.poll_ready(cx))).await;
        if vif.link() != Link::Up || (ready.is_err() && netback.done()) {
            break;
        }
    }
    if netback.done() {
        vif.close().await;
    }
    drop(held);
}

/// What the backend is asked to do with a frame, of what it can do.
fn meta(vif: &Netfront, len: usize, turn: usize) -> TxMeta {
    let features = vif.features();
    TxMeta {
        csum_blank: features.tx_checksum && turn % 3 == 1,
        gso: NonZeroU16::new(1400)
            .filter(|_| features.tx_checksum && features.gso_tcpv4 && len > 1400)
            .map(|size| Gso {
                kind: GsoKind::TcpV4,
                size,
            }),
    }
}
