//! Connecting, closing, and what is left behind.

use super::{asleep, attach, bytes, pair, receive, settle, transmit};
use crate::hosted::{Config, Wire};
use crate::{Error, Link, Netfront, Why};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use xenlet_kernel::hosted::{self, store};
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, sleep};
use xenlet_kernel::xenbus::{DeviceError, Failure, State};
use xenlet_kernel::{grant, page};

/// What an interface takes of the domain: grants, watches, ports, pages that are lost.
fn taken() -> (usize, usize, usize, usize) {
    (
        grant::usage().0,
        store::watches(),
        hosted::ports(),
        page::leaked(),
    )
}

/// As any device fails.
fn failed(why: Failure) -> Error {
    Error::Device(DeviceError {
        device: "vif0".into(),
        why,
    })
}

#[test]
fn closing_gives_everything_back_and_it_can_be_connected_again() {
    hosted::test(async || {
        settle().await;
        let (wire, mut other) = pair();
        let backend = attach(Config::default(), wire);
        let before = taken();
        for round in 0..5 {
            let mut vif = Netfront::connect(0).await.unwrap();
            assert_ne!(taken(), before);
            assert!(transmit(&mut vif, &bytes(round, 3000)));
            vif.flush();
            settle().await;
            assert_eq!(other.recv().unwrap().bytes, bytes(round, 3000));
            other.send(bytes(round, 9000).into());
            let frame = receive(&mut vif).await;
            vif.close().await;
            assert_eq!(*frame, bytes(round, 9000), "a frame outlives its interface");
            drop(frame);
            settle().await;
            assert_eq!(taken(), before);
            assert_eq!(backend.state(), State::Closed);
        }
    });
}

#[test]
fn a_backend_that_keeps_pages_gets_no_more_in_the_end() {
    hosted::test(async || {
        settle().await;
        attach(Config::default(), pair().0);
        let mut kept = Vec::new();
        let lost = loop {
            match Netfront::connect(0).await {
                Ok(vif) => {
                    let keys = ["tx-ring-ref", "rx-ring-ref"];
                    kept.extend(keys.map(|key| {
                        let gref = store::read(&format!("/local/domain/1/device/vif/0/{key}"));
                        let gref = gref.unwrap().parse().unwrap();
                        hosted::map_grant(xenlet_kernel::addr::GrantRef(gref), true).unwrap()
                    }));
                    vif.close().await;
                    settle().await;
                }
                Err(Error::Device(DeviceError {
                    why: Failure::PagesKept(lost),
                    ..
                })) => break lost,
                Err(e) => panic!("{e}"),
            }
            assert!(kept.len() < 10_000, "it goes on and on");
        };
        assert!((1025..2048).contains(&lost), "{lost} pages");
    });
}

#[test]
fn dropping_closes_in_the_background() {
    hosted::test(async || {
        settle().await;
        attach(Config::default(), pair().0);
        let before = taken();
        let vif = Netfront::connect(0).await.unwrap();
        drop(vif);
        assert_eq!(
            Netfront::connect(0).await.unwrap_err(),
            failed(Failure::InUse)
        );
        settle().await;
        assert_eq!(taken(), before);
        Netfront::connect(0).await.unwrap();
    });
}

#[test]
fn one_frontend_at_a_time() {
    hosted::test(async || {
        attach(Config::default(), pair().0);
        let vif = Netfront::connect(0).await.unwrap();
        assert_eq!(
            Netfront::connect(0).await.unwrap_err(),
            failed(Failure::InUse)
        );
        vif.close().await;
        Netfront::connect(0).await.unwrap();
    });
}

#[test]
fn several_interfaces() {
    hosted::test(async || {
        let mut ends = Vec::new();
        for number in [0, 1, 7] {
            let (wire, other) = pair();
            attach(
                Config {
                    number,
                    ..Config::default()
                },
                wire,
            );
            ends.push((Netfront::connect(number).await.unwrap(), other));
        }
        for (vif, _) in &mut ends {
            let frame = bytes(vif.number() as usize, 60);
            assert!(transmit(vif, &frame));
            vif.flush();
        }
        settle().await;
        for (vif, other) in &mut ends {
            let frame = bytes(vif.number() as usize, 60);
            assert_eq!(other.recv().unwrap().bytes, frame);
        }
    });
}

