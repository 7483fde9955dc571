//! The vif goes away, and comes back.

use crate::frames::{Segment, mac_of_guest};
use crate::support::{check_echo, domain, pattern, serve_echo, stats};
use embedded_io_async::{Read, Write};
use proptest::prelude::*;
use smoltcp::wire::TcpControl;
use std::net::Ipv4Addr;
use xenlet_kernel::hosted;
use xenlet_kernel::run::spawn;
use xenlet_kernel::suspend::{self, Resumed};
use xenlet_kernel::time::{Duration, now, sleep, timeout};
use xenlet_net::TcpListener;
use xenlet_net::hosted::Peer;
use xenlet_netfront::hosted::{self as netfront, hostile};

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

/// The application hears of both.
#[test]
fn an_application_sees_the_link_go_and_come() {
    hosted::test(async || {
        let peer = Peer::new();
        let vif = netfront::attach(netfront::Config::default(), peer.wire());
        xenlet_net::link_is(0, true).await.unwrap();
        assert_eq!(
            xenlet_net::link_is(1, true).await,
            Err(xenlet_net::Error::NoInterface)
        );
        let down = spawn(xenlet_net::link_is(0, false));
        vif.detach();
        down.await.unwrap();
        let up = spawn(xenlet_net::link_is(0, true));
        sleep(Duration::from_secs(100)).await;
        assert!(!xenlet_net::interfaces()[0].link);
        netfront::attach(netfront::Config::default(), peer.wire());
        up.await.unwrap();
        assert!(xenlet_net::interfaces()[0].link);
        let down = spawn(xenlet_net::link_is(0, false));
        let wire = peer.wire();
        hosted::restore(move || drop(netfront::attach(netfront::Config::default(), wire)));
        down.await.unwrap();
        xenlet_net::link_is(0, true).await.unwrap();
    });
}

/// A connection goes on over a new vif, by the lease that came over the old one.
#[test]
fn a_connection_outlives_its_vif() {
    hosted::test(async || {
        let peer = Peer::new();
        let vif = netfront::attach(netfront::Config::default(), peer.wire());
        serve_echo().await;
        let mut client = peer.connect(7).await.unwrap();
        vif.detach();
        sleep(Duration::from_secs(30)).await;
        assert!(!xenlet_net::interfaces()[0].link);
        let _again = netfront::attach(netfront::Config::default(), peer.wire());
        client.write_all(b"still there?").await.unwrap();
        client.read_exact(&mut [0; 12]).await.unwrap();
        check_echo(client, pattern(10_000)).await;
    });
}

/// A connection goes on in a restored domain, from where it was: in the middle of a transfer, and idle.
#[test]
fn a_connection_outlives_its_domain() {
    let ended = domain("", async || {
        let peer = Peer::new();
        netfront::attach(netfront::Config::default(), peer.wire());
        serve_echo().await;
        let mut idle = peer.connect(7).await.unwrap();
        for round in 1..4 {
            let busy = spawn(check_echo(peer.connect(7).await.unwrap(), pattern(4 << 20)));
            sleep(Duration::from_millis(5)).await;
            let wire = peer.wire();
            hosted::restore(move || drop(netfront::attach(netfront::Config::default(), wire)));
            let held = suspend::about_to().await;
            assert!(xenlet_net::interfaces()[0].link);
            assert_eq!(held.resumed().await, Resumed::Restored);
            let before = now();
            idle.write_all(b"still there?").await.unwrap();
            idle.read_exact(&mut [0; 12]).await.unwrap();
            let took = now().since(before);
            assert!(took < Duration::from_secs(2), "round {round}: {took:?}");
            busy.await;
        }
        assert_eq!(stats().connections, 1);
    });
    assert!(ended.value.is_some(), "{}", ended.console);
    let down = "vif0: link is down: the domain was restored";
    assert_eq!(ended.console.matches(down).count(), 3, "{}", ended.console);
}

