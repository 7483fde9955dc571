//! The frontend against a netback that keeps to the protocol.

use super::*;
use crate::{Checksum, Gso, GsoKind, Link, Netfront, RxFrame, TxMeta};
use std::num::NonZeroU16;
use xenlet_kernel::time::{Duration, now, sleep, timeout};
use xenlet_kernel::{grant, hosted};

mod lies;
mod life;
mod random;
mod trusted;

/// Lets the other side do what it can.
async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

/// Waits until something may have come.
async fn ready(vif: &mut Netfront) {
    let (began, limit) = (now(), Duration::from_secs(1));
    let ready = core::future::poll_fn(|cx| vif.poll_ready(cx));
    let _ = timeout(limit, ready).await;
    // The end of the time itself would make it look once more.
    assert!(began.elapsed() < limit, "nothing woke it");
    assert_eq!(vif.link(), Link::Up);
}

/// Waits until nothing comes any more.
async fn asleep(vif: &mut Netfront) {
    let pause = Duration::from_millis(1);
    while timeout(pause, core::future::poll_fn(|cx| vif.poll_ready(cx)))
        .await
        .is_ok()
    {
        while vif.receive().is_some() {}
    }
}

async fn receive(vif: &mut Netfront) -> RxFrame {
    loop {
        if let Some(frame) = vif.receive() {
            return frame;
        }
        ready(vif).await;
    }
}

/// Frame `seed` of `len` bytes: every byte is told by its place.
fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (seed * 31 + i * 7 + i / 251) as u8)
        .collect()
}

fn transmit(vif: &mut Netfront, frame: &[u8]) -> bool {
    vif.transmit(frame.len(), TxMeta::default(), |into| {
        into.copy_from_slice(frame);
    })
    .is_some()
}

fn gso(size: u16) -> Option<Gso> {
    Some(Gso {
        kind: GsoKind::TcpV4,
        size: NonZeroU16::new(size).unwrap(),
    })
}

#[test]
fn what_the_toolstack_says() {
    hosted::test(async || {
        let config = Config {
            number: 3,
            mac: [2, 3, 4, 5, 6, 7],
            mtu: Some(9000),
            ..Config::default()
        };
        attach(config, pair().0);
        let vif = Netfront::connect(3).await.unwrap();
        assert_eq!((vif.number(), vif.mac()), (3, [2, 3, 4, 5, 6, 7]));
        assert_eq!((vif.mtu(), vif.link()), (9000, Link::Up));
        let features = vif.features();
        assert!(features.sg && features.tx_checksum && features.gso_tcpv4 && features.gso_tcpv6);
        assert!(features.split_channels);
        assert_eq!(vif.max_frame(), 65_535);
    });
}

#[test]
fn nothing_offered() {
    hosted::test(async || {
        let config = Config {
            sg: false,
            tx_checksum: false,
            gso: false,
            split_channels: false,
            mtu: Some(9000),
            ..Config::default()
        };
        let (wire, mut other) = pair();
        attach(config, wire);
        let mut vif = Netfront::connect(0).await.unwrap();
        assert_eq!(vif.features(), crate::Features::default());
        assert_eq!(vif.mtu(), 1500, "9000 does not fit a page");
        assert_eq!(vif.max_frame(), 4096);
        assert!(vif.can_transmit(4096) && !vif.can_transmit(4097));
        let frame = bytes(1, 4096);
        assert!(transmit(&mut vif, &frame) && !transmit(&mut vif, &bytes(2, 4097)));
        vif.flush();
        settle().await;
        assert_eq!(other.recv().unwrap().bytes, frame);
        assert_eq!(other.recv(), None);
        other.send(bytes(3, 1514).into());
        assert_eq!(*receive(&mut vif).await, bytes(3, 1514));
    });
}

