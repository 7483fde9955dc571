//! Each thing that a frontend must not do is a panic here.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the backend says when it is asked `what` by a guest, if it does not let that pass.
fn said(
    config: Config,
    medium: Medium,
    what: impl AsyncFnOnce(&mut Front) + Send + 'static,
) -> Option<String> {
    let guest = AssertUnwindSafe(|| {
        hosted::test(async move || {
            attach(config.clone(), &medium);
            let mut front = Front::connect_saying(&config, None, "0").await;
            what(&mut front).await;
            // What is sent without waiting is looked at too.
            sleep(Duration::from_secs(10)).await;
        });
    });
    let panic = catch_unwind(guest).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string()))
}

#[track_caller]
fn refused(config: Config, expected: &str, what: impl AsyncFnOnce(&mut Front) + Send + 'static) {
    let text = said(config, Medium::new(MIB).with_sector_size(1024), what);
    let text = text.unwrap_or_default();
    assert!(
        text.contains(expected),
        "{text:?} where {expected:?} was to be said"
    );
}

#[test]
fn what_makes_no_sense() {
    let send = |expected, request: fn(GrantRef, GrantRef) -> proto::Request| {
        refused(Config::default(), expected, async move |front| {
            let (own, lent) = (page(1), lent(1));
            let request = request(own.gref(), lent.gref());
            front.send(request);
            sleep(Duration::from_secs(1)).await;
        });
    };
    send("operation 9 does not exist", |_, _| direct(9, 0, &[]));
    send("0 segments", |_, _| direct(proto::OP_READ, 0, &[]));
    send("0 segments", |_, _| direct(proto::OP_WRITE, 0, &[]));
    send("12 segments", |own, _| {
        let mut request = direct(proto::OP_READ, 0, &[part(own, 0, 1)]);
        if let proto::Request::Direct(direct) = &mut request {
            direct.nr_segments = 12;
        }
        request
    });
    send("another disk", |own, _| {
        let mut request = direct(proto::OP_READ, 0, &[part(own, 0, 1)]);
        if let proto::Request::Direct(direct) = &mut request {
            direct.handle = 51728;
        }
        request
    });
    send("sectors 3 to 2", |own, _| {
        direct(proto::OP_READ, 0, &[part(own, 3, 2)])
    });
    send("sectors 0 to 8", |own, _| {
        direct(proto::OP_READ, 0, &[part(own, 0, 8)])
    });
    send("beyond the disk's end", |own, _| {
        direct(proto::OP_READ, 2046, &[part(own, 0, 3)])
    });
    send("beyond the disk's end", |own, _| {
        direct(proto::OP_READ, u64::MAX - 1, &[part(own, 0, 3)])
    });
    send("not whole sectors", |own, _| {
        direct(proto::OP_READ, 1, &[part(own, 0, 1)])
    });
    send("not whole sectors", |own, _| {
        direct(proto::OP_READ, 0, &[part(own, 0, 2)])
    });
    send("could not map", |_, lent| {
        direct(proto::OP_READ, 0, &[part(lent, 0, 1)])
    });
    send("could not map", |_, _| {
        direct(proto::OP_READ, 0, &[part(GrantRef(400), 0, 1)])
    });
    send("permits writing", |own, _| {
        direct(proto::OP_WRITE, 0, &[part(own, 0, 1)])
    });
    send("nothing to write", |own, _| {
        direct(proto::OP_FLUSH, 0, &[part(own, 0, 1)])
    });
    send("0 segments, where 256", |own, _| {
        indirect(proto::OP_READ, 0, own)
    });
    send("257 segments, where 256", |own, _| {
        indirect(proto::OP_READ, 257, own)
    });
    send("in an indirect request", |own, _| {
        indirect(proto::OP_FLUSH, 1, own)
    });
    send("secure discard", |_, _| discard(1, 0, 2));
    send("beyond the disk's end", |_, _| discard(0, 0, 4096));
    send("sectors in one request", |_, _| discard(0, 0, u64::MAX));
    send("not whole sectors", |_, _| discard(0, 1, 2));
}

