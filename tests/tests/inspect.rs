//! Looking into a guest that serves: its metrics, by HTTP and on the console, and its frames.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use embedded_io_async::{Read, Write};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use xenlet_blkfront::hosted::{self as blkfront, Medium};
use xenlet_blkfront::{BlockDevice, Disk, Link};
use xenlet_kernel::hosted::{self, console_text, type_keys};
use xenlet_kernel::metrics::{Form, write};
use xenlet_kernel::page::Pages;
use xenlet_kernel::run::{JoinHandle, spawn};
use xenlet_kernel::shutdown::Reason;
use xenlet_kernel::time::{Duration, sleep};
use xenlet_net::UdpSocket;
use xenlet_net::hosted::{Peer, PeerStream};
use xenlet_tests::exposition::Exposition;
use xenlet_tests::pcapng::Capture;
use xenlet_tests::{get, get_at, run};

const LINE: &str = "tls=off inspect=9100";
const PORT: u16 = 9100;

async fn metrics(peer: &Peer) -> Exposition {
    let answer = get_at(peer, PORT, "/metrics", "").await;
    assert_eq!(answer.status, 200);
    let kind = answer.field("Content-Type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    Exposition::parse(&String::from_utf8(answer.body).unwrap()).unwrap()
}

#[test]
fn metrics_count_what_was_done() {
    run(LINE, xenlet_httpd::run, async |peer| {
        let before = metrics(&peer).await;
        for _ in 0..10 {
            assert_eq!(get(&peer, "/", "").await.status, 200);
        }
        let waiting = peer.connect(80).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let after = metrics(&peer).await;
        before.grows_to(&after).unwrap();
        let more = |name: &str| after.value(name) - before.value(name);
        assert_eq!(more("xenlet_http_requests_total{port=\"80\"}"), 10.0);
        assert_eq!(more("xenlet_http_requests_total{port=\"9100\"}"), 1.0);
        assert!(more("xenlet_vif_rx_frames_total{vif=\"0\"}") >= 30.0);
        assert!(more("xenlet_vif_tx_bytes_total{vif=\"0\"}") > 10_000.0);
        assert!(more("xenlet_loop_turn_seconds_count") > 10.0);
        assert!(more("xenlet_task_polls_total") > 20.0);
        assert!((1.0..2.0).contains(&more("xenlet_uptime_seconds")));
        assert_eq!(after.value("xenlet_http_connections{port=\"80\"}"), 1.0);
        let established = "xenlet_tcp_connections{vif=\"0\",state=\"established\"}";
        assert!(after.value(established) >= 2.0, "that one, and this one's");
        assert!(after.value("xenlet_tcp_buffer_bytes{vif=\"0\"}") >= 4096.0);
        assert_eq!(after.value("xenlet_vif_up{vif=\"0\"}"), 1.0);
        assert!(after.value("xenlet_vif_rx_ring_used{vif=\"0\"}") > 0.0);
        assert_eq!(after.value("xenlet_vif_rx_ring_slots{vif=\"0\"}"), 256.0);
        assert!(after.value("xenlet_grants") > 64.0);
        assert!(after.value("xenlet_boot_seconds{mark=\"listening\"}") >= 0.0);
        assert_eq!(after.value("xenlet_listen_waiting{port=\"80\"}"), 0.0);
        drop(waiting);
    });
}

#[test]
fn a_frame_that_is_dropped_is_counted_by_its_reason() {
    run(LINE, xenlet_httpd::run, async |peer| {
        let before = metrics(&peer).await;
        peer.inject(&[0xff; 60]);
        assert!(peer.connect(81).await.is_err(), "nobody listens there");
        sleep(Duration::from_millis(10)).await;
        let after = metrics(&peer).await;
        let more = |name: &str| after.value(name) - before.value(name);
        assert_eq!(
            more("xenlet_vif_drops_total{vif=\"0\",reason=\"not_for_us\"}"),
            1.0
        );
        assert_eq!(more("xenlet_tcp_refused_total{vif=\"0\"}"), 1.0);
    });
}

/// The numbers as the domain itself has them.
fn look() -> Exposition {
    let mut text = String::new();
    write(&mut text, Form::Prometheus).unwrap();
    Exposition::parse(&text).unwrap()
}

#[test]
fn each_of_two_interfaces_and_their_datagrams() {
    hosted::test(async || {
        let peer = Peer::attach_default();
        let (own, guest) = (Ipv4Addr::new(10, 0, 3, 2), Ipv4Addr::new(10, 0, 3, 15));
        let second = Peer::attach_second(own, guest);
        let _sockets = [
            UdpSocket::bind(53).await.unwrap(),
            UdpSocket::bind(54).await.unwrap(),
        ];
        sleep(Duration::from_secs(5)).await;
        let to = SocketAddrV4::new(guest, 53);
        let theirs = second.udp(999);
        theirs.send_to(&[7; 100], to).unwrap();
        sleep(Duration::from_secs(1)).await;
        let metrics = look();
        for (vif, port, bytes) in [(0, 53, 0.0), (0, 54, 0.0), (1, 53, 100.0), (1, 54, 0.0)] {
            let labels = format!("{{vif=\"{vif}\",port=\"{port}\"");
            let queue = format!("xenlet_udp_queue_bytes{labels},direction=\"rx\"}}");
            assert_eq!(metrics.value(&queue), bytes, "{queue}");
            let limit = format!("xenlet_udp_queue_limit_bytes{labels}}}");
            assert_eq!(metrics.value(&limit), 16_384.0);
        }
        assert_eq!(metrics.value("xenlet_vif_up{vif=\"1\"}"), 1.0);
        drop(peer);
    });
}

#[test]
fn a_disk_is_counted_while_it_is_there_and_while_it_is_away() {
    hosted::test(async || {
        let medium = Medium::new(1 << 20);
        let vbd = blkfront::attach(blkfront::Config::default(), &medium);
        let disk = Disk::open("xvda").await.unwrap();
        for sector in [0, 8, 16] {
            let (_, result) = disk.write(sector, Pages::new(4096).unwrap()).await;
            assert_eq!(result, Ok(()));
        }
        let metrics = look();
        let value = |name: &str| metrics.value(&format!("xenlet_disk_{name}{{disk=\"xvda\"}}"));
        assert_eq!(value("writes_total"), 3.0);
        assert_eq!(value("written_bytes_total"), 12_288.0);
        assert_eq!((value("up"), value("ring_slots") > 0.0), (1.0, true));
        vbd.detach();
        while disk.link() == Link::Up {
            sleep(Duration::from_millis(100)).await;
        }
        let asked = disk.write(0, Pages::new(512).unwrap());
        let metrics = look();
        let value = |name: &str| metrics.value(&format!("xenlet_disk_{name}{{disk=\"xvda\"}}"));
        assert_eq!((value("up"), value("ring_slots")), (0.0, 0.0));
        assert_eq!((value("requests"), value("queue")), (1.0, 1.0));
        let _vbd = blkfront::attach(blkfront::Config::default(), &medium);
        assert_eq!(asked.await.1, Ok(()));
        disk.close().await;
        // Another one of the same name: its numbers alone.
        let _disk = Disk::open("xvda").await.unwrap();
        assert_eq!(look().value("xenlet_disk_writes_total{disk=\"xvda\"}"), 0.0);
    });
}

#[test]
fn what_there_is_to_ask_for() {
    run(LINE, xenlet_httpd::run, async |peer| {
        let index = get_at(&peer, PORT, "/", "").await;
        assert_eq!(index.status, 200);
        assert!(String::from_utf8(index.body).unwrap().contains("/metrics"));
        assert_eq!(get_at(&peer, PORT, "/other", "").await.status, 404);
    });
}

#[test]
fn without_the_word_there_is_no_such_port() {
    run("tls=off", xenlet_httpd::run, async |peer| {
        assert_eq!(get(&peer, "/", "").await.status, 200);
        assert!(peer.connect(PORT).await.is_err());
    });
    for word in ["inspect=0", "inspect=http", "inspect=65536", "inspect="] {
        let line = format!("tls=off {word}");
        let (_, ended) = run(&line, xenlet_httpd::run, async |peer| {
            assert_eq!(get(&peer, "/", "").await.status, 200, "the site is served");
        });
        let line = ended.console.lines().find(|line| line.contains("ERROR"));
        assert!(
            line.is_some_and(|line| line.contains(word)),
            "{word}: {line:?}"
        );
    }
}

#[test]
fn keys_on_the_console() {
    run("tls=off", xenlet_httpd::run, async |peer| {
        assert_eq!(get(&peer, "/", "").await.status, 200);
        for (key, expected) in [
            (b'?', "keys: m metrics"),
            (b'\r', "keys: m metrics"),
            (b'm', "http_requests_total{port=\"80\"} 1"),
        ] {
            let before = console_text().len();
            type_keys(b"x");
            sleep(Duration::from_secs(2)).await;
            assert_eq!(console_text().len(), before, "other keys are nothing");
            type_keys(&[key]);
            sleep(Duration::from_secs(2)).await;
            let text = console_text().split_off(before);
            assert!(text.contains(expected), "{text}");
        }
    });
}

#[test]
fn a_console_that_types_without_end_gets_an_answer_a_second() {
    let (_, ended) = run("tls=off", xenlet_httpd::run, async |_| {
        for _ in 0..1000 {
            type_keys(&[b'm'; 1024]);
            sleep(Duration::from_millis(10)).await;
        }
    });
    let answers = ended.console.matches("what is zero is left out").count();
    assert!(
        (8..=11).contains(&answers),
        "{answers} answers in ten seconds"
    );
}

/// A capture that was asked for, and has begun. By HTTP/1.0, so that it ends with the connection.
async fn capture(peer: &Peer, query: &str) -> PeerStream {
    let mut stream = peer.connect(PORT).await.unwrap();
    let request = format!("GET /capture{query} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        head.extend(byte);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 200 "),
        "{}",
        String::from_utf8_lossy(&head)
    );
    stream
}

