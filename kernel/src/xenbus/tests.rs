//! The handshake's steps against a toolstack and a backend that write xenstore by hand.

use super::{Frontend, State, list};
use crate::hosted::{self, store};
use crate::run::spawn;
use crate::time::{Duration, sleep, timeout};
use crate::xenstore::{Errno, Error};

const FRONT: &str = "/local/domain/1/device/vif/0";
const BACK: &str = "/local/domain/0/backend/vif/1/0";

fn toolstack() {
    store::write(&format!("{FRONT}/backend"), BACK);
    store::write(&format!("{FRONT}/backend-id"), "0");
    store::write(&format!("{FRONT}/mac"), "00:16:3e:00:00:01");
    store::write(&format!("{FRONT}/state"), "1");
    store::write(&format!("{BACK}/state"), "1");
}

#[test]
fn devices_are_listed() {
    hosted::test(async || {
        assert_eq!(list("vif").await, Ok(vec![]), "no directory is no devices");
        for name in ["10", "2", "0", "x", "-1"] {
            store::write(&format!("/local/domain/1/device/vif/{name}/state"), "1");
        }
        assert_eq!(list("vif").await, Ok(vec![0, 2, 10]));
    });
}

#[test]
fn a_handshake() {
    hosted::test(async || {
        toolstack();
        let mut device = Frontend::open("vif", 0).await.unwrap();
        assert_eq!(device.backend_id().0, 0);
        assert_eq!(
            device.read::<String>("mac").await.as_deref(),
            Some("00:16:3e:00:00:01")
        );
        assert!(!device.offers("feature-sg").await);

        spawn(async {
            sleep(Duration::from_secs(1)).await;
            store::write(&format!("{BACK}/feature-sg"), "1");
            store::write(&format!("{BACK}/state"), "2");
        });
        assert_eq!(
            device.wait_backend(|s| s == State::InitWait).await,
            Ok(State::InitWait)
        );
        assert!(device.offers("feature-sg").await);
        assert_eq!(
            device
                .offers_each(["feature-none", "feature-sg", "state"])
                .await,
            [false, true, false]
        );

        device
            .publish(
                &[("tx-ring-ref", "8".into()), ("event-channel", "3".into())],
                State::Connected,
            )
            .await
            .unwrap();
        assert_eq!(
            store::read(&format!("{FRONT}/tx-ring-ref")).as_deref(),
            Some("8")
        );
        assert_eq!(store::read(&format!("{FRONT}/state")).as_deref(), Some("4"));
    });
}

#[test]
fn a_device_that_was_taken_away_does_not_come_back() {
    hosted::test(async || {
        toolstack();
        let device = Frontend::open("vif", 0).await.unwrap();
        store::remove(FRONT);
        assert_eq!(
            device.publish(&[], State::Closed).await,
            Err(Error::Refused(Errno::ENOENT))
        );
        assert_eq!(store::read(&format!("{FRONT}/state")), None);
    });
}

#[test]
fn what_the_backend_writes_may_be_nonsense() {
    hosted::test(async || {
        toolstack();
        store::write(&format!("{FRONT}/backend-id"), "70000");
        assert!(Frontend::open("vif", 0).await.is_err());
        store::write(&format!("{FRONT}/backend-id"), "0");
        let mut device = Frontend::open("vif", 0).await.unwrap();
        for state in ["", "9", "four", "\u{ff}", "99999999999999999999"] {
            store::write(&format!("{BACK}/state"), state);
            assert_eq!(device.backend_state().await, State::Unknown);
        }
        store::write_bytes(&format!("{BACK}/state"), &[0xff, 0xfe]);
        assert_eq!(device.backend_state().await, State::Unknown);
        store::write(&format!("{BACK}/feature-sg"), "yes");
        assert!(!device.offers("feature-sg").await);
        store::remove(BACK);
        assert_eq!(device.backend_state().await, State::Unknown);
        let waiting = device.wait_backend(|s| s == State::Connected);
        assert!(
            timeout(Duration::from_secs(60), waiting).await.is_err(),
            "it waits, and does not spin"
        );
    });
}

#[test]
fn a_backend_is_not_gone_because_xenstored_is() {
    hosted::test(async || {
        toolstack();
        let mut device = Frontend::open("vif", 0).await.unwrap();
        store::write_producer(123_456_789);
        let gone = device.wait_backend(|s| s == State::Unknown).await;
        assert_eq!(gone, Err(Error::Broken));
    });
}

#[test]
fn a_device_gives_its_watch_back() {
    hosted::test(async || {
        toolstack();
        sleep(Duration::from_millis(1)).await;
        let before = store::watches();
        for _ in 0..100 {
            drop(Frontend::open("vif", 0).await.unwrap());
        }
        sleep(Duration::from_millis(1)).await;
        assert_eq!(store::watches(), before);
    });
}