#[test]
fn detached_while_in_use() {
    hosted::test(async || {
        settle().await;
        let (wire, mut other) = pair();
        let backend = attach(Config::default(), wire);
        let before = taken();
        let mut vif = Netfront::connect(0).await.unwrap();
        asleep(&mut vif).await;
        spawn({
            let backend = backend.clone();
            async move {
                sleep(Duration::from_secs(5)).await;
                backend.detach();
            }
        });
        core::future::poll_fn(|cx| vif.poll_ready(cx)).await;
        assert_eq!(vif.link(), Link::Down(Why::Backend(State::Closing)));
        assert!(!transmit(&mut vif, &bytes(1, 60)));
        assert!(vif.receive().is_none() && !vif.can_transmit(60));
        vif.flush();
        settle().await;
        assert_eq!(taken(), before, "even before it is dropped");
        assert_eq!(store::list(&format!("{}/device/vif", store::HOME)), [""; 0]);
        drop(vif);
        settle().await;
        assert_eq!(
            store::list(&format!("{}/device/vif", store::HOME)),
            [""; 0],
            "its keys stay away"
        );
        assert_eq!(
            Netfront::connect(0).await.unwrap_err(),
            failed(Failure::NoDevice { config: "vif" })
        );

        // And attached again, as `xl network-attach` does.
        let (wire, mut again) = pair();
        attach(Config::default(), wire);
        let mut vif = Netfront::connect(0).await.unwrap();
        assert!(transmit(&mut vif, &bytes(2, 60)));
        vif.flush();
        settle().await;
        assert_eq!(again.recv().unwrap().bytes, bytes(2, 60));
        assert_eq!(other.recv(), None);
    });
}

#[test]
fn a_backend_that_comes_late() {
    hosted::test(async || {
        Config::default().write_keys();
        spawn(async {
            sleep(Duration::from_secs(20)).await;
            // Another device in the place of the one that was waited for.
            let config = Config {
                mac: [2, 0, 0, 0, 0, 9],
                ..Config::default()
            };
            attach(config, pair().0);
        });
        let vif = Netfront::connect(0).await.unwrap();
        assert_eq!(vif.mac(), [2, 0, 0, 0, 0, 9]);
    });
}

#[test]
fn why_it_cannot_be_connected() {
    hosted::test(async || {
        settle().await;
        let before = taken();
        assert_eq!(
            Netfront::connect(0).await.unwrap_err(),
            failed(Failure::NoDevice { config: "vif" })
        );

        let config = Config::default();
        config.write_keys();
        let error = Netfront::connect(0).await.unwrap_err();
        assert_eq!(
            error,
            failed(Failure::BackendStuck {
                state: State::Initialising,
                driver: "xen-netback",
            })
        );
        assert_eq!(
            error.to_string(),
            "vif0: the backend is still at Initialising: is xen-netback loaded in its domain, and did its \
             hotplug script end well (/var/log/xen)?"
        );

        let backend = attach(
            Config {
                rx_copy: false,
                ..Config::default()
            },
            pair().0,
        );
        assert_eq!(Netfront::connect(0).await.unwrap_err(), Error::NoCopy(0));
        backend.detach();
        store::remove(&config.ends().front());
        settle().await;

        attach(Config::default(), pair().0);
        let mac = format!("{}/mac", config.ends().front());
        store::write(&mac, "ff:ff:ff:ff:ff:ff");
        let bad = Error::BadMac(0, "ff:ff:ff:ff:ff:ff".into());
        assert_eq!(Netfront::connect(0).await.unwrap_err(), bad);
        store::write_bytes(&mac, &[0xff]);
        assert_eq!(
            Netfront::connect(0).await.unwrap_err(),
            Error::BadMac(0, String::new())
        );
        settle().await;
        assert_eq!(taken(), before);
        store::write(&mac, "00:16:3e:00:00:01");
        Netfront::connect(0).await.unwrap();
    });
}

#[test]
fn a_backend_that_refuses() {
    hosted::test(async || {
        settle().await;
        let config = Config::default();
        config.write_keys();
        config.write_offers();
        let before = taken();
        let state = format!("{}/state", config.ends().back());
        store::write(&state, State::InitWait.text());
        spawn(async move {
            sleep(Duration::from_secs(1)).await;
            store::write(&state, State::Closed.text());
        });
        assert_eq!(
            Netfront::connect(0).await.unwrap_err(),
            failed(Failure::BackendRefused(State::Closed))
        );
        settle().await;
        assert_eq!(taken(), before);
    });
}

#[test]
fn given_up_in_the_middle() {
    hosted::test(async || {
        settle().await;
        attach(Config::default(), pair().0);
        let before = taken();
        // At every moment at which it waits for something.
        for polls in 0..100 {
            let connected = {
                let mut connecting = pin!(Netfront::connect(0));
                let mut left = polls;
                poll_fn(|cx| match connecting.as_mut().poll(cx) {
                    Poll::Ready(result) => Poll::Ready(Some(result.unwrap())),
                    Poll::Pending if left == 0 => Poll::Ready(None),
                    Poll::Pending => {
                        left -= 1;
                        Poll::Pending
                    }
                })
                .await
            };
            let done = connected.is_some();
            drop(connected);
            settle().await;
            assert_eq!(taken(), before, "after {polls} times");
            if done {
                assert!(polls > 5, "it takes some waiting");
                return;
            }
        }
        panic!("it never connected");
    });
}