/// Its file, when it has ended.
fn read(mut stream: PeerStream) -> JoinHandle<Capture> {
    spawn(async move { Capture::parse(&stream.read_to_end().await.unwrap()).unwrap() })
}

const HEADERS: usize = 14 + 20 + 20;

#[test]
fn a_capture_has_the_frames_of_both_directions_and_no_content() {
    run(LINE, xenlet_httpd::run, async |peer| {
        let capture = read(capture(&peer, "?seconds=2").await);
        let page = get(&peer, "/?token=secret", "").await;
        let capture = capture.await;
        assert_eq!(capture.name, "vif0");
        assert_eq!(capture.mac.len(), 6);
        assert_eq!(capture.statistics, Some((capture.packets.len() as u64, 0)));
        let (mut sent, mut received, mut ports) = (0, 0, BTreeSet::new());
        for packet in &capture.packets {
            let Some((from, to)) = packet.tcp_ports() else {
                continue;
            };
            ports.extend([from, to]);
            let content = packet.len - packet.bytes.len();
            *(if packet.is_sent {
                &mut sent
            } else {
                &mut received
            }) += content;
            assert!(
                (HEADERS..=HEADERS + 40).contains(&packet.bytes.len()),
                "headers and no more"
            );
            assert_eq!(packet.is_sent, from == 80);
        }
        assert!(sent > page.body.len(), "{sent} bytes of answer");
        assert!((60..200).contains(&received), "{received} bytes of request");
        assert!(
            ports.contains(&80) && !ports.contains(&PORT),
            "not what the capture is told by"
        );
        assert!(capture.packets.is_sorted_by_key(|packet| packet.at));
        let began = Duration::from_secs(1_792_000_000);
        assert!(
            capture
                .packets
                .iter()
                .all(|packet| (began..began + Duration::from_secs(60)).contains(&packet.at))
        );
    });
}

