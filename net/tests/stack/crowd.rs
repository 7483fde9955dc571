//! Many connections: at once, idle, half open; and what they leave behind.

use crate::frames::{Segment, mac_of_guest};
use crate::support::{check_echo, domain, echo, pattern, stats};
use embedded_io_async::{Read, Write};
use smoltcp::wire::TcpControl;
use xenlet_kernel::hosted;
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, now, sleep};
use xenlet_net::TcpListener;
use xenlet_net::hosted::Peer;

#[test]
fn five_hundred_at_once() {
    hosted::test(async || {
        let peer = echo().await;
        let clients: Vec<_> = (0..500)
            .map(|n| {
                let peer = peer.clone();
                spawn(async move {
                    let client = peer.connect(7).await.unwrap();
                    check_echo(client, pattern(1000 + n * 20)).await;
                })
            })
            .collect();
        for client in clients {
            client.await;
        }
        let stats = stats();
        assert_eq!((stats.deferred_syns, stats.retransmissions), (0, 0));
        sleep(Duration::from_secs(30)).await;
        assert_eq!(crate::support::stats().connections, 0);
    });
}

/// One connection's work does not depend on how many others there are.
#[test]
fn idle_connections_cost_nothing() {
    async fn polls_of_ten_exchanges(peer: &Peer) -> u64 {
        let mut client = peer.connect(7).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        let before = stats().polls;
        for _ in 0..10 {
            client.write_all(b"question").await.unwrap();
            client.read_exact(&mut [0; 8]).await.unwrap();
            sleep(Duration::from_secs(10)).await;
        }
        stats().polls - before
    }
    hosted::test(async || {
        let peer = echo().await;
        let alone = polls_of_ten_exchanges(&peer).await;
        let mut idle = Vec::new();
        for _ in 0..300 {
            idle.push(peer.connect(7).await.unwrap());
        }
        assert_eq!(polls_of_ten_exchanges(&peer).await, alone);
        assert!(
            alone <= 60,
            "{alone} looks at a connection for 10 exchanges"
        );
        assert!(stats().connections >= 301);
    });
}

/// Connections that have not been accepted yet are all answered, and wait with what their clients send.
#[test]
fn a_burst_before_anybody_accepts() {
    hosted::test(async || {
        let peer = Peer::attach_default();
        let listener = TcpListener::bind(80).await.unwrap();
        xenlet_net::up().await.unwrap();
        let mut clients = Vec::new();
        for n in 0..200_u8 {
            let mut client = peer.connect(80).await.unwrap();
            client.write_all(&[n]).await.unwrap();
            clients.push(client);
        }
        for n in 0..200_u8 {
            let (mut server, _) = listener.accept().await.unwrap();
            let mut buf = [0; 4];
            assert_eq!(server.read(&mut buf).await, Ok(1));
            assert_eq!(buf[0], n, "in the order in which they came");
        }
    });
}

/// SYNs from so many, behind the peer, which is the gateway.
fn flood(peer: &Peer, mac: [u8; 6], from: core::ops::Range<u16>) {
    for n in from {
        let from = ([100, 64, (n >> 8) as u8, n as u8].into(), 1000 + n % 50_000);
        peer.inject(&Segment::syn(from, (Peer::GUEST, 7)).frame(peer.mac(), mac));
    }
}

