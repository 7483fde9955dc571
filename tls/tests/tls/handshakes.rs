//! Handshakes: versions, names, protocols, resumption, limits.

use crate::pipe::pipe;
use crate::support::{Ca, shake, test};
use embedded_io_async::{Read, Write};
use std::rc::Rc;
use xenlet_kernel::hosted::{self, Config};
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, now, sleep};
use xenlet_net::Peer;
use xenlet_tls::{
    Error, Identities, Limits, Options, StartError, TlsAcceptor, TlsConnector, Versions, sha256,
};

#[test]
fn a_certificate_of_a_trusted_issuer_for_the_name_that_was_meant() {
    test(async || {
        let ca = Ca::new();
        let acceptor = ca.acceptor(&Options::default());
        let (near, far) = shake(&acceptor, &ca.connector(), "guest.test", 4096).await;
        assert!(!near.unwrap().is_resumed());
        assert!(far.unwrap().peer_certificate().is_some());

        let (near, far) = shake(&acceptor, &ca.connector(), "other.test", 4096).await;
        let (near, far) = (near.unwrap_err(), far.unwrap_err());
        assert!(far.to_string().contains("another name"), "{far}");
        assert!(matches!(near, Error::Alert(_)), "{near}");

        let stranger = Ca::named("a stranger").connector();
        let (near, far) = shake(&acceptor, &stranger, "guest.test", 4096).await;
        let (near, far) = (near.unwrap_err(), far.unwrap_err());
        assert!(far.to_string().contains("issuer"), "{far}");
        assert!(near.to_string().contains("trust"), "{near}");
    });
}

#[test]
fn tls_1_2_is_spoken_only_where_it_is_asked_for() {
    test(async || {
        let ca = Ca::new();
        // A connector that has nothing else: what it can do is what it offers.
        let old = old_hello();
        for (versions, accepted) in [(Versions::Tls13, false), (Versions::Tls12, true)] {
            let acceptor = ca.acceptor(&Options {
                versions,
                ..Options::default()
            });
            let (near, mut far) = pipe(16384);
            let handshake = spawn(async move { acceptor.accept(near).await.map(drop) });
            far.write_all(&old).await.unwrap();
            let mut header = [0; 6];
            far.read_exact(&mut header).await.unwrap();
            // A handshake message, ServerHello; or an alert, and that fatal.
            let expected = if accepted { (22, 2) } else { (21, 2) };
            assert_eq!((header[0], header[5]), expected);
            drop(far);
            let error = handshake.await.unwrap_err();
            assert_eq!(matches!(error, Error::Truncated), accepted, "{error}");
        }
    });
}

/// A ClientHello of TLS 1.2 with one cipher suite (RFC 5246 §7.4.1.2).
fn old_hello() -> Vec<u8> {
    let extensions: [&[u8]; 3] = [
        &[0, 10, 0, 4, 0, 2, 0, 29], // supported_groups: x25519
        &[0, 11, 0, 2, 1, 0],        // ec_point_formats: uncompressed
        &[0, 13, 0, 4, 0, 2, 4, 3],  // signature_algorithms: ecdsa_secp256r1_sha256
    ];
    let extensions = extensions.concat();
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    hello.extend([0, extensions.len() as u8]);
    hello.extend(extensions);
    let mut record = vec![
        22,
        3,
        1,
        0,
        hello.len() as u8 + 4,
        1,
        0,
        0,
        hello.len() as u8,
    ];
    record.extend(hello);
    record
}

#[test]
fn the_name_chooses_the_certificate() {
    test(async || {
        let ca = Ca::new();
        let mut text = String::new();
        for names in [&["a.test", "www.a.test"][..], &["*.b.test"], &["c.test"]] {
            let (certificate, key) = ca.issue(names, (2026, 2027));
            text += &(certificate + &key);
        }
        let identities = Identities::from_pem(text.as_bytes(), crate::support::NOW).unwrap();
        assert_eq!(
            identities.to_string(),
            "a.test, www.a.test until 2027-01-01; *.b.test until 2027-01-01; c.test until 2027-01-01"
        );
        let acceptor = Rc::new(TlsAcceptor::new(identities, &Options::default()).unwrap());
        for (name, is_there) in [
            ("a.test", true),
            ("WWW.A.test", true),
            ("x.b.test", true),
            ("c.test", true),
            ("b.test", false),
            ("x.y.b.test", false),
            ("d.test", false),
        ] {
            let (_, far) = shake(&acceptor, &ca.connector(), name, 4096).await;
            assert_eq!(far.is_ok(), is_there, "{name}");
        }
    });
}