#[test]
fn a_capture_of_the_payload_has_every_byte() {
    run(LINE, xenlet_httpd::run, async |peer| {
        let capture = read(capture(&peer, "?seconds=2&payload=yes").await);
        let page = get(&peer, "/?token=secret", "").await;
        let capture = capture.await;
        assert!(
            capture
                .packets
                .iter()
                .all(|packet| packet.bytes.len() == packet.len)
        );
        let told: Vec<u8> = capture
            .packets
            .iter()
            .filter(|packet| packet.is_sent && packet.tcp_ports().is_some())
            .flat_map(|packet| packet.bytes[HEADERS..].to_vec())
            .collect();
        assert!(
            told.windows(page.body.len()).any(|part| part == page.body),
            "the page is in it"
        );
        let asked = capture
            .packets
            .iter()
            .flat_map(|packet| packet.bytes.clone());
        assert!(String::from_utf8_lossy(&asked.collect::<Vec<u8>>()).contains("token=secret"));
    });
}

#[test]
fn as_many_frames_as_were_asked_for() {
    run(LINE, xenlet_httpd::run, async |peer| {
        let none = read(capture(&peer, "?packets=0").await);
        let capture = read(capture(&peer, "?packets=7").await);
        while get(&peer, "/", "").await.status != 200 {}
        let capture = capture.await;
        assert_eq!(capture.packets.len(), 7);
        assert_eq!(capture.statistics, Some((7, 0)));
        assert_eq!(none.await.statistics, Some((0, 0)));
    });
}

