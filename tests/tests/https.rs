//! The web server appliance by HTTPS, whole, on the hosted backend: real ring bytes below, TLS in the middle, HTTP on top.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use embedded_io_async::{Read, Write};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::rc::Rc;
use xenlet_blkfront::hosted::{Config as Vbd, Medium, attach};
use xenlet_httpd::SITE;
use xenlet_kernel::boot_module;
use xenlet_kernel::hosted::{self, Config, Ended, store};
use xenlet_kernel::run::spawn;
use xenlet_kernel::shutdown::Reason;
use xenlet_kernel::time::{Duration, now, sleep};
use xenlet_net::hosted::{Peer, PeerStream};
use xenlet_tests::{Answer, OPERATOR, answer, config, get, shut_down};
use xenlet_tls::{Client, Roots, TlsConnector, TlsStream, Versions};

/// The line of the boot module for [`OPERATOR`].
const TOKENS: &str = "token operator: 0123456789abcdef0123456789abcdef\n";

/// A key and a certificate by it for `guest.test`, which is its own issuer, in PEM; valid in these years.
fn key(years: (i32, i32)) -> (String, String) {
    let mut params = CertificateParams::new(vec!["guest.test".into()]).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    (key.serialize_pem(), certificate)
}

/// Runs httpd with this command line and a key, and `client` beside it.
fn run(line: &str, client: impl AsyncFnOnce(Browser) + Send + 'static) -> Ended<()> {
    run_with(line, "", client)
}

/// The same, with more in the boot module.
fn run_with(
    line: &str,
    more: &str,
    client: impl AsyncFnOnce(Browser) + Send + 'static,
) -> Ended<()> {
    let (key, certificate) = key((2026, 2027));
    let config = config(line, Some(key.clone() + &certificate + more));
    let ended = hosted::run(config, async move || {
        let peer = Peer::attach_default();
        let roots = Roots::from_pem(certificate.as_bytes()).unwrap();
        let connector = TlsConnector::new(&roots, &["http/1.1"], Versions::Tls13).unwrap();
        spawn(async move {
            client(Browser { peer, connector }).await;
            shut_down("poweroff");
        });
        xenlet_httpd::run().await.map_err(|e| e.to_string())
    });
    assert_eq!(ended.value, Some(Ok(())), "{}", ended.console);
    for line in key.lines() {
        assert!(!ended.console.contains(line), "the key is on the console");
    }
    Ended {
        reason: ended.reason,
        value: Some(()),
        console: ended.console,
    }
}

/// The client on the other machine.
struct Browser {
    peer: Peer,
    connector: TlsConnector,
}

impl Browser {
    async fn connect(&self) -> TlsStream<PeerStream, Client> {
        let stream = self.peer.connect(443).await.unwrap();
        self.connector.connect("guest.test", stream).await.unwrap()
    }

    /// Asks on a connection of its own.
    async fn get(&self, path: &str) -> Answer {
        self.ask(path, "").await
    }

    /// The same, with these lines in the head.
    async fn ask(&self, path: &str, lines: &str) -> Answer {
        let mut stream = self.connect().await;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: guest.test\r\nConnection: close\r\n{lines}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = answer(&mut stream, true).await;
        assert_eq!(
            stream.read(&mut [0]).await,
            Ok(0),
            "the guest says that it closes"
        );
        answer
    }
}

