//! What peers may send instead of TLS: nothing of it may panic, or be taken for an end.

use crate::pipe::{End, pipe};
use crate::support::{Ca, NOW, connection, shake, test};
use embedded_io_async::{Read, Write};
use proptest::prelude::*;
use std::rc::Rc;
use xenlet_kernel::run::spawn;
use xenlet_tls::{Error, Identities, Options, Roots, TlsAcceptor, TlsConnector, Versions};

/// How a recorded flight is changed: a byte flipped, cut off, repeated, in another order, with something in between.
#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
    Length(usize, u16),
}

fn change() -> impl Strategy<Value = Change> {
    let garbage = prop::collection::vec(any::<u8>(), 1..100);
    prop_oneof![
        (any::<usize>(), 1..=255u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        any::<usize>().prop_map(Change::Cut),
        (any::<usize>(), garbage).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Change::Repeat(from, to)),
        (any::<usize>(), any::<u16>()).prop_map(|(at, len)| Change::Length(at, len)),
    ]
}

fn apply(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let len = bytes.len().max(1);
        match change {
            Change::Flip(at, bits) if !bytes.is_empty() => bytes[at % len] ^= bits,
            Change::Flip(..) => {}
            Change::Cut(at) => bytes.truncate(at % len),
            Change::Insert(at, garbage) => {
                let at = at % len.min(bytes.len() + 1);
                bytes.splice(at..at, garbage.iter().copied());
            }
            Change::Repeat(from, to) => {
                let (from, to) = ((from % len).min(to % len), (from % len).max(to % len));
                let part = bytes[from.min(bytes.len())..to.min(bytes.len())].to_vec();
                bytes.extend(part);
            }
            // Of one of the records' headers, as they were.
            Change::Length(at, length) => {
                let starts = record_starts(&bytes);
                if let Some(start) = starts.get(at % starts.len().max(1)) {
                    bytes[start + 3..start + 5].copy_from_slice(&length.to_be_bytes());
                }
            }
        }
    }
    bytes
}

fn record_starts(bytes: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (Vec::new(), 0);
    while at + 5 <= bytes.len() {
        starts.push(at);
        at += 5 + usize::from(u16::from_be_bytes([bytes[at + 3], bytes[at + 4]]));
    }
    starts
}

/// Sends `bytes` in pieces, reads what comes, and hangs up.
async fn speak(mut end: End, bytes: &[u8], piece: usize) {
    for part in bytes.chunks(piece) {
        end.write_all(part).await.unwrap();
    }
}

/// What both ends said in a whole conversation: the client's bytes and the server's.
fn recorded(versions: Versions) -> (Vec<u8>, Vec<u8>) {
    test(async move || {
        let ca = Ca::new();
        let acceptor = ca.acceptor(&Options {
            versions,
            ..Options::default()
        });
        let (near, far) = shake(&acceptor, &ca.connector(), "guest.test", 100_000).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        near.write_all(b"hello").await.unwrap();
        far.write_all(b"hello yourself").await.unwrap();
        far.close().await.unwrap();
        let seen = |flow: &Rc<std::cell::RefCell<crate::pipe::Flow>>| flow.borrow().seen.clone();
        (seen(&near.get_ref().from), seen(&near.get_ref().to))
    })
}

thread_local! {
    static RECORDED: (Vec<u8>, Vec<u8>) = recorded(Versions::Tls13);
}

fn accept(bytes: Vec<u8>, piece: usize) -> Result<(), String> {
    test(async move || {
        let ca = Ca::new();
        let acceptor = ca.acceptor(&Options {
            versions: Versions::Tls12,
            ..Options::default()
        });
        let (near, far) = pipe(200_000);
        speak(far, &bytes, piece).await;
        acceptor
            .accept(near)
            .await
            .map(drop)
            .map_err(|e| e.to_string())
    })
}