#[test]
fn every_length_both_ways() {
    hosted::test(async || {
        let (wire, mut other) = pair();
        attach(Config::default(), wire);
        let mut vif = Netfront::connect(0).await.unwrap();
        let around = |n: usize| n - 2..=n + 2;
        let lengths = (14..80)
            .chain(around(1514))
            .chain(around(4096))
            .chain(around(8192))
            .chain(around(61_440))
            .chain(65_530..=65_535);
        for (i, len) in lengths.enumerate() {
            let frame = bytes(i, len);
            while !transmit(&mut vif, &frame) {
                ready(&mut vif).await;
            }
            vif.flush();
            settle().await;
            assert_eq!(other.recv().unwrap().bytes, frame, "out, {len} bytes");
            other.send(frame.clone().into());
            assert_eq!(*receive(&mut vif).await, frame, "in, {len} bytes");
        }
        for len in [0, 1, 13, 65_536, usize::MAX] {
            assert!(!vif.can_transmit(len));
            assert_eq!(vif.transmit(len, TxMeta::default(), |_| ()), None);
        }
        // An IP packet of 65,535 bytes is longer than what can be sent; it can come.
        let largest = bytes(9, 65_535 + 18);
        other.send(largest.clone().into());
        assert_eq!(*receive(&mut vif).await, largest);
        other.send(bytes(9, 65_535 + 19).into());
        other.send(bytes(8, 13).into());
        other.send(bytes(7, 60).into());
        assert_eq!(*receive(&mut vif).await, bytes(7, 60));
        assert_eq!(vif.stats().rx_too_long, 1);
        assert_eq!(vif.stats().rx_too_short, 1);
    });
}

#[test]
fn checksums_and_segments_both_ways() {
    hosted::test(async || {
        let (wire, mut other) = pair();
        attach(Config::default(), wire);
        let mut vif = Netfront::connect(0).await.unwrap();
        for len in [100, 5000] {
            for checksum in [Checksum::Unknown, Checksum::Validated, Checksum::Blank] {
                for gso in [None, gso(1448)] {
                    other.send(Frame {
                        bytes: bytes(1, len),
                        checksum,
                        gso,
                    });
                    let frame = receive(&mut vif).await;
                    assert_eq!(*frame, bytes(1, len));
                    assert_eq!(frame.checksum(), checksum);
                    assert_eq!(frame.gso_size(), gso.map(|gso| gso.size.get()));
                }
            }
            let blank = TxMeta {
                csum_blank: true,
                gso: None,
            };
            let large = TxMeta {
                csum_blank: true,
                gso: gso(1000),
            };
            for meta in [TxMeta::default(), blank, large] {
                vif.transmit(len, meta, |into| into.copy_from_slice(&bytes(2, len)))
                    .unwrap();
                vif.flush();
                settle().await;
                let frame = other.recv().unwrap();
                assert_eq!(frame.bytes, bytes(2, len));
                assert_eq!(frame.checksum == Checksum::Blank, meta.csum_blank);
                assert_eq!(frame.gso, meta.gso);
            }
        }
    });
}

#[test]
fn a_frame_of_one_slot_stays_in_its_page_and_pages_come_back() {
    hosted::test(async || {
        let (wire, mut other) = pair();
        let config = Config {
            offset: 256,
            slot_bytes: 2048,
            ..Config::default()
        };
        attach(config, wire);
        let mut vif = Netfront::connect(0).await.unwrap();
        let before = grant::usage().0;
        // As many as there are pages, held all at once.
        let held: Vec<RxFrame> = {
            let mut held = Vec::new();
            for i in 0..64 {
                other.send(bytes(i, 60 + i).into());
                held.push(receive(&mut vif).await);
            }
            held
        };
        for (i, frame) in held.iter().enumerate() {
            assert_eq!(**frame, bytes(i, 60 + i));
            let place: &[u8] = frame;
            assert_eq!(place.as_ptr().addr() % 4096, 256, "where it was put");
        }
        vif.flush();
        drop(held);
        vif.flush();
        // More were posted while all were held.
        let more = |vif: &Netfront| vif.stats().rx_pages as usize - 64;
        let posted = grant::usage().0;
        assert_eq!(posted, before + more(&vif), "with the backend again");
        for i in 0..1000 {
            let bytes = bytes(i, 1000 + i % 3000);
            let gso = gso(1448).filter(|_| i % 2 == 0);
            other.send(Frame {
                bytes: bytes.clone(),
                gso,
                ..Frame::default()
            });
            assert_eq!(*receive(&mut vif).await, bytes);
        }
        vif.flush();
        assert_eq!(grant::usage().0, before + more(&vif));
    });
}