#[test]
fn every_file_byte_for_byte_and_port_80_leads_there() {
    let ended = run("hsts=1000", async |browser| {
        for file in SITE.files() {
            let served = browser.get(file.path()).await;
            assert!(served.body == file.identity().body(), "{}", file.path());
            let hsts = served.field("Strict-Transport-Security");
            assert_eq!(hsts, Some("max-age=1000"));
            for (name, value) in [
                ("X-Content-Type-Options", "nosniff"),
                ("X-Frame-Options", "DENY"),
                ("Referrer-Policy", "strict-origin-when-cross-origin"),
            ] {
                assert_eq!(served.field(name), Some(value));
            }
            let policy = served.field("Content-Security-Policy").unwrap();
            assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
            assert_eq!(served.field("Server"), None);
        }
        let there = get(&browser.peer, "/a%20%3f/?x=%41", "").await;
        assert_eq!(there.status, 308);
        assert_eq!(
            there.field("Location"),
            Some("https://guest/a%20%3F/?x=%41")
        );
        assert_eq!(there.field("Strict-Transport-Security"), None);
    });
    assert_eq!(ended.reason, Reason::Poweroff);
    assert!(
        ended
            .console
            .contains("the certificate is for guest.test until 2027-01-01"),
        "{}",
        ended.console
    );
}

#[test]
fn one_connection_many_requests_and_sessions_that_are_resumed() {
    run("", async |browser| {
        let request = "GET /style.css HTTP/1.1\r\nHost: guest.test\r\n\r\n";
        for round in 0..3 {
            let mut stream = browser.connect().await;
            assert_eq!(stream.is_resumed(), round > 0);
            assert_eq!(stream.alpn(), Some(&b"http/1.1"[..]));
            for _ in 0..10 {
                stream.write_all(request.as_bytes()).await.unwrap();
                assert_eq!(answer(&mut stream, true).await.status, 200);
            }
            stream
                .write_all(request.repeat(10).as_bytes())
                .await
                .unwrap();
            for _ in 0..10 {
                assert_eq!(answer(&mut stream, true).await.status, 200);
            }
            stream.close().await.unwrap();
        }
    });
}

#[test]
fn compressed_only_where_that_is_wanted() {
    for (line, coding) in [("", None), ("compress", Some("br"))] {
        run(line, async move |browser| {
            let style = browser
                .ask("/style.css", "Accept-Encoding: br, gzip\r\n")
                .await;
            assert_eq!(
                (style.status, style.field("Content-Encoding")),
                (200, coding)
            );
        });
    }
}

#[test]
fn the_guests_own_pages_are_for_its_operator() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let ended = run_with("", &format!("token operator: {TOKEN}\n"), async |browser| {
        let refused = browser.get("/status").await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.field("WWW-Authenticate"), Some("Bearer"));
        let with = |token: &str| format!("Authorization: Bearer {token}\r\n");
        for path in ["/status", "/status.json"] {
            assert_eq!(browser.ask(path, &with(TOKEN)).await.status, 200);
            let before = now();
            let refused = browser.ask(path, &with(&TOKEN.replace('f', "e"))).await;
            assert_eq!(refused.status, 401);
            assert!(
                now().since(before) >= Duration::from_secs(1),
                "guessing is slow"
            );
        }
        assert_eq!(browser.ask("/", &with("wrong")).await.status, 200);
        // Many guess at once: few wait, nobody is admitted, and the operator is not kept out.
        let browser = Rc::new(browser);
        let guessing: Vec<_> = (0..100)
            .map(|n| {
                let browser = Rc::clone(&browser);
                let lines = with(&format!("{n:032}"));
                spawn(async move { browser.ask("/status", &lines).await.status })
            })
            .collect();
        sleep(Duration::from_millis(500)).await;
        assert_eq!(browser.ask("/status", &with(TOKEN)).await.status, 200);
        let mut answers = Vec::new();
        for guess in guessing {
            answers.push(guess.await);
        }
        let count = |status| answers.iter().filter(|answer| **answer == status).count();
        assert_eq!((count(401), count(429)), (64, 36));
    });
    for line in [
        "access: GET, HEAD /status: token operator",
        "access: any method /: anyone",
        "a wrong token was sent for \"/status\"",
    ] {
        assert!(ended.console.contains(line), "{}", ended.console);
    }
    assert!(
        !ended.console.contains(TOKEN),
        "the token is on the console"
    );
}

