//! Many frames of random sizes with both sides at a random pace: nothing is lost, changed or out of order.

use super::{Config, Pair, Wire, attach, bytes, pair, ready, settle, transmit};
use crate::Netfront;
use proptest::prelude::*;
use xenlet_kernel::hosted;
use xenlet_kernel::time::Duration;

/// Frames that go each way in one case.
const FRAMES: usize = 600;

#[derive(Clone, Debug)]
struct Case {
    config: Config,
    /// Used over and over: the lengths of frames, and how many are sent and read in a turn.
    lengths: Vec<usize>,
    turns: Vec<(usize, usize, usize)>,
}

fn config() -> impl Strategy<Value = Config> {
    (
        any::<(bool, bool)>(),
        prop_oneof![Just(4096), Just(2048), 300..4096usize],
        1..80usize,
        prop_oneof![Just(0), 1..3000u64],
    )
        .prop_map(|((sg, split_channels), slot_bytes, pace, hold)| Config {
            sg,
            split_channels,
            // Without scatter-gather a frame is a slot.
            slot_bytes: if sg { slot_bytes } else { 4096 },
            pace,
            hold: Duration::from_micros(hold),
            ..Config::default()
        })
}

fn case() -> impl Strategy<Value = Case> {
    let length = prop_oneof![3 => 14..100usize, 3 => 1400..1600usize, 1 => 14..65_536usize];
    let turns = prop::collection::vec((0..60usize, 0..60usize, 0..60usize), 1..20);
    (config(), prop::collection::vec(length, 1..50), turns).prop_map(|(config, lengths, turns)| {
        let most = if config.sg {
            18 * config.slot_bytes
        } else {
            4096
        };
        let lengths = lengths.into_iter().map(|len| len.min(most)).collect();
        Case {
            config,
            lengths,
            turns,
        }
    })
}

struct Course {
    case: Case,
    other: Pair,
    vif: Netfront,
    sent_out: usize,
    got_out: usize,
    sent_in: usize,
    got_in: usize,
}

impl Course {
    fn frame(&self, number: usize) -> Vec<u8> {
        bytes(number, self.case.lengths[number % self.case.lengths.len()])
    }

    /// The other side's turn.
    fn other(&mut self, send: usize) {
        for _ in 0..send.min(FRAMES - self.sent_in) {
            let frame = self.frame(self.sent_in);
            self.other.send(frame.into());
            self.sent_in += 1;
        }
        while let Some(frame) = self.other.recv() {
            assert_eq!(
                frame.bytes,
                self.frame(self.got_out),
                "frame {} out",
                self.got_out
            );
            self.got_out += 1;
        }
    }

    /// The guest's turn: how much it did.
    fn guest(&mut self, send: usize, read: usize) -> usize {
        let before = self.sent_out + self.got_in;
        for _ in 0..send.min(FRAMES - self.sent_out) {
            let frame = self.frame(self.sent_out);
            if !transmit(&mut self.vif, &frame) {
                break;
            }
            self.sent_out += 1;
        }
        for _ in 0..read {
            let Some(frame) = self.vif.receive() else {
                break;
            };
            assert_eq!(*frame, self.frame(self.got_in), "frame {} in", self.got_in);
            self.got_in += 1;
        }
        self.sent_out + self.got_in - before
    }

    async fn run(mut self) {
        let mut turn = 0;
        while self.got_in < FRAMES || self.sent_out < FRAMES {
            let (theirs, ours, read) = self.case.turns[turn % self.case.turns.len()];
            turn += 1;
            self.other(theirs + 1);
            if self.guest(ours + 1, read + 1) == 0 {
                // Woken only by what it waits for: a wake-up that is lost fails the test in `ready`.
                ready(&mut self.vif).await;
            } else if turn % 3 == 0 {
                self.vif.flush();
            }
        }
        self.vif.flush();
        settle().await;
        self.other(0);
        assert_eq!((self.got_out, self.got_in), (FRAMES, FRAMES));
        let stats = self.vif.stats();
        assert_eq!((stats.rx_frames, stats.tx_frames), (600, 600));
        self.vif.close().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// 16 cases of 600 frames each way.
    #[test]
    fn nothing_is_lost_or_out_of_order(case in case()) {
        hosted::test(async move || {
            let (wire, other) = pair();
            attach(case.config.clone(), wire);
            let vif = Netfront::connect(0).await.unwrap();
            let course = Course { case, other, vif, sent_out: 0, got_out: 0, sent_in: 0, got_in: 0 };
            course.run().await;
        });
    }
}