#[test]
fn several_large_frames_can_be_held() {
    hosted::test(async || {
        let (wire, mut other) = pair();
        attach(Config::default(), wire);
        let mut vif = Netfront::connect(0).await.unwrap();
        let mut held = Vec::new();
        for i in 0..10 {
            other.send(bytes(i, 20_000 + i).into());
            held.push(receive(&mut vif).await);
        }
        for (i, frame) in held.iter().enumerate() {
            assert_eq!(**frame, bytes(i, 20_000 + i));
        }
    });
}

#[test]
fn more_pages_are_posted_when_the_backend_runs_low() {
    hosted::test(async || {
        let (wire, mut other) = pair();
        attach(
            Config {
                pace: 1000,
                ..Config::default()
            },
            wire,
        );
        let mut vif = Netfront::connect(0).await.unwrap();
        assert_eq!(vif.stats().rx_pages, 64);
        for round in 0..4 {
            for i in 0..300 {
                other.send(bytes(i, 100).into());
            }
            for i in 0..300 {
                assert_eq!(*receive(&mut vif).await, bytes(i, 100), "round {round}");
            }
        }
        assert_eq!(vif.stats().rx_pages, 256);
    });
}

#[test]
fn notifications_are_few() {
    for split_channels in [true, false] {
        hosted::test(async move || {
            let (wire, mut other) = pair();
            let backend = attach(
                Config {
                    split_channels,
                    ..Config::default()
                },
                wire,
            );
            let mut vif = Netfront::connect(0).await.unwrap();
            asleep(&mut vif).await;
            let (sent, got) = (vif.stats().notified, backend.counts().notified);

            for _ in 0..50 {
                assert!(transmit(&mut vif, &bytes(1, 100)));
            }
            vif.flush();
            assert_eq!(vif.stats().notified, sent + 1, "one for all of them");
            for _ in 0..50 {
                assert!(transmit(&mut vif, &bytes(1, 100)));
                vif.flush();
            }
            assert_eq!(vif.stats().notified, sent + 1, "it has not slept since");
            settle().await;
            assert_eq!(backend.counts().from_guest, 100);
            assert!(
                backend.counts().notified <= got + 1,
                "answers to transmitted frames are nothing to wake for"
            );
            asleep(&mut vif).await;
            let got = backend.counts().notified;
            for _ in 0..50 {
                other.send(bytes(1, 100).into());
            }
            settle().await;
            assert!(backend.counts().notified <= got + 1, "one for all of them");
            let sent = vif.stats().notified;
            for _ in 0..50 {
                drop(receive(&mut vif).await);
                vif.flush();
            }
            assert_eq!(vif.stats().notified, sent, "it has pages enough");
        });
    }
}

#[test]
fn room_comes_back() {
    hosted::test(async || {
        let (wire, mut other) = pair();
        attach(
            Config {
                hold: Duration::from_millis(5),
                ..Config::default()
            },
            wire,
        );
        let mut vif = Netfront::connect(0).await.unwrap();
        let mut sent = 0;
        while transmit(&mut vif, &bytes(sent, 40_000)) {
            sent += 1;
        }
        assert!(sent >= 6, "at least the ring's worth: {sent}");
        for _ in 0..100 {
            assert!(!vif.can_transmit(40_000));
            ready(&mut vif).await;
            while transmit(&mut vif, &bytes(sent, 40_000)) {
                sent += 1;
            }
        }
        vif.flush();
        settle().await;
        for i in 0..sent {
            assert_eq!(other.recv().unwrap().bytes, bytes(i, 40_000));
        }
    });
}