#[test]
fn without_a_token_the_guests_own_pages_are_for_nobody() {
    let ended = run("", async |browser| {
        for lines in [
            "",
            "Authorization: Basic eDp5\r\n",
            "Authorization: Bearer 0\r\n",
        ] {
            assert_eq!(browser.ask("/status", lines).await.status, 401);
        }
    });
    let console = ended.console;
    assert!(
        console.contains("access: there is no token operator"),
        "{console}"
    );
}

#[test]
fn without_a_good_key_nothing_is_served() {
    let (good, certificate) = key((2026, 2027));
    let (other, _) = key((2026, 2027));
    let (old, old_certificate) = key((2020, 2021));
    for (line, module, why) in [
        ("", None, "there is no key: name a file"),
        (
            "",
            Some(String::new()),
            "the boot module (ramdisk = \"…\" in the guest's configuration): it is empty",
        ),
        ("", Some(good.clone()), "there is no certificate in it"),
        ("", Some(certificate.clone()), "there is no key in it"),
        (
            "",
            Some(other + &certificate),
            "belongs to none of the keys",
        ),
        (
            "",
            Some(old + &old_certificate),
            "the certificate expired on 2021-01-01",
        ),
        ("tls=on", Some(good.clone() + &certificate), "the disk on: "),
        ("hsts=ever", Some(good.clone() + &certificate), "hsts=ever"),
        (
            "",
            Some(good.clone() + &certificate + "token operator: short"),
            "the token: it is shorter than 16 characters",
        ),
        (
            "",
            Some(good.clone() + &certificate + "token operat: 0123456789abcdef"),
            "the token: no access rule of this image names it",
        ),
        (
            "",
            Some(good + &certificate + "clients:\n" + &certificate),
            "this image has no use for their certificates",
        ),
    ] {
        let ended = hosted::run(config(line, module), async || {
            let _peer = Peer::attach_default();
            xenlet_httpd::run().await.map_err(|e| e.to_string())
        });
        let error = ended.value.unwrap().unwrap_err();
        assert!(error.contains(why), "{error}");
        assert!(!ended.console.contains("serving"), "{}", ended.console);
    }
    let config = Config {
        no_entropy: true,
        ..config("tls=selfsigned", None)
    };
    let ended = hosted::run(config, async || {
        xenlet_httpd::run().await.map_err(|e| e.to_string())
    });
    let error = ended.value.unwrap().unwrap_err();
    assert!(error.contains("TLS does not start: no entropy"), "{error}");
}

#[test]
fn what_is_no_tls_concerns_nobody_else() {
    let ended = run("", async |browser| {
        let mut plain = browser.peer.connect(443).await.unwrap();
        plain
            .write_all(b"GET / HTTP/1.1\r\nHost: guest\r\n\r\n")
            .await
            .unwrap();
        let mut alert = [0; 7];
        plain.read_exact(&mut alert).await.unwrap();
        assert_eq!(alert[0], 21);
        assert_eq!(plain.read(&mut [0]).await, Ok(0));
        // Nothing at all, for longer than a handshake may take.
        let mut silent = browser.peer.connect(443).await.unwrap();
        sleep(Duration::from_secs(11)).await;
        assert_eq!(silent.read(&mut [0]).await, Ok(0));
        assert_eq!(browser.get("/").await.status, 200);
    });
    assert!(
        ended.console.contains("may not be TLS"),
        "{}",
        ended.console
    );
    assert!(ended.console.contains("took too long"), "{}", ended.console);
}

