//! Looking into a guest that serves: its metrics, by HTTP and on the console.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

#[path = "inspect/exposition.rs"]
mod exposition;

use exposition::Exposition;
use xenlet_kernel::hosted::{console_text, type_keys};
use xenlet_kernel::time::{Duration, sleep};
use xenlet_net::hosted::Peer;
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
        sleep(Duration::from_millis(10)).await;
        let after = metrics(&peer).await;
        let name = "xenlet_vif_drops_total{vif=\"0\",reason=\"not_for_us\"}";
        assert_eq!(after.value(name) - before.value(name), 1.0);
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
