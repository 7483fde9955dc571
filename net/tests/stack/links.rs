//! The vif goes away, and comes back.

use crate::support::{check_echo, domain, pattern, serve_echo, stats};
use xenlet_kernel::time::{Duration, sleep};
use xenlet_net::hosted::Peer;
use xenlet_netfront::hosted as netfront;

#[test]
fn detached_and_attached_again() {
    let ended = domain("", async || {
        let peer = Peer::new();
        let vif = netfront::attach(netfront::Config::default(), peer.wire());
        serve_echo().await;
        check_echo(peer.connect(7).await.unwrap(), pattern(1000)).await;
        vif.detach();
        sleep(Duration::from_secs(1)).await;
        assert!(!xenlet_net::interfaces()[0].link);
        sleep(Duration::from_secs(300)).await;
        let other = Peer::attach_default();
        sleep(Duration::from_secs(120)).await;
        assert!(xenlet_net::interfaces()[0].link);
        check_echo(other.connect(7).await.unwrap(), pattern(1000)).await;
        sleep(Duration::from_secs(120)).await;
        assert_eq!(stats().connections, 0);
    });
    assert!(ended.value.is_some(), "{}", ended.console);
    assert!(
        ended.console.contains("WARN net: vif0: link is down: "),
        "{}",
        ended.console
    );
    assert!(
        ended.console.matches("INFO net: vif0: link is up").count() == 2,
        "{}",
        ended.console
    );
}

/// Without the backend's help: no offloads, no scatter-gather, one event channel.
#[test]
fn a_backend_that_can_do_little() {
    let config = netfront::Config {
        sg: false,
        tx_checksum: false,
        gso: false,
        split_channels: false,
        ..netfront::Config::default()
    };
    let ended = domain("", async move || {
        let peer = Peer::new();
        netfront::attach(config, peer.wire());
        serve_echo().await;
        check_echo(peer.connect(7).await.unwrap(), pattern(1 << 20)).await;
    });
    assert!(ended.value.is_some(), "{}", ended.console);
}

/// A backend that keeps transmitted frames for a while, so that the ring is often full.
#[test]
fn a_backend_that_is_slow() {
    let config = netfront::Config {
        hold: Duration::from_millis(5),
        pace: 3,
        ..netfront::Config::default()
    };
    let ended = domain("", async move || {
        let peer = Peer::new();
        netfront::attach(config, peer.wire());
        serve_echo().await;
        check_echo(peer.connect(7).await.unwrap(), pattern(1 << 20)).await;
    });
    assert!(ended.value.is_some(), "{}", ended.console);
}

/// Packets of 9,000 bytes, where the toolstack says so.
#[test]
fn jumbo_frames() {
    let config = netfront::Config {
        mtu: Some(9000),
        gso: false,
        ..netfront::Config::default()
    };
    let ended = domain("", async move || {
        let peer = Peer::new();
        netfront::attach(config, peer.wire());
        serve_echo().await;
        assert_eq!(xenlet_net::interfaces()[0].mtu, 9000);
        check_echo(peer.connect(7).await.unwrap(), pattern(1 << 20)).await;
    });
    assert!(ended.value.is_some(), "{}", ended.console);
}