#[test]
fn a_reader_that_is_slow_is_told_how_much_it_missed() {
    run(LINE, xenlet_httpd::run, async |peer| {
        // Its window fills, and then both buffers.
        let stream = capture(&peer, "?seconds=10&payload=yes").await;
        for _ in 0..200 {
            assert_eq!(get(&peer, "/", "").await.status, 200);
        }
        let capture = read(stream).await;
        let (seen, lost) = capture.statistics.unwrap();
        assert!(lost > 0, "{seen} frames");
        assert_eq!(seen, lost + capture.packets.len() as u64);
        let said: u64 = capture.packets.iter().map(|packet| packet.lost).sum();
        assert!(0 < said && said <= lost, "{said} of {lost} before others");
    });
}

#[test]
fn a_reader_that_is_gone_ends_its_capture() {
    let (_, ended) = run(LINE, xenlet_httpd::run, async |peer| {
        for _ in 0..10 {
            capture(&peer, "").await.abort();
            sleep(Duration::from_secs(10)).await;
        }
        // One that leaves without a word.
        let _stream = capture(&peer, "").await;
        peer.set_cut(true);
        sleep(Duration::from_secs(150)).await;
        peer.set_cut(false);
        assert_eq!(get(&peer, "/", "").await.status, 200);
    });
    assert_eq!(ended.console.matches("a capture ends").count(), 11);
}

#[test]
fn four_captures_at_once_and_no_more() {
    run(LINE, xenlet_httpd::run, async |peer| {
        let mut captures = Vec::new();
        for _ in 0..4 {
            captures.push(read(capture(&peer, "?seconds=5").await));
        }
        assert_eq!(get_at(&peer, PORT, "/capture", "").await.status, 503);
        assert_eq!(get(&peer, "/", "").await.status, 200);
        for capture in captures {
            assert!(capture.await.packets.len() > 5);
        }
        drop(read(capture(&peer, "?seconds=1").await));
    });
}

#[test]
fn captures_do_not_flood_the_log() {
    let (_, ended) = run(LINE, xenlet_httpd::run, async |peer| {
        for _ in 0..100 {
            read(capture(&peer, "?seconds=0").await).await;
        }
    });
    let lines = ended.console.matches("a capture").count();
    assert!((2..=20).contains(&lines), "{lines} lines");
}

#[test]
fn the_end_of_the_guest_ends_a_capture() {
    let (_, ended) = run(LINE, xenlet_httpd::run, async |peer| {
        drop(read(capture(&peer, "").await));
    });
    assert_eq!(ended.reason, Reason::Poweroff);
    assert_eq!(ended.console.matches("a capture ends").count(), 1);
}

#[test]
fn a_capture_of_what_is_not_there() {
    run(LINE, xenlet_httpd::run, async |peer| {
        for (query, status) in [
            ("vif=1", 404),
            ("vif=x", 400),
            ("vif=", 400),
            ("seconds=-1", 400),
            ("packets=99999999999999999999", 400),
            ("payload=maybe", 400),
            ("snaplen=64", 400),
        ] {
            let answer = get_at(&peer, PORT, &format!("/capture?{query}"), "").await;
            assert_eq!(answer.status, status, "{query}");
            let why = String::from_utf8(answer.body).unwrap();
            assert!(
                why.contains(query.split('=').next().unwrap()),
                "{query}: {why}"
            );
        }
    });
}
