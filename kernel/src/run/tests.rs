//! The loop and its executor, by the test's clock.

use super::{Notify, spawn, yield_now};
use crate::hosted::{self, Config, store};
use crate::shutdown::{self, Reason};
use crate::time::{Duration, Instant, now, sleep, timeout};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

#[test]
fn tasks_run_and_give_their_results() {
    hosted::test(async || {
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = [30, 10, 20]
            .map(|ms| {
                let order = Rc::clone(&order);
                spawn(async move {
                    sleep(Duration::from_millis(ms)).await;
                    order.borrow_mut().push(ms);
                    ms
                })
            })
            .into();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await);
        }
        assert_eq!(results, [30, 10, 20]);
        assert_eq!(*order.borrow(), [10, 20, 30]);
    });
}

#[test]
fn time_stands_still_while_tasks_run_and_jumps_when_they_wait() {
    hosted::test(async || {
        let start = now();
        for _ in 0..1000 {
            yield_now().await;
        }
        assert_eq!(now(), start);
        sleep(Duration::from_secs(86_400)).await;
        assert_eq!(now().since(start), Duration::from_secs(86_400));
    });
}

#[test]
fn a_task_that_never_waits_does_not_stop_the_others() {
    hosted::test(async || {
        let stop = Rc::new(Cell::new(false));
        let busy = {
            let stop = Rc::clone(&stop);
            spawn(async move {
                let mut rounds = 0u32;
                while !stop.get() {
                    rounds += 1;
                    yield_now().await;
                }
                rounds
            })
        };
        // Xenstore needs events to be looked at while the other task is always ready.
        crate::xenstore::write("data/x", "1").await.unwrap();
        for _ in 0..10 {
            yield_now().await;
        }
        stop.set(true);
        assert!(busy.await >= 10);
    });
}

#[test]
fn a_timeout_drops_what_it_waited_for() {
    hosted::test(async || {
        let held = Rc::new(());
        let inside = Rc::clone(&held);
        let result = timeout(Duration::from_secs(1), async move {
            let _inside = inside;
            core::future::pending::<()>().await;
        })
        .await;
        assert!(result.is_err());
        assert_eq!(Rc::strong_count(&held), 1);
        assert_eq!(
            timeout(Duration::ZERO, async { 7 }).await,
            Ok(7),
            "what is ready wins"
        );
    });
}

#[test]
fn timers_are_given_back() {
    hosted::test(async || {
        let before = crate::time::next_deadline();
        for _ in 0..1000 {
            let _ = timeout(Duration::from_secs(1000), yield_now()).await;
        }
        assert_eq!(crate::time::next_deadline(), before);
    });
}

#[test]
fn a_cancelled_task_is_dropped_and_a_detached_one_goes_on() {
    hosted::test(async || {
        let held = Rc::new(Cell::new(0));
        let (a, b) = (Rc::clone(&held), Rc::clone(&held));
        let cancelled = spawn(async move {
            core::future::pending::<()>().await;
            a.set(1);
        });
        drop(spawn(async move {
            sleep(Duration::from_secs(1)).await;
            b.set(b.get() + 2);
        }));
        yield_now().await;
        cancelled.cancel();
        sleep(Duration::from_secs(2)).await;
        assert_eq!((held.get(), Rc::strong_count(&held)), (2, 1));
    });
}

#[test]
fn a_notification_is_not_lost_and_does_not_pile_up() {
    hosted::test(async || {
        let place = Rc::new(Notify::new());
        place.notify();
        place.notify();
        place.notified().await;
        assert!(
            timeout(Duration::from_secs(1), place.notified())
                .await
                .is_err()
        );
        let other = Rc::clone(&place);
        spawn(async move {
            sleep(Duration::from_secs(1)).await;
            other.notify();
        });
        place.notified().await;
    });
}

#[test]
fn waiting_for_nothing_is_found_out() {
    let ended = hosted::run(Config::default(), async || {
        // Even the toolstack's request can only come by xenstore; nothing here will ever send one.
        core::future::pending::<()>().await;
    });
    assert_eq!((ended.reason, ended.value), (Reason::Crash, None));
    assert!(
        ended.console.contains("every task waits"),
        "{}",
        ended.console
    );
}

