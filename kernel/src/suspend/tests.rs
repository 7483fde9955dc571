//! Both ways of going on, on the hosted domain.

use super::*;
use crate::addr::GrantRef;
use crate::event::Channel;
use crate::grant::{self, Access};
use crate::hosted::{self, BackendPort, DOM0, map_grant, store};
use crate::page::{self, Page};
use crate::time::{now, sleep, timeout};
use crate::xenstore::{self, Error};
use std::rc::Rc;

fn home(key: &str) -> Option<String> {
    store::read(&format!("{}/{key}", store::HOME))
}

const LONG: Duration = Duration::from_secs(100);

#[test]
fn in_place_all_goes_on() {
    hosted::test(async || {
        let channel = Channel::unbound(DOM0).unwrap();
        let shared = Page::new().unwrap().share(DOM0, Access::ReadWrite).unwrap();
        let mapped = map_grant(shared.gref(), true).unwrap();
        let back = BackendPort::bind(channel.port()).unwrap();
        channel.event().await;
        let mut watch = xenstore::watch("data").await.unwrap();
        watch.changed().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(home("control/feature-suspend").as_deref(), Some("1"));
        for round in 1..4 {
            hosted::checkpoint();
            let how = about_to().await.resumed().await;
            assert_eq!((how, count()), (Resumed::InPlace, round));
            assert_eq!(
                home("control/shutdown").as_deref(),
                Some(""),
                "acknowledged"
            );
            back.notify();
            channel.event().await;
            store::write(&format!("{}/data", store::HOME), "new");
            watch.changed().await.unwrap();
            assert_eq!(xenstore::read("data").await.as_deref(), Ok("new"));
        }
        let kept = shared.reclaim().unwrap_err();
        drop(mapped);
        assert!(kept.reclaim().is_ok());
        assert!(hosted::console_text().ends_with("suspend: InPlace\r\n"));
    });
}

#[test]
fn restored_nothing_outside_is_there_and_everything_can_be_had_again() {
    hosted::test(async || {
        let before = (grant::usage().0, hosted::ports());
        for round in 1..4 {
            let channel = Rc::new(Channel::unbound(DOM0).unwrap());
            let woken = crate::run::spawn({
                let channel = Rc::clone(&channel);
                async move { channel.event().await }
            });
            let shared = Page::new().unwrap().share(DOM0, Access::ReadWrite).unwrap();
            let mapped = map_grant(shared.gref(), true).unwrap();
            let back = BackendPort::bind(channel.port()).unwrap();
            woken.await;
            let mut watch = xenstore::watch("data").await.unwrap();
            watch.changed().await.unwrap();
            let port = channel.port();

            hosted::restore(|| store::write(&format!("{}/data", store::HOME), "there"));
            let how = about_to().await.resumed().await;
            assert_eq!((how, count()), (Resumed::Restored, round));

            assert_eq!(watch.changed().await, Err(Error::Restored));
            assert_eq!(watch.changed().await, Err(Error::Restored), "for good");
            drop(watch);
            // What had a number is another's now, and what is left of the old one does it no harm.
            let next = Channel::unbound(DOM0).unwrap();
            assert_eq!(next.port(), port);
            let other = BackendPort::bind(next.port()).unwrap();
            next.event().await;
            back.notify();
            assert!(timeout(LONG, next.event()).await.is_err());
            channel.notify();
            assert!(!other.take_pending());
            drop(channel);
            other.notify();
            next.event().await;
            drop((back, other, next));
            // Nobody can reach the page any more, so it is ours at once, and its entry is free.
            drop(mapped);
            assert!(map_grant(shared.gref(), false).is_err());
            assert!(shared.reclaim().is_ok());
            assert_eq!(page::leaked(), 0);
            assert_eq!(xenstore::read("data").await.as_deref(), Ok("there"));
            assert_eq!(store::watches(), 1, "the one on control/shutdown");
            assert_eq!((grant::usage().0, hosted::ports()), before);
        }
        assert_eq!(home("control/feature-poweroff").as_deref(), Some("1"));
        assert!(map_grant(GrantRef(8), false).is_err());
        assert!(
            hosted::console_text().ends_with("suspend: Restored\r\n"),
            "{}",
            hosted::console_text()
        );
    });
}

#[test]
fn it_is_held_off_but_not_for_ever() {
    hosted::test(async || {
        sleep(Duration::from_secs(1)).await;
        let held = hold();
        hosted::checkpoint();
        sleep(GRACE / 2).await;
        assert_eq!(count(), 0);
        drop(held);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(count(), 1);
        let _held = hold();
        hosted::checkpoint();
        let asked = now();
        let also = about_to().await;
        sleep(GRACE / 2).await;
        assert_eq!((also.resumed().await, count()), (Resumed::InPlace, 2));
        let took = now().since(asked);
        assert!((GRACE..GRACE * 2).contains(&took), "{took:?}");
        let text = hosted::console_text();
        assert!(
            text.contains("1 tasks still hold it off after 10 s"),
            "{text}"
        );
    });
}

#[test]
fn tasks_that_are_always_busy_do_not_hold_it_off() {
    hosted::test(async || {
        sleep(Duration::from_secs(1)).await;
        let busy = crate::run::spawn(async {
            while count() == 0 {
                crate::run::yield_now().await;
            }
        });
        let told = crate::run::spawn(async { about_to().await.resumed().await });
        hosted::checkpoint();
        busy.await;
        assert_eq!(told.await, Resumed::InPlace);
    });
}

/// A xenstored that has gone silent: what it would say later would be half of something.
#[test]
fn not_while_an_answer_is_owed() {
    hosted::test(async || {
        sleep(Duration::from_secs(1)).await;
        hosted::checkpoint();
        let _hold = about_to().await;
        let asked = xenstore::write("data/x", "1");
        assert!(!xenstore::is_quiet());
        asked.await.unwrap();
        assert!(xenstore::is_quiet());
        // It answers with half a message.
        store::mangle(Box::new(|message| message.truncate(7)));
        let never = xenstore::read("data/x");
        sleep(GRACE * 2).await;
        assert_eq!(count(), 0);
        drop(never);
        let text = hosted::console_text();
        assert!(text.contains("has owed an answer for 10 s"), "{text}");
    });
}

#[test]
fn a_transaction_is_not_cut_in_two() {
    hosted::test(async || {
        sleep(Duration::from_secs(1)).await;
        let mut lives = Vec::new();
        xenstore::transaction(async |tx| {
            tx.write("data/a", "1").await?;
            // Nothing is asked of xenstored for a while. (That something changed makes it a second try.)
            if lives.is_empty() {
                hosted::restore(|| ());
            }
            sleep(Duration::from_secs(3)).await;
            lives.push(count());
            tx.write("data/b", "1").await
        })
        .await
        .unwrap();
        assert_eq!(lives, [0, 0]);
        sleep(Duration::from_secs(3)).await;
        assert_eq!(count(), 1);
        assert_eq!(store::transactions(), 0);
    });
}

#[test]
fn time_stands_still_and_asking_twice_is_asking_once() {
    hosted::test(async || {
        sleep(Duration::from_secs(1)).await;
        let before = now();
        for _ in 0..3 {
            request();
        }
        let how = about_to().await.resumed().await;
        assert_eq!((how, count()), (Resumed::InPlace, 1));
        assert_eq!(now(), before);
        sleep(LONG).await;
        assert_eq!(count(), 1);
    });
}