fn connect(bytes: Vec<u8>, piece: usize) -> Result<(), String> {
    test(async move || {
        let (near, far) = pipe(200_000);
        speak(far, &bytes, piece).await;
        Ca::new()
            .connector()
            .connect("guest.test", near)
            .await
            .map(drop)
            .map_err(|e| e.to_string())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_bytes_to_either_end(bytes in prop::collection::vec(any::<u8>(), 0..2000), piece in 1usize..700) {
        prop_assert!(accept(bytes.clone(), piece).is_err());
        prop_assert!(connect(bytes, piece).is_err());
    }

    #[test]
    fn changed_flights_to_either_end(changes in prop::collection::vec(change(), 1..6), piece in 1usize..700) {
        let (client, server) = RECORDED.with(Clone::clone);
        // Nobody has the keys of a conversation that is over.
        prop_assert!(accept(apply(client, &changes), piece).is_err());
        prop_assert!(connect(apply(server, &changes), piece).is_err());
    }

    #[test]
    fn records_of_any_kind_and_length(records in prop::collection::vec((20u8..25, prop::collection::vec(any::<u8>(), 0..400)), 1..20)) {
        let bytes: Vec<u8> = records.iter().flat_map(|(kind, content)| {
            let [high, low] = (content.len() as u16).to_be_bytes();
            [&[*kind, 3, 3, high, low][..], content].concat()
        }).collect();
        prop_assert!(accept(bytes.clone(), 500).is_err());
        prop_assert!(connect(bytes, 500).is_err());
    }

    /// After the handshake: nothing that is not of the peer is ever read as if it were.
    #[test]
    fn garbage_in_an_established_stream(bytes in prop::collection::vec(any::<u8>(), 1..3000), kind in 20u8..25, framed in any::<bool>()) {
        test(async move || {
            let (mut near, far) = connection(100_000).await;
            let mut below = far.into_inner();
            if framed {
                let [high, low] = (bytes.len() as u16).to_be_bytes();
                below.write_all(&[kind, 3, 3, high, low]).await.unwrap();
            }
            below.write_all(&bytes).await.unwrap();
            drop(below);
            let read = near.read(&mut [0; 100]).await;
            assert!(read.is_err(), "{read:?}");
            assert!(near.read(&mut [0; 100]).await.is_err(), "it stays so");
            let _ = near.write(b"x").await;
            let _ = near.close().await;
        });
    }
}

#[test]
fn identities_and_roots_of_any_text() {
    let mut runner = proptest::test_runner::TestRunner::default();
    let (certificate, key) = Ca::new().issue(&["a.test"], crate::support::YEARS);
    let text = certificate + &key;
    runner
        .run(&prop::collection::vec(change(), 1..4), |changes| {
            let changed = apply(text.clone().into_bytes(), &changes);
            let _ = Identities::from_pem(&changed, NOW);
            let _ = Roots::from_pem(&changed);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_hello_without_end_is_cut_short() {
    test(async || {
        let acceptor = Ca::new().acceptor(&Options::default());
        // One message of 64 KiB in many records: it is never whole.
        let (near, mut far) = pipe(1000);
        let speaker = spawn(async move {
            let mut first = true;
            for _ in 0..2000 {
                let mut record = vec![22, 3, 1, 0, 100];
                record.extend(if first { [1, 0, 0xff, 0xff] } else { [0; 4] });
                record.extend([0; 96]);
                first = false;
                if far.to_closed() {
                    return true;
                }
                far.write_all(&record).await.unwrap();
            }
            false
        });
        assert_eq!(acceptor.accept(near).await.unwrap_err(), Error::TooLong);
        assert!(speaker.await, "it is cut off before the end");
    });
}

#[test]
fn http_to_the_wrong_port_is_answered_by_an_alert() {
    test(async || {
        let ca = Ca::new();
        let acceptor: Rc<TlsAcceptor> = ca.acceptor(&Options::default());
        let (near, mut far) = pipe(1000);
        far.write_all(b"GET / HTTP/1.1\r\nHost: guest\r\n\r\n")
            .await
            .unwrap();
        let error = acceptor.accept(near).await.unwrap_err();
        assert!(error.to_string().contains("may not be TLS"), "{error}");
        let mut alert = [0; 7];
        far.read_exact(&mut alert).await.unwrap();
        assert_eq!((alert[0], alert[5]), (21, 2), "an alert, and that fatal");
        let _ = TlsConnector::new(&ca.roots(), &[], Versions::Tls13).unwrap();
    });
}