/// A backend that plays the toolstack: at a moment, it writes a request.
struct Toolstack {
    at: Instant,
    request: Option<&'static str>,
}

impl hosted::Backend for Toolstack {
    fn poll(&mut self) -> bool {
        if now() < self.at {
            return false;
        }
        let Some(request) = self.request.take() else {
            return false;
        };
        store::write("/local/domain/1/control/shutdown", request);
        true
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.request.map(|_| self.at)
    }
}

fn after(secs: u64, request: &'static str) {
    let at = now() + Duration::from_secs(secs);
    hosted::add_backend(Box::new(Toolstack {
        at,
        request: Some(request),
    }));
}

#[test]
fn the_toolstack_asks_and_the_application_ends_in_time() {
    for (request, reason) in [
        ("poweroff", Reason::Poweroff),
        ("reboot", Reason::Reboot),
        ("halt", Reason::Halt),
    ] {
        let ended = hosted::run(Config::default(), async move || {
            after(5, request);
            let start = now();
            let asked = shutdown::requested().await;
            assert_eq!(
                shutdown::requested().await,
                asked,
                "whoever asks later is told too"
            );
            assert_eq!(now().since(start), Duration::from_secs(5));
            sleep(Duration::from_secs(1)).await;
            assert_eq!(
                store::read("/local/domain/1/control/shutdown").as_deref(),
                Some(""),
                "acknowledged"
            );
        });
        assert_eq!((ended.reason, ended.value), (reason, Some(())));
    }
}

#[test]
fn an_application_that_does_not_end_is_ended() {
    let config = Config {
        command_line: "shutdown_secs=3".into(),
        ..Config::default()
    };
    let ended = hosted::run(config, async || {
        after(5, "reboot");
        let asked = shutdown::requested().await;
        assert_eq!(asked, Reason::Reboot);
        sleep(Duration::from_secs(1_000_000)).await;
    });
    assert_eq!((ended.reason, ended.value), (Reason::Reboot, None));
    assert!(
        ended.console.contains("[    8."),
        "three seconds later: {}",
        ended.console
    );
    assert!(ended.console.contains("time is over"), "{}", ended.console);
}

#[test]
fn only_the_first_request_counts_and_is_logged() {
    let ended = hosted::run(Config::default(), async || {
        spawn(shutdown::requested());
        after(1, "poweroff");
        after(2, "reboot");
        after(3, "poweroff");
        sleep(Duration::from_secs(2)).await;
        let deadline = shutdown::deadline();
        sleep(Duration::from_secs(2)).await;
        assert_eq!(shutdown::deadline(), deadline);
    });
    assert_eq!((ended.reason, ended.value), (Reason::Poweroff, Some(())));
    let said = ended.console.matches("the toolstack asks for").count();
    assert_eq!(said, 1, "{}", ended.console);
}

#[test]
fn an_application_that_does_not_ask_is_ended_at_once() {
    let ended = hosted::run(Config::default(), async || {
        after(5, "poweroff");
        sleep(Duration::from_secs(1_000_000)).await;
    });
    assert_eq!((ended.reason, ended.value), (Reason::Poweroff, None));
    assert!(ended.console.contains("[    5."), "{}", ended.console);
}

#[test]
fn a_request_that_is_none_is_said_and_forgotten() {
    let ended = hosted::run(Config::default(), async || {
        after(1, "explode");
        after(2, "\u{1b}[2J");
        sleep(Duration::from_secs(10)).await;
        assert_eq!(shutdown::pending(), None);
    });
    assert_eq!(ended.value, Some(()));
    assert!(
        ended.console.contains("`explode` is not something"),
        "{}",
        ended.console
    );
    assert!(!ended.console.contains('\u{1b}'));
}

#[test]
fn a_failed_main_says_why() {
    let ended = hosted::run(Config::default(), async || ());
    assert_eq!(ended.reason, Reason::Poweroff);
    let failed = super::Termination::failure(&Err::<(), _>("no address"));
    assert_eq!(failed.as_deref(), Some("no address"));
}