fn part(gref: GrantRef, first: u8, last: u8) -> Segment {
    Segment { gref, first, last }
}

fn indirect(operation: u8, nr_segments: u16, list: GrantRef) -> proto::Request {
    proto::Request::Indirect(Indirect {
        operation,
        nr_segments,
        handle: 51712,
        id: 1,
        sector: 0,
        pages: [list; 8],
    })
}

fn discard(flag: u8, sector: u64, sectors: u64) -> proto::Request {
    proto::Request::Discard(Discard {
        flag,
        handle: 51712,
        id: 1,
        sector,
        sectors,
    })
}

#[test]
fn what_is_not_offered() {
    let bare = |expected, request: fn() -> proto::Request| {
        refused(Config::bare(), expected, async move |front| {
            front.send(request())
        });
    };
    bare("a flush, which is not offered", || {
        direct(proto::OP_FLUSH, 0, &[])
    });
    bare("a barrier, which is not offered", || {
        direct(proto::OP_WRITE_BARRIER, 0, &[])
    });
    bare("a discard, which is not offered", || discard(0, 0, 2));
    bare("1 segments, where 0", || {
        indirect(proto::OP_READ, 1, GrantRef(9))
    });
    let text = said(
        Config::default(),
        Medium::new(MIB).read_only(),
        async |front| {
            let lent = lent(1);
            front.send(direct(proto::OP_WRITE, 0, &[segment(&lent, 0, 1)]));
            sleep(Duration::from_secs(1)).await;
        },
    );
    assert!(text.unwrap().contains("read-only"));
}

#[test]
fn two_requests_have_nothing_in_common() {
    let slow = Config {
        delay: Duration::from_secs(1),
        ..Config::default()
    };
    refused(slow.clone(), "have the id", async |front| {
        let (one, two) = (page(1), page(2));
        front.send(direct(proto::OP_READ, 0, &[segment(&one, 0, 1)]));
        front.send(direct(proto::OP_READ, 0, &[segment(&two, 0, 1)]));
        sleep(Duration::from_secs(1)).await;
    });
    refused(slow, "have the page", async |front| {
        let one = page(1);
        front.send(direct(proto::OP_READ, 0, &[segment(&one, 0, 1)]));
        front.send(direct(proto::OP_READ, 2, &[segment(&one, 2, 3)]));
        sleep(Duration::from_secs(1)).await;
    });
}

#[test]
fn keys_that_blkback_would_refuse() {
    let keys = |expected, change: fn(&Front)| {
        refused(Config::default(), expected, async move |front| {
            front.write("state", State::Closed.text());
            sleep(Duration::from_millis(1)).await;
            front.write("state", State::Initialising.text());
            sleep(Duration::from_millis(1)).await;
            change(front);
            front.write("state", State::Initialised.text());
            sleep(Duration::from_millis(1)).await;
        });
    };
    keys("would read the ring as", |front| {
        front.write("protocol", "x86_32-abi")
    });
    keys("order 5, where 4", |front| {
        front.write("ring-page-order", "5")
    });
    keys("ring-ref0", |front| front.write("ring-page-order", "0"));
    keys("ring-ref", |front| front.write("ring-ref", "x"));
    keys("could not map", |front| front.write("ring-ref", "400"));
    keys("could not bind", |front| front.write("event-channel", "77"));
    let good = said(Config::default(), Medium::new(MIB), async |front| {
        let (own, lent) = (page(1), lent(1));
        assert_eq!(
            front
                .ask(direct(proto::OP_READ, 0, &[segment(&own, 0, 1)]))
                .await,
            RSP_OKAY
        );
        assert_eq!(
            front
                .ask(direct(proto::OP_WRITE, 0, &[segment(&lent, 0, 1)]))
                .await,
            RSP_OKAY
        );
    });
    assert_eq!(good, None);
}
