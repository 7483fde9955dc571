//! What the loop counts of itself for those who look into a guest: how much it does, and how long a turn takes, from waking to sleeping
//! again.
//!
//! The clock is read once more for each sleep: nothing else knows when a turn ends.

use crate::metrics::{Histogram, Writer};
use crate::time::{self, Duration};
use core::cell::Cell;

/// Upper bounds of a turn's buckets.
const BOUNDS: [Duration; 13] = {
    let micros = [
        10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 200_000, 1_000_000,
    ];
    let mut bounds = [Duration::ZERO; 13];
    let mut at = 0;
    while at < bounds.len() {
        bounds[at] = Duration::from_micros(micros[at]);
        at += 1;
    }
    bounds
};

struct Turns {
    took: Histogram<13>,
    /// When this one began, once it has.
    began: Cell<Option<time::Instant>>,
    rounds: Cell<u64>,
    polls: Cell<u64>,
    spawned: Cell<u64>,
    ended: Cell<u64>,
}

local! {
    static TURNS: Turns = Turns {
        took: Histogram::new(BOUNDS),
        began: Cell::new(None),
        rounds: Cell::new(0),
        polls: Cell::new(0),
        spawned: Cell::new(0),
        ended: Cell::new(0),
    };
}

/// A round polled as many tasks. The first one since the loop slept begins a turn: when the clock was read.
pub(super) fn round(polls: usize) {
    TURNS.with(|turns| {
        if turns.began.get().is_none() {
            turns.began.set(Some(time::round()));
        }
        turns.rounds.update(|count| count + 1);
        turns.polls.update(|count| count + polls as u64);
    });
}

/// A turn ends: the loop is about to sleep.
pub(super) fn end() {
    TURNS.with(|turns| {
        if let Some(began) = turns.began.take() {
            turns.took.record(began.elapsed());
        }
    });
}

/// A task that is there until this is dropped.
pub(super) struct Alive;

impl Alive {
    pub(super) fn new() -> Self {
        TURNS.with(|turns| turns.spawned.update(|count| count + 1));
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        TURNS.with(|turns| turns.ended.update(|count| count + 1));
    }
}

/// Writes what was counted.
pub(crate) fn metrics(w: &mut Writer<'_>) {
    TURNS.with(|turns| {
        w.histogram(
            "loop_turn_seconds",
            "Time from when the loop woke to when it slept again.",
            &[],
            &turns.took,
        );
        w.counter(
            "loop_rounds_total",
            "Rounds of the loop: events looked at, timers expired, ready tasks polled.",
            &[],
            turns.rounds.get(),
        );
        w.counter(
            "task_polls_total",
            "Polls of tasks.",
            &[],
            turns.polls.get(),
        );
        w.counter(
            "tasks_spawned_total",
            "Tasks started.",
            &[],
            turns.spawned.get(),
        );
        let alive = turns.spawned.get() - turns.ended.get();
        w.gauge("tasks", "Tasks there are.", &[], alive);
        w.gauge(
            "tasks_ready",
            "Tasks that wait for their turn.",
            &[],
            super::executor::count_ready(),
        );
    });
}
