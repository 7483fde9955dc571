//! What the page types promise, against a peer that maps.

use super::{LentPages, Page, SharedPage, leaked};
use crate::addr::PAGE_SIZE;
use crate::grant::{
    self,
    Access::{ReadOnly, ReadWrite},
};
use crate::{hosted, platform};
use proptest::prelude::*;

#[test]
fn a_page_is_zero_even_if_used_before() {
    hosted::test(async || {
        let mut page = Page::new().unwrap();
        page.fill(7);
        drop(page);
        assert!((0..64).all(|_| Page::new().unwrap().iter().all(|b| *b == 0)));
    });
}

fn share(page: Page) -> SharedPage {
    page.share(hosted::DOM0, ReadWrite).unwrap()
}

fn secret() -> Page {
    let mut page = Page::new().unwrap();
    hosted::mark_secret(&mut page[4000..]);
    page
}

fn caught(body: fn()) -> bool {
    std::panic::catch_unwind(|| hosted::test(async move || body())).is_err()
}

/// What fuzzers rely on: the hosted Xen notices.
#[test]
fn a_page_that_nobody_owns_is_noticed_when_a_peer_sees_it() {
    assert!(!caught(|| drop(hosted::map_grant(
        share(Page::new().unwrap()).gref(),
        true
    ))));
    assert!(caught(|| drop(hosted::map_grant(
        share(secret()).gref(),
        true
    ))));
    assert!(caught(|| {
        let _shared = share(secret());
        hosted::assert_wiped();
    }));
    // Freed while it is mapped.
    assert!(caught(|| {
        let shared = share(Page::new().unwrap());
        let mapped = hosted::map_grant(shared.gref(), true).unwrap();
        mapped.as_ref().write(0, b"nobody's page...");
        drop(mapped);
    }));
    // Revoked while it is mapped.
    assert!(caught(|| {
        let shared = share(Page::new().unwrap());
        let mapped = hosted::map_grant(shared.gref(), true).unwrap();
        grant::permit(shared.gref(), ReadOnly);
        assert!(shared.reclaim().is_ok());
        drop(mapped);
    }));
}

#[test]
fn shared_both_ways_and_back() {
    hosted::test(async || {
        let mut page = Page::new().unwrap();
        page[5] = 5;
        let shared = page.share(hosted::DOM0, ReadWrite).unwrap();
        let mapped = hosted::map_grant(shared.gref(), true).unwrap();
        let mut byte = [0];
        mapped.as_ref().read(5, &mut byte);
        assert_eq!(byte, [5]);
        mapped.as_ref().write(PAGE_SIZE - 1, &[9]);
        let shared = shared.reclaim().expect_err("the peer has it mapped");
        drop(mapped);
        let page = shared.reclaim().expect("the peer let go");
        assert_eq!((page[5], page[PAGE_SIZE - 1]), (5, 9));
        assert_eq!(leaked(), 0);
    });
}

#[test]
fn a_page_that_the_peer_holds_is_never_used_again() {
    hosted::test(async || {
        let shared = Page::new().unwrap().share(hosted::DOM0, ReadWrite).unwrap();
        let mapped = hosted::map_grant(shared.gref(), true).unwrap();
        drop(shared);
        assert_eq!(leaked(), 1);
        let others: Vec<_> = (0..64).map(|_| Page::new().unwrap()).collect();
        mapped.as_ref().write(0, &[1; 64]);
        assert!(others.iter().all(|p| p.iter().all(|b| *b == 0)));
    });
}

#[test]
fn lent_pages_are_read_only() {
    hosted::test(async || {
        let mut run = LentPages::new(3, hosted::DOM0).unwrap();
        run.bytes_mut(4090..4100).copy_from_slice(b"0123456789");
        assert!(hosted::map_grant(run.gref(1), true).is_err(), "no writing");
        let mapped = hosted::map_grant(run.gref(1), false).unwrap();
        let mut bytes = [0; 4];
        mapped.as_ref().read(0, &mut bytes);
        assert_eq!(&bytes, b"6789");
        drop(run);
        assert_eq!(leaked(), 3, "one mapped page keeps the run");
    });
}

#[test]
fn lent_pages_are_granted_as_they_are_written() {
    hosted::test(async || {
        let mut run = LentPages::new(3, hosted::DOM0).unwrap();
        assert!(hosted::map_grant(run.gref(0), false).is_err(), "not yet");
        run.bytes_mut(PAGE_SIZE..PAGE_SIZE + 2)
            .copy_from_slice(b"ab");
        let mapped = hosted::map_grant(run.gref(0), false).unwrap();
        let mut bytes = [1; PAGE_SIZE];
        mapped.as_ref().read(0, &mut bytes);
        assert_eq!(bytes, [0; PAGE_SIZE], "nothing of what was there before");
        assert!(hosted::map_grant(run.gref(2), false).is_err(), "not yet");
        drop(mapped);
        drop(run);
        assert_eq!((grant::usage().0, leaked()), (0, 0));
    });
}

