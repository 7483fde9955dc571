//! Keys, by a host that types what it likes and reads when it likes.

use super::{key, print};
use crate::hosted::{self, console_text, lie_about_keys, type_keys};
use crate::run::spawn;
use crate::time::{Duration, sleep, timeout};

/// How long everything that can happen takes.
const MOMENT: Duration = Duration::from_millis(10);

#[test]
fn a_key_is_for_who_waits() {
    hosted::test(async || {
        assert_eq!(type_keys(b"xyz"), 3);
        sleep(MOMENT).await;
        assert!(
            timeout(MOMENT, key()).await.is_err(),
            "those came too early"
        );
        let waiting = spawn(key());
        sleep(MOMENT).await;
        type_keys(b"mn");
        assert_eq!(waiting.await, b'm', "the first one");
        assert!(
            timeout(MOMENT, key()).await.is_err(),
            "and the rest is gone"
        );
    });
}

#[test]
fn a_flood_of_keys_costs_nothing() {
    hosted::test(async || {
        for _ in 0..1000 {
            let waiting = spawn(key());
            sleep(MOMENT).await;
            assert_eq!(type_keys(&[b'k'; 4096]), 1024, "the ring was emptied");
            assert_eq!(waiting.await, b'k');
        }
    });
}

#[test]
fn indices_that_make_no_sense_are_no_key() {
    hosted::test(async || {
        let mut waiting = spawn(key());
        for (read, typed) in [
            (0, 1025),
            (7, 6),
            (0, u32::MAX),
            (u32::MAX - 5, 5000),
            (9, 9),
        ] {
            lie_about_keys(read, typed);
            sleep(MOMENT).await;
        }
        assert!(timeout(MOMENT, &mut waiting).await.is_err());
        // Around the end of the indices, and of the ring.
        lie_about_keys(u32::MAX, u32::MAX);
        sleep(MOMENT).await;
        type_keys(b"m");
        assert_eq!(waiting.await, b'm');
    });
}

#[test]
fn a_text_much_longer_than_the_backlog_comes_out_whole() {
    hosted::test(async || {
        let lines: Vec<String> = (0..2000).map(|n| format!("line {n} of many")).collect();
        print(&lines.join("\n")).await;
        // The last of it is still on its way.
        sleep(MOMENT).await;
        let text = console_text();
        let out: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("line "))
            .collect();
        assert!(out == lines, "{} of {} lines", out.len(), lines.len());
        assert!(!text.contains("were lost"));
    });
}
