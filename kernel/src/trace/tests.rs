//! What is on a trace, by the test's clock, read from the file as a viewer reads it.

use super::record::start_with;
use super::slices::Slice;
use super::{Device, StartError, Trace, span, start, waiting, waits_for};
use crate::hosted;
use crate::run::{Notify, spawn, spawn_named, yield_now};
use crate::time::{Duration, now, sleep};
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A trace's file, as a viewer reads it.
struct File(Vec<Value>);

impl File {
    /// Reads it, and sees that it is a valid one: nothing on a row overlaps, and time does not go back there.
    fn read(trace: &Trace) -> Self {
        let pieces: Vec<String> = trace.json().map(|piece| piece.to_string()).collect();
        assert!(pieces.iter().skip(1).all(|piece| piece.len() < 1024));
        let file: Value = serde_json::from_str(&pieces.concat()).unwrap();
        let events = file["traceEvents"].as_array().unwrap().clone();
        let mut rows: BTreeMap<(u64, u64), (f64, Vec<f64>)> = BTreeMap::new();
        let mut begun = BTreeMap::new();
        for event in &events {
            let row = (
                event["pid"].as_u64().unwrap(),
                event["tid"].as_u64().unwrap(),
            );
            match event["ph"].as_str().unwrap() {
                "X" => {
                    let (at, dur) = (us(&event["ts"]), us(&event["dur"]));
                    let (last, ends) = rows.entry(row).or_default();
                    assert!(*last <= at, "{event}");
                    *last = at;
                    while ends.last().is_some_and(|end| *end <= at) {
                        ends.pop();
                    }
                    let within = ends.last().is_none_or(|end| at + dur <= *end);
                    assert!(within, "{event}");
                    ends.push(at + dur);
                }
                "b" => assert!(
                    begun
                        .insert(event["id2"].to_string(), us(&event["ts"]))
                        .is_none()
                ),
                "e" => {
                    assert!(begun.remove(&event["id2"].to_string()).unwrap() <= us(&event["ts"]))
                }
                "M" | "s" | "f" | "i" => {}
                other => panic!("{other}"),
            }
        }
        assert!(begun.is_empty(), "each that begins ends");
        Self(events)
    }

    /// The number of the row of the task that is called `name`.
    fn row(&self, name: &str) -> u64 {
        let mut rows = self.0.iter().filter(|event| event["args"]["name"] == name);
        let row = rows.next().unwrap()["tid"].as_u64().unwrap();
        assert!(rows.next().is_none(), "one is called {name}");
        row
    }

    /// What lasted on the row `row`: what, from when, for how long, in milliseconds.
    fn slices(&self, row: u64) -> Vec<(&str, f64, f64)> {
        let slices = self.0.iter().filter(|event| event["ph"] == "X");
        let slices = slices.filter(|event| event["tid"].as_u64() == Some(row));
        slices
            .map(|event| {
                let name = event["name"].as_str().unwrap();
                (name, ms(&event["ts"]), ms(&event["dur"]))
            })
            .collect()
    }
}

