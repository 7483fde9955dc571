//! The ring's two halves against each other, a model, and a liar.

use super::{BackRing, BogusProducer, FrontRing, Protocol, slots};
use crate::abi::ring::RSP_PROD;
use crate::hosted::{self, DOM0, MappedPage, map_grant};
use crate::page::SharedPage;
use proptest::prelude::*;
use std::collections::VecDeque;

#[derive(Debug)]
struct Numbers;

impl Protocol for Numbers {
    type Request = u64;
    type Response = u32;
    type Slot = [u8; 20];
    const EMPTY: [u8; 20] = [0; 20];

    fn emit_request(request: &u64, slot: &mut [u8; 20]) {
        slot[..8].copy_from_slice(&request.to_le_bytes());
    }
    fn parse_request(slot: &[u8; 20]) -> u64 {
        u64::from_le_bytes(slot[..8].try_into().unwrap())
    }
    fn emit_response(response: &u32, slot: &mut [u8; 20]) {
        slot[..4].copy_from_slice(&response.to_le_bytes());
    }
    fn parse_response(slot: &[u8; 20]) -> u32 {
        u32::from_le_bytes(slot[..4].try_into().unwrap())
    }
}

fn pair(
    pages: usize,
) -> (
    FrontRing<Numbers, SharedPage>,
    BackRing<Numbers, MappedPage>,
) {
    let front = FrontRing::shared(pages, DOM0).unwrap();
    let map = |page: &SharedPage| map_grant(page.gref(), true).unwrap();
    let back = BackRing::new(front.pages().iter().map(map).collect());
    (front, back)
}

#[test]
fn slots_are_a_power_of_two_that_fits() {
    // (4096 - 64) / 20 = 201, and so on; of two pages, slot 201 is on both.
    let fit = [1, 2, 3, 4, 16].map(slots::<Numbers>);
    assert_eq!(fit, [128, 256, 512, 512, 2048]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(u8),
    Publish,
    Take(u8),
    Answer,
    Pop(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u8>().prop_map(Step::Ask),
        Just(Step::Publish),
        any::<u8>().prop_map(Step::Take),
        Just(Step::Answer),
        any::<u8>().prop_map(Step::Pop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Everything asked arrives once, in order, and so does every answer, whoever is ahead.
    #[test]
    fn nothing_is_lost_or_doubled(pages in 1usize..5, steps in prop::collection::vec(step(), 0..600)) {
        hosted::test(async move || {
            let (mut front, mut back) = pair(pages);
            let (mut asked, mut taken) = (0u64, 0u64);
            let mut held = VecDeque::new();
            let mut popped = 0u32;
            for step in steps {
                match step {
                    Step::Ask(n) => {
                        for _ in 0..u32::from(n).min(front.free()) {
                            front.push(&asked);
                            asked += 1;
                        }
                    }
                    Step::Publish => {
                        let _ = front.publish();
                    }
                    Step::Take(n) => {
                        for _ in 0..n {
                            let Some(request) = back.pop().unwrap() else { break };
                            assert_eq!(request, taken);
                            held.push_back(request as u32);
                            taken += 1;
                        }
                    }
                    Step::Answer => {
                        for number in held.drain(..) {
                            back.push(&number);
                        }
                        let _ = back.publish();
                    }
                    Step::Pop(n) => {
                        for _ in 0..n {
                            let Some(response) = front.pop().unwrap() else { break };
                            assert_eq!(response, popped);
                            popped += 1;
                        }
                    }
                }
                assert!(front.free() <= slots::<Numbers>(pages));
                assert!(u64::from(popped) <= taken && taken <= asked);
            }
        });
    }

    /// A producer index beyond what is outstanding is refused, whatever it is; any other is believed.
    #[test]
    fn a_bogus_producer_is_refused(asked in 0u32..=128, claimed in any::<u32>()) {
        hosted::test(async move || {
            let (mut front, back) = pair(1);
            for i in 0..asked {
                front.push(&i.into());
            }
            let _ = front.publish();
            back.pages()[0].as_ref().store_release(RSP_PROD, claimed);
            let expected = BogusProducer { prod: claimed, cons: 0, outstanding: asked };
            if claimed > asked {
                assert_eq!(front.pop(), Err(expected));
                assert_eq!(front.arm(1), Err(expected));
            } else {
                assert_eq!(front.available(), Ok(claimed));
            }
        });
    }
}

#[test]
fn unpublished_requests_do_not_count_as_outstanding() {
    hosted::test(async || {
        let (mut front, back) = pair(1);
        front.push(&1);
        back.pages()[0].as_ref().store_release(RSP_PROD, 1);
        assert!(
            front.pop().is_err(),
            "the backend answers what it cannot have seen"
        );
    });
}

#[test]
fn notifications_are_held_off_while_the_peer_is_awake() {
    hosted::test(async || {
        let (mut front, mut back) = pair(1);
        front.push(&1);
        assert!(front.publish(), "the first request needs an event");
        front.push(&2);
        assert!(!front.publish(), "the backend has not gone back to sleep");
        while back.pop().unwrap().is_some() {}
        assert!(!back.arm(1).unwrap());
        front.push(&3);
        assert!(front.publish(), "it sleeps again");

        assert!(!back.arm(3).unwrap(), "an event with the third request");
        front.push(&4);
        assert!(!front.publish());
        front.push(&5);
        assert!(front.publish());
        assert!(back.arm(3).unwrap(), "three wait: do not sleep");

        assert_eq!(back.pop().unwrap(), Some(3));
        assert!(!front.arm(2).unwrap(), "an event with the second answer");
        back.push(&1);
        assert!(!back.publish());
        back.push(&2);
        assert!(back.publish());
        assert!(front.arm(1).unwrap(), "two wait: do not sleep");
    });
}

#[test]
fn indices_wrap_at_two_to_the_32() {
    hosted::test(async || {
        let (mut front, mut back) = pair(1);
        front.req_prod_pvt = u32::MAX - 3;
        front.req_prod = u32::MAX - 3;
        front.rsp_cons = u32::MAX - 3;
        back.req_cons = u32::MAX - 3;
        back.rsp_prod_pvt = u32::MAX - 3;
        back.rsp_prod = u32::MAX - 3;
        for round in 0..10u64 {
            front.push(&round);
            let _ = front.publish();
            assert_eq!(back.pop().unwrap(), Some(round));
            back.push(&(round as u32));
            let _ = back.publish();
            assert_eq!(front.pop().unwrap(), Some(round as u32));
            assert_eq!(front.free(), 128);
        }
    });
}