#[test]
fn application_protocols() {
    test(async || {
        let ca = Ca::new();
        let acceptor = ca.acceptor(&Options {
            alpn: &["http/1.1"],
            ..Options::default()
        });
        for (offered, chosen) in [
            (&["h2", "http/1.1"][..], Some(Some("http/1.1"))),
            (&[], Some(None)),
            (&["h2"], None),
        ] {
            let connector = TlsConnector::new(&ca.roots(), offered, Versions::Tls13).unwrap();
            let (near, far) = shake(&acceptor, &connector, "guest.test", 4096).await;
            let agreed = far.as_ref().ok().map(xenlet_tls::TlsStream::alpn);
            assert_eq!(
                agreed,
                chosen.map(|name| name.map(str::as_bytes)),
                "{offered:?}"
            );
            assert_eq!(near.is_ok(), chosen.is_some());
        }
    });
}

#[test]
fn without_entropy_or_with_a_wrong_clock_it_does_not_start() {
    let identities = |seconds, no_entropy| {
        let config = Config {
            wall: Some(Duration::from_secs(seconds)),
            no_entropy,
            ..Config::default()
        };
        let ended = hosted::run(config, async || {
            let identities = Ca::new().identities(&["guest.test"]);
            TlsAcceptor::new(identities, &Options::default()).map(drop)
        });
        ended.value.unwrap()
    };
    assert_eq!(identities(1_792_000_000, false), Ok(()));
    let wrong = identities(12_345, false);
    assert_eq!(
        wrong,
        Err(StartError::WrongClock(Duration::from_secs(12_345)))
    );
    assert!(wrong.unwrap_err().to_string().contains("12345"));
    assert!(matches!(
        identities(1_792_000_000, true),
        Err(StartError::NoEntropy(_))
    ));
}

#[test]
fn sessions_are_resumed_by_tickets_until_the_keys_are_gone() {
    test(async || {
        let ca = Ca::new();
        let (acceptor, connector) = (ca.acceptor(&Options::default()), ca.connector());
        let mut resumed = Vec::new();
        for wait_hours in [0, 0, 5, 40] {
            sleep(Duration::from_secs(wait_hours * 3600)).await;
            let (near, far) = shake(&acceptor, &connector, "guest.test", 4096).await;
            let (mut near, mut far) = (near.unwrap(), far.unwrap());
            assert_eq!(near.is_resumed(), far.is_resumed());
            resumed.push(near.is_resumed());
            // The tickets come with the first bytes.
            near.write_all(b"x").await.unwrap();
            far.read_exact(&mut [0]).await.unwrap();
        }
        assert_eq!(resumed, [false, true, true, false]);
    });
}

/// With so many handshakes at once.
fn with_places(handshakes: usize) -> Options {
    let limits = Limits {
        handshakes,
        ..Limits::default()
    };
    Options {
        limits,
        ..Options::default()
    }
}

#[test]
fn five_hundred_at_once_of_which_no_more_than_allowed_cost_memory() {
    test(async || {
        let ca = Ca::new();
        let acceptor = ca.acceptor(&with_places(20));
        let connector = Rc::new(ca.connector());
        let clients: Vec<_> = (0..500)
            .map(|_| {
                let (acceptor, connector) = (Rc::clone(&acceptor), Rc::clone(&connector));
                spawn(async move {
                    let (near, far) = shake(&acceptor, &connector, "guest.test", 1000).await;
                    (near.is_ok(), far.is_ok())
                })
            })
            .collect();
        for client in clients {
            assert_eq!(client.await, (true, true));
        }
    });
}