/// A flood of SYNs takes little, is not answered with resets, and leaves nothing behind.
#[test]
fn a_flood_of_syns() {
    let ended = domain("tcp_rx=2048 tcp_tx=2048", async || {
        let peer = echo().await;
        let mac = mac_of_guest();
        peer.heard();
        for part in 0..12 {
            flood(&peer, mac, part * 500..part * 500 + 500);
            sleep(Duration::from_micros(10)).await;
        }
        sleep(Duration::from_millis(100)).await;
        let flooded = stats();
        assert_eq!(flooded.connections, 256, "the limit of half-open ones");
        assert_eq!((flooded.cookies, flooded.deferred_syns), (6000 - 256, 0));
        let answers = peer.heard();
        assert!(
            answers
                .iter()
                .filter_map(|frame| Segment::parse(frame))
                .all(|segment| segment.is_syn_ack())
        );
        // Half-open connections are given up, and their place is free again.
        sleep(Duration::from_secs(40)).await;
        assert_eq!(stats().connections, 0);
        let client = peer.connect(7).await.unwrap();
        check_echo(client, pattern(1000)).await;
    });
    assert!(ended.value.is_some(), "{}", ended.console);
    let line = " WARN net: vif0: many connections to port 7 are half open, as in a flood of SYNs; more are made by cookies";
    assert_eq!(ended.console.matches(line).count(), 1, "{}", ended.console);
}

/// While a flood goes on, everybody who means it is served at once.
#[test]
fn clients_in_a_flood() {
    hosted::test(async || {
        let peer = echo().await;
        let mac = mac_of_guest();
        for n in 0..100 {
            flood(&peer, mac, n * 600..n * 600 + 600);
            let begun = now();
            let mut client = peer.connect(7).await.unwrap();
            client.write_all(&pattern(5000)).await.unwrap();
            let mut back = vec![0; 5000];
            client.read_exact(&mut back).await.unwrap();
            assert_eq!(back, pattern(5000));
            assert!(begun.elapsed() < Duration::from_secs(1), "{n}");
            check_echo(client, pattern(50_000)).await;
        }
        assert!(stats().cookies > 50_000);
        assert_eq!(stats().deferred_syns, 0);
    });
}

/// A segment with a cookie that is none is answered with a reset; one that comes again is the connection's.
#[test]
fn cookies_that_come_back() {
    hosted::test(async || {
        let peer = echo().await;
        let mac = mac_of_guest();
        flood(&peer, mac, 0..300);
        sleep(Duration::from_millis(1)).await;
        peer.heard();
        let us = ([100, 65, 0, 1].into(), 4000);
        let answers = async |segment: &Segment| {
            peer.inject(&segment.frame(peer.mac(), mac));
            sleep(Duration::from_millis(30)).await;
            let heard = peer.heard();
            let segments = heard.iter().filter_map(|frame| Segment::parse(frame));
            segments.filter(|s| s.to == us).collect::<Vec<_>>()
        };
        let syn = Segment::syn(us, (Peer::GUEST, 7));
        let given = answers(&syn).await;
        assert!(given[0].is_syn_ack() && given[0].scale.is_none());
        assert_eq!(answers(&syn).await[0].seq, given[0].seq, "the same again");
        let mut request = Segment {
            control: TcpControl::Psh,
            seq: syn.seq.wrapping_add(1),
            ack: Some(given[0].seq.wrapping_add(2)),
            payload: b"hello".to_vec(),
            ..syn
        };
        let before = stats().connections;
        let refused = answers(&request).await;
        assert_eq!(refused[0].control, TcpControl::Rst);
        assert_eq!(stats().connections, before);
        request.ack = Some(given[0].seq.wrapping_add(1));
        let echoed = answers(&request).await;
        assert_eq!(echoed[0].payload, b"hello");
        assert_eq!(Some(echoed[0].seq), request.ack);
        assert_eq!(echoed[0].ack, Some(request.seq.wrapping_add(5)));
        assert_eq!(stats().connections, before + 1);
        // Sent again, as its acknowledgement might have been lost.
        assert_eq!(answers(&request).await[0].payload, b"");
        assert_eq!(stats().connections, before + 1);
    });
}

/// Somebody who sends much does not keep others from being served.
#[test]
fn the_busy_and_the_quick() {
    hosted::test(async || {
        let peer = echo().await;
        let mut flows = Vec::new();
        for _ in 0..20 {
            let client = peer.connect(7).await.unwrap();
            flows.push(spawn(check_echo(client, pattern(500_000))));
        }
        let quick = peer.connect(7).await.unwrap();
        check_echo(quick, pattern(100)).await;
        for flow in flows {
            flow.await;
        }
    });
}