/// What a restored domain says before it knows its new vif is not said to the old one, where it is lost. Said here is that there is
/// room again, which the peer waits for and would ask for ever more rarely.
#[test]
fn a_window_that_opens_as_the_domain_is_restored() {
    hosted::test(async || {
        let peer = Peer::new();
        netfront::attach(netfront::Config::default(), peer.wire());
        let listener = TcpListener::bind(80).await.unwrap();
        xenlet_net::up().await.unwrap();
        let mut client = peer.connect(80).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        spawn(async move { client.write_all(&pattern(4 << 20)).await });
        sleep(Duration::from_secs(80)).await;
        let wire = peer.wire();
        hosted::restore(move || drop(netfront::attach(netfront::Config::default(), wire)));
        suspend::about_to().await.resumed().await;
        let before = now();
        let mut part = [0; 4096];
        for _ in 0..(1 << 20) / part.len() {
            server.read_exact(&mut part).await.unwrap();
        }
        let took = now().since(before);
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}

/// That there is room again was said to a vif that lost it: it is said again to the next one, since the peer, which has waited for
/// long, would not ask soon.
#[test]
fn a_window_that_opens_as_the_vif_goes() {
    // Whenever it would have asked.
    for wait in 80..90 {
        hosted::test(async move || {
            let peer = Peer::new();
            let vif = netfront::attach(netfront::Config::default(), peer.wire());
            let listener = TcpListener::bind(80).await.unwrap();
            xenlet_net::up().await.unwrap();
            let mut client = peer.connect(80).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            spawn(async move { client.write_all(&pattern(4 << 20)).await });
            sleep(Duration::from_secs(wait)).await;
            peer.set_cut(true);
            // All that is there, so that there is nothing more to say of room later.
            let mut part = [0; 4096];
            while let Ok(count) = timeout(Duration::from_millis(100), server.read(&mut part)).await
            {
                count.unwrap();
            }
            vif.detach();
            sleep(Duration::from_secs(2)).await;
            peer.set_cut(false);
            netfront::attach(netfront::Config::default(), peer.wire());
            xenlet_net::link_is(0, true).await.unwrap();
            let before = now();
            for _ in 0..(1 << 20) / part.len() {
                server.read_exact(&mut part).await.unwrap();
            }
            let took = now().since(before);
            assert!(took < Duration::from_secs(1), "{wait} s: {took:?}");
        });
    }
}

/// What was on its way as the vif went the peer sends again at once, and not when its timer goes off, which has gone off in vain for ever
/// longer: three duplicates of an acknowledgement tell it to (RFC 5681 §3.2).
#[test]
fn what_was_on_its_way_as_the_vif_went() {
    hosted::test(async || {
        let peer = Peer::new();
        let vif = netfront::attach(netfront::Config::default(), peer.wire());
        let listener = TcpListener::bind(80).await.unwrap();
        xenlet_net::up().await.unwrap();
        let accepted = spawn(async move { listener.accept().await });
        // From an address behind the peer, which would answer for its own.
        let from = ([100, 64, 0, 1].into(), 5000);
        let mut segment = Segment::syn(from, (Peer::GUEST, 80));
        let say = |segment: &Segment| peer.inject(&segment.frame(peer.mac(), mac_of_guest()));
        let heard = || peer.heard().into_iter().filter_map(|f| Segment::parse(&f));
        peer.heard();
        say(&segment);
        sleep(Duration::from_millis(1)).await;
        let answer = heard().find(Segment::is_syn_ack).unwrap();
        segment.control = TcpControl::None;
        segment.seq += 1;
        segment.ack = Some(answer.seq.wrapping_add(1));
        say(&segment);
        let (mut stream, _) = accepted.await.unwrap();
        segment.payload = b"x".to_vec();
        say(&segment);
        stream.read_exact(&mut [0]).await.unwrap();
        segment.payload.clear();
        segment.seq += 1;
        sleep(Duration::from_millis(100)).await;
        vif.detach();
        sleep(Duration::from_secs(30)).await;
        netfront::attach(netfront::Config::default(), peer.wire());
        xenlet_net::link_is(0, true).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let asks = |said: &Segment| said.seq == answer.seq && said.ack == Some(segment.seq);
        assert!(heard().any(|said| asks(&said)));
        say(&segment);
        sleep(Duration::from_millis(1)).await;
        let says = |said: &Segment| segment.ack == Some(said.seq) && said.ack == Some(segment.seq);
        assert_eq!(heard().filter(says).count(), 4);
    });
}

/// A vif that was there for a while is connected again as soon as it comes back, however often it went before.
#[test]
fn detached_again_and_again() {
    hosted::test(async || {
        let peer = Peer::new();
        let mut vif = netfront::attach(netfront::Config::default(), peer.wire());
        serve_echo().await;
        let mut client = peer.connect(7).await.unwrap();
        for _ in 0..30 {
            sleep(Duration::from_secs(10)).await;
            vif.detach();
            sleep(Duration::from_secs(3)).await;
            vif = netfront::attach(netfront::Config::default(), peer.wire());
            let before = now();
            xenlet_net::link_is(0, true).await.unwrap();
            let took = now().since(before);
            assert!(took < Duration::from_secs(5), "{took:?}");
            client.write_all(b"still there?").await.unwrap();
            client.read_exact(&mut [0; 12]).await.unwrap();
        }
    });
}

#[test]
fn a_checkpoint_is_not_noticed() {
    hosted::test(async || {
        let peer = Peer::new();
        netfront::attach(netfront::Config::default(), peer.wire());
        serve_echo().await;
        let busy = spawn(check_echo(peer.connect(7).await.unwrap(), pattern(4 << 20)));
        for _ in 0..10 {
            hosted::checkpoint();
            let how = suspend::about_to().await.resumed().await;
            assert_eq!(how, Resumed::InPlace);
        }
        busy.await;
        assert_eq!(stats().retransmissions, 0);
        assert!(!hosted::console_text().contains("link is down"));
    });
}

/// A restored domain whose vif is missing at first, or for good.
#[test]
fn a_restored_domain_without_its_vif() {
    hosted::test(async || {
        let peer = Peer::new();
        netfront::attach(netfront::Config::default(), peer.wire());
        serve_echo().await;
        let mut client = peer.connect(7).await.unwrap();
        hosted::restore(|| ());
        let how = suspend::about_to().await.resumed().await;
        assert_eq!(how, Resumed::Restored);
        sleep(Duration::from_secs(60)).await;
        assert!(!xenlet_net::interfaces()[0].link);
        netfront::attach(netfront::Config::default(), peer.wire());
        client.write_all(b"still there?").await.unwrap();
        client.read_exact(&mut [0; 12]).await.unwrap();
    });
}

/// Large segments and blank checksums both ways, as between guests of one host.
#[test]
fn a_backend_that_can_do_much() {
    let ended = domain("", async || {
        let peer = Peer::with_offloads();
        netfront::attach(netfront::Config::default(), peer.wire());
        serve_echo().await;
        check_echo(peer.connect(7).await.unwrap(), pattern(4 << 20)).await;
        let stats = stats();
        let bytes_a_frame = (
            stats.rx_bytes / stats.rx_frames,
            stats.tx_bytes / stats.tx_frames,
        );
        assert!(
            bytes_a_frame.0 > 4000 && bytes_a_frame.1 > 4000,
            "{bytes_a_frame:?}"
        );
        assert_eq!(stats.bad_checksums, 0);
    });
    assert!(ended.value.is_some(), "{}", ended.console);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A backend that lies about everything, beside one that does not: the guest goes on, and serves by the other.
    #[test]
    fn a_backend_that_lies(script in prop::collection::vec(any::<u8>(), 0..600)) {
        let ended = domain("", async move || {
            hostile::attach(netfront::Config::default(), script);
            let (own, guest) = (Ipv4Addr::new(192, 168, 7, 1), Ipv4Addr::new(192, 168, 7, 9));
            let peer = Peer::attach_second(own, guest);
            serve_echo().await;
            check_echo(peer.connect(7).await.unwrap(), pattern(20_000)).await;
            sleep(Duration::from_secs(60)).await;
            check_echo(peer.connect(7).await.unwrap(), pattern(20_000)).await;
        });
        prop_assert!(ended.value.is_some(), "{}", ended.console);
    }
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
