//! The text, line by line.

use super::*;

fn text(form: Form, write: impl FnOnce(&mut Writer<'_>)) -> String {
    let mut text = String::new();
    let mut writer = Writer::new(&mut text, form);
    write(&mut writer);
    writer.finish().unwrap();
    text
}

#[test]
fn one_description_for_all_of_one_name() {
    let write = |w: &mut Writer<'_>| {
        for vif in [0_u32, 1] {
            w.counter(
                "frames_total",
                "Frames.",
                &[("vif", &vif)],
                7 * u64::from(vif),
            );
        }
        w.gauge("uptime_seconds", "Time.", &[], Duration::from_millis(1500));
    };
    assert_eq!(
        text(Form::Prometheus, write),
        "# HELP xenlet_frames_total Frames.\n\
         # TYPE xenlet_frames_total counter\n\
         xenlet_frames_total{vif=\"0\"} 0\n\
         xenlet_frames_total{vif=\"1\"} 7\n\
         # HELP xenlet_uptime_seconds Time.\n\
         # TYPE xenlet_uptime_seconds gauge\n\
         xenlet_uptime_seconds 1.5\n"
    );
    assert_eq!(
        text(Form::Console, write),
        "frames_total{vif=\"1\"} 7\nuptime_seconds 1.5\n"
    );
}

#[test]
fn a_labels_value_cannot_leave_its_quotes() {
    let value = "a\"b\\c\nd";
    let text = text(Form::Prometheus, |w| {
        w.gauge("g", "G.", &[("name", &value), ("other", &1)], true);
    });
    assert!(
        text.ends_with("xenlet_g{name=\"a\\\"b\\\\c\\nd\",other=\"1\"} 1\n"),
        "{text}"
    );
}

#[test]
fn buckets_are_cumulative_and_the_last_has_all() {
    let histogram = Histogram::new([1, 10, 100].map(Duration::from_millis));
    let write = |w: &mut Writer<'_>| {
        w.histogram("turn_seconds", "Turns.", &[("loop", &"l")], &histogram);
    };
    for took in [500, 1000, 99_999, 200_000] {
        histogram.record(Duration::from_micros(took));
    }
    assert_eq!(
        text(Form::Prometheus, write),
        "# HELP xenlet_turn_seconds Turns.\n\
         # TYPE xenlet_turn_seconds histogram\n\
         xenlet_turn_seconds_bucket{loop=\"l\",le=\"0.001\"} 2\n\
         xenlet_turn_seconds_bucket{loop=\"l\",le=\"0.01\"} 2\n\
         xenlet_turn_seconds_bucket{loop=\"l\",le=\"0.1\"} 3\n\
         xenlet_turn_seconds_bucket{loop=\"l\",le=\"+Inf\"} 4\n\
         xenlet_turn_seconds_sum{loop=\"l\"} 0.301499\n\
         xenlet_turn_seconds_count{loop=\"l\"} 4\n"
    );
    assert_eq!(
        text(Form::Console, write),
        "turn_seconds_bucket{loop=\"l\",le=\"0.001\"} 2\n\
         turn_seconds_bucket{loop=\"l\",le=\"0.1\"} 3\n\
         turn_seconds_bucket{loop=\"l\",le=\"+Inf\"} 4\n\
         turn_seconds_sum{loop=\"l\"} 0.301499\n\
         turn_seconds_count{loop=\"l\"} 4\n"
    );
}

#[test]
fn times_are_seconds() {
    for (nanos, expected) in [
        (0, "0"),
        (1, "0.000000001"),
        (10_000, "0.00001"),
        (1_000_000_000, "1"),
        (61_020_000_000, "61.02"),
        (u64::MAX, "18446744073.709551615"),
    ] {
        assert_eq!(
            Value::Time(Duration::from_nanos(nanos)).to_string(),
            expected
        );
    }
}

#[test]
fn a_writer_that_is_full_says_so() {
    struct Full;
    impl fmt::Write for Full {
        fn write_str(&mut self, _: &str) -> fmt::Result {
            Err(fmt::Error)
        }
    }
    let mut full = Full;
    let mut writer = Writer::new(&mut full, Form::Prometheus);
    writer.gauge("g", "G.", &[], true);
    writer.gauge("h", "H.", &[], true);
    assert!(writer.finish().is_err());
}
