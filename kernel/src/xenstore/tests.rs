//! The client against the hosted xenstored, honest and not.

use super::*;
use crate::hosted::{self, store};
use crate::time::{Duration, sleep, timeout};
use proptest::prelude::*;

#[test]
fn reads_writes_and_lists() {
    hosted::test(async || {
        assert_eq!(read("data/x").await, Err(Error::Refused(Errno::ENOENT)));
        write("data/x", "1").await.unwrap();
        write("data/y", "").await.unwrap();
        assert_eq!(read("data/x").await.as_deref(), Ok("1"));
        assert_eq!(store::read("/local/domain/1/data/x").as_deref(), Some("1"));
        assert_eq!(directory("data").await.unwrap(), ["x", "y"]);
        remove("data").await.unwrap();
        assert_eq!(directory("data").await, Err(Error::Refused(Errno::ENOENT)));
    });
}

#[test]
fn what_cannot_be_sent_is_not() {
    hosted::test(async || {
        assert_eq!(read("a\0b").await, Err(Error::Unsendable));
        assert_eq!(write("a", &"x".repeat(4096)).await, Err(Error::Unsendable));
        write("a", &"x".repeat(4000)).await.unwrap();
        assert_eq!(
            read("a").await.unwrap().len(),
            4000,
            "more than the ring holds"
        );
    });
}

#[test]
fn many_at_once_are_told_apart() {
    hosted::test(async || {
        let tasks: Vec<_> = (0..200)
            .map(|i| {
                crate::run::spawn(async move {
                    let path = format!("data/{i}");
                    write(&path, &i.to_string()).await.unwrap();
                    read(&path).await.unwrap()
                })
            })
            .collect();
        for (i, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await, i.to_string());
        }
    });
}

#[test]
fn requests_go_out_with_the_call_and_in_order() {
    hosted::test(async || {
        let first = write("data/x", "1");
        let between = read("data/x");
        let second = write("data/x", "2");
        assert_eq!(
            between.await.as_deref(),
            Ok("1"),
            "awaited before the first"
        );
        assert_eq!(read("data/x").await.as_deref(), Ok("2"));
        assert_eq!((first.await, second.await), (Ok(()), Ok(())));
    });
}

#[test]
fn a_disturbed_transaction_is_tried_again() {
    hosted::test(async || {
        let mut tries = 0;
        transaction(async |tx| {
            tries += 1;
            tx.write("data/a", "1").await?;
            if tries < 3 {
                store::write("/local/domain/0/other", &tries.to_string());
            }
            tx.write("data/b", "2").await
        })
        .await
        .unwrap();
        assert_eq!(tries, 3);
        assert_eq!(read("data/b").await.as_deref(), Ok("2"));
    });
}

#[test]
fn a_failed_transaction_changes_nothing() {
    hosted::test(async || {
        let result: Result<(), _> = transaction(async |tx| {
            tx.write("data/a", "1").await?;
            Err(Error::Unexpected)
        })
        .await;
        assert_eq!(result, Err(Error::Unexpected));
        assert_eq!(read("data/a").await, Err(Error::Refused(Errno::ENOENT)));
    });
}

#[test]
fn a_transaction_that_nobody_waits_for_is_ended() {
    hosted::test(async || {
        for _ in 0..3 {
            let unwanted = transaction(async |tx| tx.write("data/a", "1").await);
            assert!(timeout(Duration::ZERO, unwanted).await.is_err());
        }
        sleep(Duration::from_millis(1)).await;
        assert_eq!(store::transactions(), 0);
        assert_eq!(read("data/a").await, Err(Error::Refused(Errno::ENOENT)));
    });
}

#[test]
fn watches_fire_and_are_given_back() {
    hosted::test(async || {
        // The domain's own watches are set by now.
        sleep(Duration::from_millis(1)).await;
        let before = store::watches();
        let mut watch = watch("data").await.unwrap();
        assert_eq!(store::watches(), before + 1);
        watch.changed().await.unwrap();
        assert!(
            timeout(Duration::from_secs(1), watch.changed())
                .await
                .is_err(),
            "nothing changed"
        );
        store::write("/local/domain/1/data/deep/key", "1");
        watch.changed().await.unwrap();
        store::write("/local/domain/1/other", "1");
        assert!(
            timeout(Duration::from_secs(1), watch.changed())
                .await
                .is_err()
        );
        store::remove("/local/domain/1/data");
        watch.changed().await.unwrap();
        drop(watch);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(store::watches(), before);
    });
}

#[test]
fn a_dropped_request_is_forgotten() {
    hosted::test(async || {
        drop(read("data"));
        assert!(timeout(Duration::ZERO, read("domid")).await.is_err());
        assert_eq!(
            read("domid").await.as_deref(),
            Ok("1"),
            "the late answer is not taken for this one's"
        );
    });
}

#[test]
fn a_bogus_producer_ends_the_connection_and_nothing_else() {
    hosted::test(async || {
        let waiting = crate::run::spawn(async { watch("data").await.unwrap().changed().await });
        sleep(Duration::from_millis(1)).await;
        let mut other = watch("other").await.unwrap();
        other.changed().await.unwrap();
        store::write_producer(123_456_789);
        assert_eq!(other.changed().await, Err(Error::Broken));
        assert!(waiting.await.is_ok(), "it had its first event before");
        assert_eq!(read("domid").await, Err(Error::Broken));
        assert!(hosted::console_text().contains("xenstored sent a ring index"));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever bytes xenstored sends, the domain goes on and every request gets an answer or an error.
    #[test]
    fn a_lying_xenstored_breaks_nothing(seed in prop::collection::vec((0usize..64, any::<u8>()), 0..40), cut in any::<bool>()) {
        hosted::test(async move || {
            let mut lies = seed.into_iter();
            store::mangle(Box::new(move |message| {
                if let Some((at, byte)) = lies.next() {
                    let at = at % message.len();
                    message[at] = byte;
                    if cut && byte < 32 {
                        message.truncate(at);
                    }
                }
            }));
            for i in 0..20 {
                let path = format!("data/{i}");
                // A lie may make the client wait for bytes that never come, so each has its time.
                let _ = timeout(Duration::from_secs(1), write(&path, "x")).await;
                let _ = timeout(Duration::from_secs(1), read(&path)).await;
                let _ = timeout(Duration::from_secs(1), directory("data")).await;
                let _ = timeout(Duration::from_secs(1), transaction(async |tx| tx.write("t", "1").await)).await;
                let _ = timeout(Duration::from_secs(1), async { watch("data").await?.changed().await }).await;
            }
        });
    }
}