fn us(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn ms(value: &Value) -> f64 {
    us(value) / 1000.0
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn what_a_task_waited_for_and_how_long() {
    hosted::test(async || {
        let recording = start().unwrap();
        let place = Rc::new(Notify::new());
        let there = Rc::clone(&place);
        spawn_named("baker", async move {
            let mut baking = span("bake");
            sleep(MS * 20).await;
            baking.end();
            there.notify();
        });
        spawn_named("eater", async move {
            let meal = span("meal");
            meal.about(format_args!("{} \"cakes\"\n", 2));
            waiting("cake", place.notified()).await;
            sleep(MS * 5).await;
        })
        .await;
        let file = File::read(&recording.stop());
        let (baker, eater) = (file.row("baker"), file.row("eater"));
        assert_eq!(
            file.slices(baker),
            [("bake", 0.0, 20.0), ("waiting for a timer", 0.0, 20.0)]
        );
        assert_eq!(
            file.slices(eater),
            [
                ("meal: 2 \"cakes\"\n", 0.0, 25.0),
                ("waiting for cake", 0.0, 20.0),
                ("waiting for a timer", 20.0, 5.0)
            ]
        );
        // To run takes no time here, and what takes none is left out.
        let sleeps = file.slices(1);
        assert_eq!(sleeps, [("sleep", 0.0, 20.0), ("sleep", 20.0, 5.0)]);
    });
}

fn in_real_time(body: impl AsyncFnOnce() + Send + 'static) {
    let config = hosted::Config {
        real_time: true,
        ..hosted::Config::default()
    };
    assert!(hosted::run(config, body).value.is_some());
}

#[test]
fn an_arrow_leads_from_who_woke_a_task_to_it() {
    in_real_time(async || {
        let recording = start().unwrap();
        let place = Rc::new(Notify::new());
        let there = Rc::clone(&place);
        let waits = spawn_named("waits", async move { place.notified().await });
        spawn_named("wakes", async move {
            yield_now().await;
            there.notify();
            let began = now();
            while began.elapsed() < MS {}
        });
        waits.await;
        let file = File::read(&recording.stop());
        let row = file.row("waits");
        let ready = file
            .0
            .iter()
            .filter(|event| event["tid"].as_u64() == Some(row));
        let about: Vec<_> = ready
            .filter_map(|event| event["args"]["about"].as_str())
            .collect();
        let by = format!("woken by wakes (task {})", file.row("wakes"));
        assert!(about.contains(&&*by), "{about:?}");
        let arrows = |phase: &str| {
            let arrows = file.0.iter().filter(|event| event["ph"] == phase);
            arrows
                .map(|event| (event["id"].as_u64(), event["tid"].as_u64().unwrap()))
                .collect::<BTreeMap<_, _>>()
        };
        let (from, to) = (arrows("s"), arrows("f"));
        assert!(from.keys().eq(to.keys()) && from.values().all(|row| *row == 1));
        assert!(to.values().any(|to| *to == row));
    });
}

#[test]
fn what_goes_on_when_it_ends_is_on_it() {
    hosted::test(async || {
        let recording = start().unwrap();
        let task = spawn_named("stuck", async {
            let _span = span("request");
            let place = Notify::new();
            waiting("what never comes", place.notified()).await;
        });
        sleep(MS * 7).await;
        let trace = recording.stop();
        task.cancel();
        let file = File::read(&trace);
        assert_eq!(
            file.slices(file.row("stuck")),
            [
                ("request", 0.0, 7.0),
                ("waiting for what never comes", 0.0, 7.0)
            ]
        );
        let open = file
            .0
            .iter()
            .filter(|event| event["args"]["ended"] == false);
        assert!(open.count() >= 2);
    });
}

#[test]
fn a_span_ends_with_the_one_around_it() {
    hosted::test(async || {
        let recording = start().unwrap();
        spawn_named("task", async {
            let outer = span("outer");
            let inner = span("inner");
            sleep(MS).await;
            drop(outer);
            let _next = span("next");
            sleep(MS).await;
            drop(inner);
            let _last = span("last");
            sleep(MS).await;
        })
        .await;
        let file = File::read(&recording.stop());
        let mut slices = file.slices(file.row("task"));
        slices.retain(|slice| !slice.0.starts_with("waiting"));
        assert_eq!(
            slices,
            [
                ("outer", 0.0, 1.0),
                ("inner", 0.0, 1.0),
                ("next", 1.0, 2.0),
                ("last", 2.0, 1.0)
            ]
        );
    });
}

#[test]
fn a_device_does_several_things_at_once() {
    hosted::test(async || {
        let device = Device::new("xvdz");
        assert_eq!(format!("{device:?}"), format!("{:?}", Device::new("xvdz")));
        let recording = start().unwrap();
        let first = device.span("write");
        first.about(format_args!("8 sectors from 0"));
        sleep(MS).await;
        let second = device.span("read");
        sleep(MS).await;
        drop(first);
        sleep(MS).await;
        drop(second);
        let file = File::read(&recording.stop());
        let times = |phase: &str| -> Vec<f64> {
            let events = file.0.iter().filter(|event| event["ph"] == phase);
            events.map(|event| ms(&event["ts"])).collect()
        };
        assert_eq!((times("b"), times("e")), (vec![0.0, 1.0], vec![2.0, 3.0]));
        let named = |event: &&Value| event["args"]["name"] == "xvdz" && event["pid"] == 2;
        assert!(file.0.iter().any(|event| named(&event)));
    });
}

#[test]
fn there_is_one_at_a_time_and_none_when_nobody_wants_it() {
    hosted::test(async || {
        let early = span("begun before");
        hosted::set_free_memory(Some(100_000));
        assert_eq!(start().unwrap_err(), StartError::OutOfMemory);
        hosted::set_free_memory(Some(1 << 20));
        let recording = start().unwrap();
        assert_eq!(start().unwrap_err(), StartError::Busy);
        let eighths = recording.stop().memory() * 8 / (1 << 17);
        assert!((8..=9).contains(&eighths), "{eighths}");
        hosted::set_free_memory(None);
        // What began under one recording is not taken for something of the next.
        let stale = {
            let recording = start().unwrap();
            let stale = spawn(async { span("stale") }).await;
            drop(recording);
            stale
        };
        waits_for("nothing");
        let recording = start().unwrap();
        stale.about(format_args!("nothing"));
        drop((early, stale));
        let trace = recording.stop();
        assert_eq!((trace.slices.len(), trace.lost), (0, 0));
    });
}

#[test]
fn what_there_is_no_room_for_is_counted_and_what_has_begun_still_ends() {
    hosted::test(async || {
        let recording = start_with(20).unwrap();
        let request = spawn(async {
            let _span = span("request");
            sleep(MS * 50).await;
        });
        for _ in 0..100 {
            sleep(MS).await;
        }
        request.await;
        let trace = recording.stop();
        assert_eq!(trace.slices.len(), 20);
        assert!(trace.lost > 100);
        let file = File::read(&trace);
        let mut slices = file.0.iter().filter(|event| event["ph"] == "X");
        let request = slices.find(|event| event["name"] == "request");
        assert_eq!(ms(&request.unwrap()["dur"]), 50.0);
        let last = file.0.last().unwrap();
        let said = format!(
            "no more room: {} slices from here on are missing",
            trace.lost
        );
        assert_eq!(last["name"], *said);
    });
}

#[test]
fn ten_thousand_tasks_take_no_more_room_than_one() {
    hosted::test(async || {
        let recording = start_with(1000).unwrap();
        let tasks: Vec<_> = (0..10_000)
            .map(|number| {
                spawn(async move {
                    span("long").about(format_args!("{number} {}", "ä".repeat(1000)));
                    sleep(MS).await;
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let trace = recording.stop();
        assert_eq!(trace.slices.len(), 1000);
        assert!(trace.memory() <= 1000 * size_of::<Slice>() * 9 / 8);
        assert!(size_of::<Slice>() <= 64);
        File::read(&trace);
    });
}

#[test]
fn names_are_short() {
    use super::json::Short;
    for (name, short) in [
        ("baker", "baker"),
        (
            "xenlet_blkfront::task::serve::{{closure}}",
            "blkfront::task::serve",
        ),
        (
            "xenlet_http::service::Service<H>::serve::{{closure}}",
            "http::service::Service",
        ),
        ("store: write", "store: write"),
    ] {
        assert_eq!(Short(name).to_string(), short);
    }
}