/// A reply that is encrypted is written, and yet somebody has to give up when it is not taken.
#[test]
fn who_takes_nothing_is_broken_off() {
    run_with("", TOKENS, async |browser| {
        let request = "GET /style.css HTTP/1.1\r\nHost: guest.test\r\n\r\n";
        let mut greedy = Vec::new();
        for requests in 1..=24 {
            let mut stream = browser.connect().await;
            let requests = request.repeat(requests);
            stream.write_all(requests.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            greedy.push(stream);
        }
        sleep(Duration::from_secs(90)).await;
        let facts = browser.ask("/status.json", OPERATOR).await;
        let facts = String::from_utf8(facts.body).unwrap();
        assert!(facts.contains("\"connections\":{\"open\":1,"), "{facts}");
    });
}

#[test]
fn asked_to_end_it_finishes_what_it_began() {
    run("", async |browser| {
        let mut busy = browser.connect().await;
        let mut idle = browser.connect().await;
        busy.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        shut_down("poweroff");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(
            idle.read(&mut [0]).await,
            Ok(0),
            "an idle connection is closed, and says so"
        );
        busy.write_all(b"Host: guest.test\r\n\r\n").await.unwrap();
        assert_eq!(answer(&mut busy, true).await.status, 200);
        assert_eq!(busy.read(&mut [0]).await, Ok(0));
    });
}

#[test]
fn five_hundred_handshakes_at_once() {
    run("", async |browser| {
        let browser = Rc::new(browser);
        let clients: Vec<_> = (0..500)
            .map(|_| {
                let browser = Rc::clone(&browser);
                spawn(async move { browser.get("/boot/").await.status })
            })
            .collect();
        for client in clients {
            assert_eq!(client.await, 200);
        }
    });
}

#[test]
fn another_key_under_load_loses_no_request() {
    let keys: Vec<_> = (0..3).map(|_| key((2026, 2027))).collect();
    let certificates: String = keys
        .iter()
        .map(|(_, certificate)| certificate.as_str())
        .collect();
    let texts: Vec<_> = keys
        .into_iter()
        .map(|(key, certificate)| key + &certificate)
        .collect();
    let config = config("", Some(texts[0].clone()));
    let disk = disk_of(&texts[2]);
    let ended = hosted::run(config, async move || {
        let peer = Peer::attach_default();
        let _disk = attach(Vbd::default(), &disk);
        let roots = Roots::from_pem(certificates.as_bytes()).unwrap();
        let connector = TlsConnector::new(&roots, &[], Versions::Tls13).unwrap();
        let browser = Rc::new(Browser { peer, connector });
        let path = format!("{}/data/tls", store::HOME);
        spawn(async move {
            let mut kept = browser.connect().await;
            let clients: Vec<_> = (0..40u64)
                .map(|n| {
                    let browser = Rc::clone(&browser);
                    spawn(async move {
                        for _ in 0..10 {
                            sleep(Duration::from_millis(n * 7 % 50)).await;
                            assert_eq!(browser.get("/boot/").await.status, 200);
                        }
                    })
                })
                .collect();
            let mut shown = Vec::new();
            let damaged: &[u8] = b"\x30\x82\xff";
            let second = texts[1].as_bytes();
            for text in [second, b"nonsense", damaged, b"", b"xvda\n"] {
                sleep(Duration::from_millis(100)).await;
                store::write_bytes(&path, text);
                sleep(Duration::from_millis(100)).await;
                assert_eq!(store::read(&path), None, "it is taken away");
                // Somebody new: a session that is resumed shows what it began with.
                let stream = browser.peer.connect(443).await.unwrap();
                let connector = TlsConnector::new(&roots, &[], Versions::Tls13).unwrap();
                let stream = connector.connect("guest.test", stream).await.unwrap();
                shown.push(stream.peer_certificate().unwrap().to_vec());
            }
            assert!(shown[0] != kept.peer_certificate().unwrap());
            let [first, same @ .., last] = &shown[..] else {
                panic!("{} keys", shown.len());
            };
            assert!(same.iter().all(|shown| shown == first) && first != last);
            for client in clients {
                client.await;
            }
            let request = b"GET / HTTP/1.1\r\nHost: guest.test\r\n\r\n";
            kept.write_all(request).await.unwrap();
            assert_eq!(answer(&mut kept, true).await.status, 200);
            shut_down("poweroff");
        });
        xenlet_httpd::run().await.map_err(|e| e.to_string())
    });
    assert_eq!(ended.value, Some(Ok(())), "{}", ended.console);
    for why in [": it has neither a key nor", ": it is empty"] {
        assert!(ended.console.contains(why), "{}", ended.console);
    }
    assert!(
        ended.console.contains("the former one stays"),
        "{}",
        ended.console
    );
}

/// A disk that has this text, and zeros after it.
fn disk_of(text: &str) -> Medium {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(64 * 1024, 0);
    Medium::from_bytes(&bytes).read_only()
}

#[test]
fn a_key_on_a_disk() {
    let (key, certificate) = key((2026, 2027));
    for (text, line, why) in [
        (key.clone() + &certificate, "tls=xvda", None),
        (
            String::new(),
            "tls=xvda",
            Some("the disk xvda: it is empty"),
        ),
        (
            key.clone(),
            "tls=xvda",
            Some("the disk xvda: there is no certificate in it"),
        ),
        (
            "x".repeat(64 * 1024 - 1),
            "tls=xvda",
            Some("the disk xvda: it has neither"),
        ),
        (
            "x".repeat(64 * 1024),
            "tls=xvda",
            Some("the disk xvda: no zero byte follows the file: it is longer"),
        ),
        (key + &certificate, "tls=xvdb", Some("the disk xvdb: ")),
    ] {
        let (disk, certificate) = (disk_of(&text), certificate.clone());
        let ended = hosted::run(config(line, None), async move || {
            let peer = Peer::attach_default();
            let _disk = attach(Vbd::default(), &disk);
            let roots = Roots::from_pem(certificate.as_bytes()).unwrap();
            let connector = TlsConnector::new(&roots, &["http/1.1"], Versions::Tls13).unwrap();
            spawn(async move {
                assert_eq!(Browser { peer, connector }.get("/").await.status, 200);
                shut_down("poweroff");
            });
            xenlet_httpd::run().await.map_err(|e| e.to_string())
        });
        match (ended.value, why) {
            (Some(Ok(())), None) => {}
            (Some(Err(said)), Some(why)) if said.contains(why) => {}
            (ended, why) => panic!("{why:?}: {ended:?}"),
        }
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for() {
    let tokens = Some(TOKENS.to_owned());
    let ended = hosted::run(
        config("tls=selfsigned ip=10.0.2.15/24 https_port=8443", tokens),
        async || {
            let peer = Peer::attach_default();
            spawn(async move {
                let there = get(&peer, "/", "").await;
                assert_eq!(there.field("Location"), Some("https://guest:8443/"));
                let left = boot_module::take(<[u8]>::len);
                assert_eq!(left, Ok(None), "the boot module is taken, and wiped");
                shut_down("poweroff");
            });
            xenlet_httpd::run().await.map_err(|e| e.to_string())
        },
    );
    assert_eq!(ended.value, Some(Ok(())), "{}", ended.console);
    assert!(
        ended
            .console
            .contains("the certificate is for localhost until"),
        "{}",
        ended.console
    );
    assert!(
        !ended.console.contains("there is no token"),
        "{}",
        ended.console
    );
}

#[test]
fn many_bytes_over_several_connections_at_once() {
    run("", async |browser| {
        let browser = Rc::new(browser);
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let browser = Rc::clone(&browser);
                spawn(async move {
                    let mut stream = browser.connect().await;
                    let file = SITE
                        .files()
                        .iter()
                        .find(|file| file.path() == "/tower.webp")
                        .unwrap();
                    let body = file.identity().body();
                    let request = "GET /tower.webp HTTP/1.1\r\nHost: guest.test\r\n\r\n";
                    for _ in 0..20 {
                        // Asked for at once, so that the guest always has more to send than is taken.
                        stream
                            .write_all(request.repeat(10).as_bytes())
                            .await
                            .unwrap();
                        for _ in 0..10 {
                            let served = answer(&mut stream, true).await;
                            assert!(served.status == 200 && served.body == body);
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.await;
        }
    });
}