#[test]
fn a_stalled_handshake_ends_in_time_and_gives_its_place_up() {
    test(async || {
        let ca = Ca::new();
        let acceptor = ca.acceptor(&with_places(2));
        let start = now();
        let stalled: Vec<_> = (0..2)
            .map(|_| {
                let (near, mut far) = pipe(4096);
                let acceptor = Rc::clone(&acceptor);
                spawn(async move {
                    far.write_all(&[22]).await.unwrap();
                    let result = acceptor.accept(near).await.map(drop);
                    drop(far);
                    result
                })
            })
            .collect();
        sleep(Duration::from_secs(5)).await;
        let later = spawn({
            let (acceptor, connector) = (Rc::clone(&acceptor), ca.connector());
            async move {
                shake(&acceptor, &connector, "guest.test", 4096)
                    .await
                    .0
                    .is_ok()
            }
        });
        for accepted in stalled {
            assert_eq!(accepted.await.unwrap_err(), Error::TimedOut);
        }
        assert_eq!(start.elapsed().as_secs(), 10);
        assert!(later.await, "who waited for a place has one now");
    });
}

#[test]
fn who_says_nothing_takes_no_place() {
    test(async || {
        let ca = Ca::new();
        let acceptor = ca.acceptor(&with_places(1));
        let (near, _silent) = pipe(4096);
        let silent = spawn({
            let acceptor = Rc::clone(&acceptor);
            async move { acceptor.accept(near).await.map(drop) }
        });
        sleep(Duration::from_secs(1)).await;
        let start = now();
        let (near, _) = shake(&acceptor, &ca.connector(), "guest.test", 4096).await;
        assert!(near.is_ok() && start.elapsed() < Duration::from_secs(1));
        assert_eq!(silent.await.unwrap_err(), Error::TimedOut);
    });
}

#[test]
fn other_keys_from_the_next_handshake_on() {
    test(async || {
        let ca = Ca::new();
        let acceptor = ca.acceptor(&Options::default());
        let (near, far) = shake(&acceptor, &ca.connector(), "guest.test", 4096).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        acceptor.replace(ca.identities(&["new.test"]));
        let (_, other) = shake(&acceptor, &ca.connector(), "guest.test", 4096).await;
        assert!(other.is_err());
        let (_, other) = shake(&acceptor, &ca.connector(), "new.test", 4096).await;
        assert!(other.is_ok());
        // The old connection doesn't notice.
        near.write_all(b"still here").await.unwrap();
        let mut read = [0; 10];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"still here");
    });
}

#[test]
fn clients_with_a_certificate_and_without() {
    test(async || {
        let ca = Ca::new();
        let them = Ca::named("the clients' CA");
        let client = them.identities(&["ann"]);
        let stranger = Ca::named("a stranger").identities(&["eve"]);
        for required in [false, true] {
            let identities = ca.identities(&["guest.test"]);
            let options = Options {
                versions: Versions::Tls12,
                ..Options::default()
            };
            let acceptor = TlsAcceptor::with_clients(identities, &options, &them.roots(), required);
            let acceptor = Rc::new(acceptor.unwrap());
            let known = ca.connector().with_identity(&client);
            let (near, _) = shake(&acceptor, &known, "guest.test", 4096).await;
            let near = near.unwrap();
            let fingerprint = sha256(near.peer_certificate().unwrap());
            let name = Box::from("ann");
            assert_eq!(near.peer().as_deref(), Some(&Peer { name, fingerprint }));
            let (near, _) = shake(&acceptor, &ca.connector(), "guest.test", 4096).await;
            match near {
                Ok(near) => assert!(!required && near.peer().is_none()),
                Err(error) => assert!(
                    required && error.to_string().contains("showed none"),
                    "{error}"
                ),
            }
            let unknown = ca.connector().with_identity(&stranger);
            let (near, _) = shake(&acceptor, &unknown, "guest.test", 4096).await;
            let error = near.unwrap_err();
            assert!(error.to_string().contains("issuer"), "{error}");
        }
    });
}
