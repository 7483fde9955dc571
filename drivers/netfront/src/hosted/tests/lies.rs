//! Each lie that a backend can tell by itself, and then strings of them.

use super::{bytes, settle, transmit};
use crate::hosted::hostile::{self, Hostile};
use crate::hosted::{Config, fuzz};
use crate::proto::{
    EXTRA_MORE, Extra, RSP_ERROR, RSP_NULL, RSP_OKAY, RX_EXTRA_INFO, RX_MORE_DATA, RxResponse,
    TxResponse,
};
use crate::{Lie, Link, Netfront, Why};
use proptest::prelude::*;
use xenlet_kernel::abi::ring::RSP_PROD;
use xenlet_kernel::hosted;
use xenlet_kernel::page;
use xenlet_kernel::ring::BogusProducer;

/// Connects, has `tell` put something into the rings, and gives what the link is then.
async fn after(tell: impl FnOnce(&Hostile)) -> (Netfront, Link) {
    let netback = hostile::attach(Config::default(), Vec::new());
    let mut vif = Netfront::connect(0).await.unwrap();
    for i in 0..3 {
        assert!(transmit(&mut vif, &bytes(i, 60)));
    }
    vif.flush();
    tell(&netback);
    netback.device().tell(hostile::Rings::publish);
    while vif.receive().is_some() {}
    vif.flush();
    let link = vif.link();
    (vif, link)
}

/// The same, when it is a lie: the interface is closed, one line says why, and nothing is lost.
fn lie(told: Lie, tell: impl FnOnce(&Hostile) + Send + 'static) {
    hosted::test(async move || {
        let (mut vif, link) = after(tell).await;
        assert_eq!(link, Link::Down(Why::Lied(told)));
        assert!(!transmit(&mut vif, &bytes(1, 60)) && vif.receive().is_none());
        core::future::poll_fn(|cx| vif.poll_ready(cx)).await;
        settle().await;
        let line = format!("vif0: the backend broke the protocol: {told}");
        assert_eq!(hosted::console_text().matches(&line).count(), 1);
        assert_eq!(page::leaked(), 0);
        drop(vif);
        settle().await;
        let vif = Netfront::connect(0).await.unwrap();
        assert_eq!(vif.link(), Link::Up, "it can be connected again");
    });
}

/// Not a lie: the link stays up, and what can be told from the numbers.
fn no_lie(tell: impl FnOnce(&Hostile) + Send + 'static) -> crate::Stats {
    hosted::test(async move || {
        let (vif, link) = after(tell).await;
        assert_eq!(link, Link::Up);
        vif.stats()
    })
}

fn rx(id: u16, offset: u16, flags: u16, status: i16) -> impl FnOnce(&Hostile) + Send + 'static {
    move |netback| {
        netback.device().tell(|rings| {
            rings.rx.push(&RxResponse {
                id,
                offset,
                flags,
                status,
            });
        });
    }
}

fn tx(id: u16, status: i16) -> impl FnOnce(&Hostile) + Send + 'static {
    move |netback| {
        netback
            .device()
            .tell(|rings| rings.tx.push(&TxResponse { id, status }))
    }
}

/// Frames of these slots, each `(flags, status)`, with right ids; an extra where `Err`.
fn frame(slots: Vec<Result<(u16, i16), Extra>>) -> impl FnOnce(&Hostile) + Send + 'static {
    move |netback| {
        netback.device().tell(|rings| {
            for (id, slot) in (0..).zip(slots) {
                rings.rx.push(&match slot {
                    Ok((flags, status)) => RxResponse {
                        id,
                        offset: 0,
                        flags,
                        status,
                    },
                    Err(extra) => RxResponse::of_extra(extra),
                });
            }
        });
    }
}

#[test]
fn ids() {
    lie(Lie::RxId { due: 0, said: 1 }, rx(1, 0, 0, 60));
    lie(
        Lie::RxId {
            due: 0,
            said: 0xffff,
        },
        rx(0xffff, 0, 0, 60),
    );
    lie(Lie::TxId(3), tx(3, RSP_OKAY));
    lie(Lie::TxId(256), tx(256, RSP_OKAY));
    lie(Lie::TxId(0xffff), tx(0xffff, RSP_ERROR));
    lie(Lie::TxId(0), |netback| {
        tx(0, RSP_OKAY)(netback);
        tx(0, RSP_OKAY)(netback);
    });
}

#[test]
fn bounds_and_statuses() {
    lie(
        Lie::RxOutside {
            offset: 4096,
            len: 1,
        },
        rx(0, 4096, 0, 1),
    );
    lie(
        Lie::RxOutside {
            offset: 0xffff,
            len: 0x7fff,
        },
        rx(0, 0xffff, 0, 0x7fff),
    );
    lie(
        Lie::RxOutside {
            offset: 1,
            len: 4096,
        },
        rx(0, 1, 0, 4096),
    );
    lie(Lie::TxStatus(2), tx(0, 2));
    lie(Lie::TxStatus(i16::MAX), tx(0, i16::MAX));
    lie(Lie::TxNull, tx(0, RSP_NULL));

    assert_eq!(no_lie(rx(0, 0, 0, 4096)).rx_frames, 1);
    assert_eq!(no_lie(rx(0, 4095, 0, 0)).rx_too_short, 1);
    assert_eq!(no_lie(rx(0, 0xffff, 0, RSP_ERROR)).rx_refused, 1);
    assert_eq!(no_lie(rx(0, 0, 0, i16::MIN)).rx_refused, 1);
    assert_eq!(no_lie(tx(1, i16::MIN)).tx_refused, 1);
}

