//! The web server appliance, whole, on the hosted backend: real ring bytes below, HTTP on top.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use embedded_io_async::{Read, Write};
use std::path::Path;
use std::rc::Rc;
use xenlet_kernel::hosted::{self, Config};
use xenlet_kernel::run::spawn;
use xenlet_kernel::shutdown::Reason;
use xenlet_kernel::time::{Duration, now, sleep};
use xenlet_kernel::{grant, page};
use xenlet_net::hosted::{Faults, Faulty, Peer};
use xenlet_netfront::hosted as netfront;
use xenlet_tests::{OPERATOR, answer, get, run, shut_down};

/// The command line of a guest that speaks no TLS, which it is built with.
const CLEAR: &str = "tls=off";

fn clear() -> Config {
    Config {
        command_line: CLEAR.into(),
        ..Config::default()
    }
}

/// The files of the site, with the paths they are served under.
fn site() -> Vec<(String, Vec<u8>)> {
    fn walk(dir: &Path, path: &str, files: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{path}/{}", entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &path, files);
            } else {
                files.push((path, std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    let mut files = Vec::new();
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/httpd/site");
    walk(&site, "", &mut files);
    assert!(files.len() > 5, "the site has files");
    files
}

#[test]
fn every_file_byte_for_byte() {
    let (_, ended) = run(CLEAR, xenlet_httpd::run, async |peer| {
        for (path, bytes) in site() {
            let served = get(&peer, &path, "").await;
            assert_eq!((served.status, served.body == bytes), (200, true), "{path}");
            if let Some(folder) = path.strip_suffix("index.html") {
                assert!(get(&peer, folder, "").await.body == bytes, "{folder}");
            }
        }
        assert_eq!(get(&peer, "/no/such/page", "").await.status, 404);
    });
    assert_eq!(ended.reason, Reason::Poweroff);
}

#[test]
fn one_connection_many_requests_one_after_the_other_and_all_at_once() {
    run(CLEAR, xenlet_httpd::run, async |peer| {
        let mut stream = peer.connect(80).await.unwrap();
        let request = "GET / HTTP/1.1\r\nHost: guest\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let first = answer(&mut stream, true).await;
        for _ in 0..20 {
            stream.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(answer(&mut stream, true).await.body, first.body);
        }
        stream
            .write_all(request.repeat(20).as_bytes())
            .await
            .unwrap();
        for _ in 0..20 {
            assert_eq!(answer(&mut stream, true).await.body, first.body);
        }
    });
}

#[test]
fn conditions_and_ranges() {
    run(CLEAR, xenlet_httpd::run, async |peer| {
        let whole = get(&peer, "/style.css", "").await;
        let tag = whole.field("ETag").unwrap().to_owned();
        assert!(whole.field("Date").is_some());
        let same = get(&peer, "/style.css", &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!((same.status, same.field("ETag")), (304, Some(tag.as_str())));
        let part = get(&peer, "/style.css", "Range: bytes=10-19\r\n").await;
        assert_eq!(
            (part.status, part.body.as_slice()),
            (206, &whole.body[10..20])
        );
        let beyond = get(&peer, "/style.css", "Range: bytes=99999999-\r\n").await;
        assert_eq!(beyond.status, 416);
        let brotli = get(&peer, "/style.css", "Accept-Encoding: br\r\n").await;
        assert_eq!(brotli.field("Content-Encoding"), Some("br"));
        assert!(brotli.body.len() < whole.body.len());
    });
}

#[test]
fn a_request_a_byte_at_a_time() {
    run(CLEAR, xenlet_httpd::run, async |peer| {
        let mut stream = peer.connect(80).await.unwrap();
        for byte in b"GET /boot/ HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n" {
            stream.write_all(&[*byte]).await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(answer(&mut stream, true).await.status, 200);
    });
}

#[test]
fn two_hundred_connections_at_once_and_memory_comes_back() {
    run(CLEAR, xenlet_httpd::run, async |peer| {
        let peer = Rc::new(peer);
        // The first crowd makes the interface post all its receive pages; the second must leave things as they were.
        crowd(&peer).await;
        let before = (grant::usage().0, page::leaked());
        crowd(&peer).await;
        assert_eq!((grant::usage().0, page::leaked()), before);
    });
}

/// Two hundred clients at once, and then the time for everything of theirs to be forgotten.
async fn crowd(peer: &Rc<Peer>) {
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let peer = Rc::clone(peer);
            spawn(async move {
                let mut stream = peer.connect(80).await.unwrap();
                // All are open before any asks.
                sleep(Duration::from_secs(2)).await;
                let request = b"GET /boot/ HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n";
                stream.write_all(request).await.unwrap();
                answer(&mut stream, true).await.status
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.await, 200);
    }
    // Beyond TIME-WAIT.
    sleep(Duration::from_secs(120)).await;
}

#[test]
fn a_lossy_wire_costs_time_and_nothing_else() {
    for seed in 0..5 {
        let ended = hosted::run(clear(), async move || {
            let peer = Peer::new();
            let faults = Faults {
                lost: 30,
                repeated: 20,
                late: 50,
                changed: 10,
            };
            netfront::attach(
                netfront::Config::default(),
                Faulty::new(peer.wire(), faults, seed),
            );
            spawn(async move {
                for (path, bytes) in site() {
                    assert!(
                        get(&peer, &path, "").await.body == bytes,
                        "{path}, seed {seed}"
                    );
                }
                shut_down("poweroff");
            });
            xenlet_httpd::run().await.map_err(|e| e.to_string())
        });
        assert_eq!(ended.value, Some(Ok(())), "{}", ended.console);
    }
}

#[test]
fn asked_to_end_it_finishes_what_it_began_and_takes_nothing_new() {
    let (_, ended) = run(CLEAR, xenlet_httpd::run, async |peer| {
        let mut idle = peer.connect(80).await.unwrap();
        let mut busy = peer.connect(80).await.unwrap();
        busy.write_all(b"GET / HTTP/1.1\r\nHost: guest\r\n")
            .await
            .unwrap();
        sleep(Duration::from_secs(1)).await;
        let asked = now();
        shut_down("reboot");
        sleep(Duration::from_secs(1)).await;
        busy.write_all(b"\r\n").await.unwrap();
        let last = answer(&mut busy, true).await;
        assert_eq!(
            (last.status, last.field("Connection")),
            (200, Some("close"))
        );
        let mut byte = [0];
        assert_eq!(
            idle.read(&mut byte).await,
            Ok(0),
            "an idle connection is closed"
        );
        assert!(now().since(asked) < Duration::from_secs(5));
    });
    assert_eq!(ended.reason, Reason::Reboot, "the first request counts");
}

#[test]
fn without_a_network_it_idles_and_ends_when_asked() {
    let ended = hosted::run(clear(), async || {
        spawn(async {
            sleep(Duration::from_secs(3600)).await;
            shut_down("poweroff");
        });
        xenlet_httpd::run().await.map_err(|e| e.to_string())
    });
    assert_eq!(
        (ended.reason, ended.value),
        (Reason::Poweroff, Some(Ok(())))
    );
    assert!(ended.console.contains("net: no vif"), "{}", ended.console);
}

#[test]
fn the_status_page_is_of_this_very_guest() {
    run(CLEAR, xenlet_httpd::run, async |peer| {
        let status = get(&peer, "/status.json", OPERATOR).await;
        let text = String::from_utf8(status.body).unwrap();
        assert!(
            text.contains("\"target\":\"hosted\"") && text.contains("\"listening\""),
            "{text}"
        );
        assert_eq!(get(&peer, "/status", OPERATOR).await.status, 200);
    });
}

mod anything {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever bytes a client sends, in whatever pieces, the next client is served.
        #[test]
        fn a_client_may_send(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..400), 1..6)) {
            run(CLEAR, xenlet_httpd::run, async move |peer| {
                let mut stream = peer.connect(80).await.unwrap();
                for piece in pieces {
                    // The guest may have had enough already.
                    if stream.write_all(&piece).await.is_err() {
                        break;
                    }
                    sleep(Duration::from_millis(1)).await;
                }
                drop(stream);
                assert_eq!(get(&peer, "/", "").await.status, 200);
            });
        }

        /// Whatever frames are on the wire, the next client is served.
        #[test]
        fn a_wire_may_carry(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 14..200), 1..20)) {
            run(CLEAR, xenlet_httpd::run, async move |peer| {
                assert_eq!(get(&peer, "/", "").await.status, 200);
                for frame in frames {
                    peer.inject(&frame);
                }
                assert_eq!(get(&peer, "/", "").await.status, 200);
            });
        }
    }
}

/// A head that grows while memory is short ends its connection, and one that was accepted then waits for memory.
#[test]
fn nothing_is_taken_of_the_last_memory() {
    run(CLEAR, xenlet_httpd::run, async |peer| {
        hosted::set_free_memory(Some(64 << 20));
        let mut slow = peer.connect(80).await.unwrap();
        slow.write_all(&[b"GET /", &[b'a'; 500][..]].concat())
            .await
            .unwrap();
        sleep(Duration::from_secs(1)).await;
        let mut other = peer.connect(80).await.unwrap();
        hosted::set_free_memory(Some(8 << 10));
        slow.write_all(&[b'a'; 100]).await.unwrap();
        let begun = now();
        let ended = slow.read(&mut [0; 16]).await;
        assert!(!matches!(ended, Ok(1..)), "{ended:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "at once");
        other
            .write_all(b"GET / HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        sleep(Duration::from_secs(1)).await;
        hosted::set_free_memory(Some(64 << 20));
        assert_eq!(answer(&mut other, true).await.status, 200);
    });
}