#[test]
#[should_panic(expected = "out of bounds")]
fn nothing_is_written_beyond_a_run() {
    hosted::test(async || {
        let mut run = LentPages::new(3, hosted::DOM0).unwrap();
        run.bytes_mut(3 * PAGE_SIZE..3 * PAGE_SIZE + 1)[0] = 1;
    });
}

#[test]
fn a_run_that_the_grant_table_has_no_room_for_leaves_nothing() {
    hosted::test(async || {
        let page = Page::new().unwrap();
        let mut grefs = Vec::new();
        while let Ok(gref) = grant::grant(hosted::DOM0, platform::frame_of(page.0), ReadOnly) {
            grefs.push(gref);
        }
        for gref in grefs.split_off(grefs.len() - 2) {
            grant::revoke(gref).unwrap();
        }
        let before = grant::usage();
        assert!(LentPages::new(3, hosted::DOM0).is_err(), "room for two");
        assert_eq!((grant::usage(), leaked()), (before, 0));
        assert_eq!(
            LentPages::new(2, hosted::DOM0).map(|run| run.count()),
            Ok(2)
        );
        for gref in grefs {
            grant::revoke(gref).unwrap();
        }
    });
}

#[test]
fn a_revoked_grant_is_of_no_use() {
    hosted::test(async || {
        let shared = Page::new().unwrap().share(hosted::DOM0, ReadWrite).unwrap();
        let gref = shared.gref();
        drop(shared);
        assert!(hosted::map_grant(gref, false).is_err());
    });
}

/// A backend that holds a page of the guest's for ever.
struct Holds(#[expect(dead_code, reason = "held")] hosted::MappedPage);

impl hosted::Backend for Holds {
    fn poll(&mut self) -> bool {
        false
    }
}

#[test]
#[should_panic(expected = "on purpose")]
fn a_panic_while_pages_are_shared_is_that_panic() {
    hosted::test(async || {
        let shared = Page::new().unwrap().share(hosted::DOM0, ReadWrite).unwrap();
        let mapped = hosted::map_grant(shared.gref(), true).unwrap();
        hosted::add_backend(Box::new(Holds(mapped)));
        crate::run::spawn(async move {
            crate::time::sleep(crate::time::Duration::from_secs(1)).await;
            drop(shared);
        });
        panic!("on purpose");
    });
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Share,
    Map(usize, bool),
    Unmap(usize),
    Reclaim(usize),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Share),
        (any::<usize>(), any::<bool>()).prop_map(|(i, write)| Step::Map(i, write)),
        any::<usize>().prop_map(Step::Unmap),
        any::<usize>().prop_map(Step::Reclaim),
        any::<usize>().prop_map(Step::Drop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the order: a page comes back exactly when nobody has it mapped, and grants and leaks add up.
    #[test]
    fn pages_and_grants_add_up(steps in prop::collection::vec(step(), 0..200)) {
        hosted::test(async move || {
            let (before, _) = grant::usage();
            // Each shared page with what the peer has mapped of it.
            let mut shared: Vec<(SharedPage, Vec<hosted::MappedPage>)> = Vec::new();
            let (mut held, mut lost) = (Vec::new(), 0);
            for step in steps {
                let at = |i: usize| i.checked_rem(shared.len());
                match step {
                    Step::Share => {
                        shared.push((Page::new().unwrap().share(hosted::DOM0, ReadWrite).unwrap(), Vec::new()));
                    }
                    Step::Map(i, write) => {
                        if let Some((page, maps)) = at(i).map(|i| &mut shared[i]) {
                            maps.push(hosted::map_grant(page.gref(), write).unwrap());
                        }
                    }
                    Step::Unmap(i) => {
                        if let Some((_, maps)) = at(i).map(|i| &mut shared[i]) {
                            maps.pop();
                        }
                    }
                    Step::Reclaim(i) => {
                        if let Some((page, maps)) = at(i).map(|i| shared.swap_remove(i)) {
                            match page.reclaim() {
                                Ok(_) => assert!(maps.is_empty()),
                                Err(page) => {
                                    assert!(!maps.is_empty());
                                    shared.push((page, maps));
                                }
                            }
                        }
                    }
                    Step::Drop(i) => {
                        if let Some((page, maps)) = at(i).map(|i| shared.swap_remove(i)) {
                            drop(page);
                            if !maps.is_empty() {
                                lost += 1;
                                held.push(maps);
                            }
                        }
                    }
                }
                assert_eq!(leaked(), lost);
                assert_eq!(grant::usage().0 - before, shared.len() + lost);
            }
        });
    }
}