#[test]
fn producers() {
    lie(
        Lie::RxProducer(BogusProducer {
            prod: 65,
            cons: 0,
            outstanding: 64,
        }),
        |netback| {
            netback
                .device()
                .tell(|rings| rings.rx.pages()[0].as_ref().store_release(RSP_PROD, 65))
        },
    );
    lie(
        Lie::TxProducer(BogusProducer {
            prod: 4,
            cons: 0,
            outstanding: 3,
        }),
        |netback| {
            netback
                .device()
                .tell(|rings| rings.tx.pages()[0].as_ref().store_release(RSP_PROD, 4))
        },
    );
    lie(
        Lie::TxProducer(BogusProducer {
            prod: u32::MAX,
            cons: 0,
            outstanding: 3,
        }),
        |netback| {
            netback.device().tell(|rings| {
                rings.tx.pages()[0]
                    .as_ref()
                    .store_release(RSP_PROD, u32::MAX)
            })
        },
    );
}

#[test]
fn chains() {
    let more = |n: usize| vec![Ok((RX_MORE_DATA, 100)); n];
    lie(Lie::RxEndless, frame(more(19)));
    lie(Lie::RxEndless, frame(vec![Ok((RX_MORE_DATA, 0)); 19]));
    lie(
        Lie::RxStrayExtra,
        frame([more(1), vec![Ok((RX_EXTRA_INFO, 100))]].concat()),
    );
    let again = Extra {
        flags: EXTRA_MORE,
        ..Extra::gso(1, 1448)
    };
    lie(
        Lie::RxExtras,
        frame([vec![Ok((RX_EXTRA_INFO, 100))], vec![Err(again); 5]].concat()),
    );

    let ends = |slots: Vec<_>| frame([slots, vec![Ok((0, 100))]].concat());
    let stats = no_lie(ends(more(17)));
    assert_eq!((stats.rx_frames, stats.rx_bytes), (1, 1800));
    assert_eq!(
        no_lie(ends(vec![Ok((RX_MORE_DATA, 4096)); 17])).rx_too_long,
        1
    );
    assert_eq!(
        no_lie(ends(vec![Ok((RX_MORE_DATA, RSP_ERROR)); 2])).rx_refused,
        1
    );
    assert_eq!(
        no_lie(frame(more(5))).rx_frames,
        0,
        "the rest may still come"
    );

    for (kind, size, expected) in [
        (0, 1448, 0),
        (3, 1448, 0),
        (1, 0, 0),
        (1, 1448, 1),
        (2, 1, 1),
    ] {
        let slots = vec![
            Ok((RX_EXTRA_INFO, 100)),
            Err(Extra::gso(kind, size)),
            Ok((0, 60)),
        ];
        let stats = no_lie(frame(slots));
        assert_eq!(
            stats.rx_frames,
            1 + expected,
            "GSO of type {kind}, size {size}"
        );
        assert_eq!(stats.rx_unknown_extra, 1 - expected);
    }
    for (kind, expected) in [(0, 0), (2, 1), (3, 1), (4, 1), (5, 0), (255, 0)] {
        let extra = Extra {
            kind,
            flags: 0,
            body: [0xff; 6],
        };
        let stats = no_lie(frame(vec![
            Ok((RX_EXTRA_INFO, 100)),
            Err(extra),
            Ok((0, 60)),
        ]));
        assert_eq!(stats.rx_frames, 1 + expected, "extra of type {kind}");
    }
}

#[test]
fn an_unknown_extra_in_a_large_frame_drops_all_of_it() {
    let extra = Extra {
        kind: 9,
        flags: 0,
        body: [0; 6],
    };
    let slots = vec![
        Ok((RX_EXTRA_INFO | RX_MORE_DATA, 4096)),
        Err(extra),
        Ok((RX_MORE_DATA, 4096)),
        Ok((0, 4096)),
        Ok((0, 60)),
    ];
    let stats = no_lie(frame(slots));
    assert_eq!((stats.rx_unknown_extra, stats.rx_bytes), (1, 60));
}

#[test]
fn a_page_that_is_still_mapped() {
    hosted::test(async || {
        // Nothing to say of the handshake's four steps. Step 9 with an even byte: answers a receive request and keeps its page.
        let netback = hostile::attach(Config::default(), vec![0, 0, 0, 0, 9, 0]);
        let mut vif = Netfront::connect(0).await.unwrap();
        settle().await;
        assert!(vif.receive().is_none());
        assert_eq!(vif.link(), Link::Down(Why::Lied(Lie::RxPageKept)));
        vif.close().await;
        assert_eq!(
            (netback.kept(), page::leaked()),
            (1, 1),
            "one page, and no more"
        );
    });
}

#[test]
fn lies_are_told_without_end_and_logged_with_one() {
    hosted::test(async || {
        let netback = hostile::attach(Config::default(), Vec::new());
        for _ in 0..100 {
            let mut vif = Netfront::connect(0).await.unwrap();
            netback
                .device()
                .tell(|rings| rings.tx.push(&TxResponse { id: 1, status: 0 }));
            netback.device().tell(hostile::Rings::publish);
            vif.flush();
            assert_ne!(vif.link(), Link::Up);
            vif.close().await;
        }
        let lines = hosted::console_text().matches("broke the protocol").count();
        assert!((1..20).contains(&lines), "{lines} lines");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever a netback does.
    #[test]
    fn nothing_that_a_netback_does_ends_the_guest(script in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz(&script);
    }

    /// The same, mostly honest: longer lives.
    #[test]
    fn nor_what_it_does_later(script in prop::collection::vec(
        prop_oneof![8 => Just(5u8), 8 => Just(13), 4 => Just(0), 1 => any::<u8>()], 0..400,
    )) {
        fuzz(&script);
    }
}
