//! What was measured: the table, the file, and the comparison with an earlier one.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::chart;
use super::rows::{Quantity, Row};
use super::sample::Sample;
use crate::project;

/// A row is worse when it is by more than this part.
const TOLERANCE: f64 = 0.05;

/// All that was measured in one run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Whether time was the clock's, and not counted instructions.
    pub(super) wall: bool,
    pub(super) rounds: u32,
    pub(super) rows: Vec<Measured>,
    /// How figures came about.
    pub(super) notes: Vec<String>,
    /// What could not be measured, and why.
    pub(super) failures: Vec<String>,
}

/// A row, measured on both guests, where both have it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) quantity: Quantity,
    pub(super) unit: String,
    pub(super) xenlet: Option<Figures>,
    pub(super) linux: Option<Figures>,
}

/// What the rounds on one guest came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Figures {
    /// In what the row's quantity says.
    pub(super) value: Spread,
    /// The guest's processor time for each unit, ns.
    pub(super) guest_ns: Option<Spread>,
    /// dom0's.
    pub(super) dom0_ns: Option<Spread>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Spread {
    min: f64,
    pub(super) median: f64,
    max: f64,
}

impl Measured {
    /// What rounds came to.
    pub(super) fn of(row: &Row, xenlet: &[Sample], linux: &[Sample]) -> Self {
        Self {
            name: row.name.into(),
            title: row.title.into(),
            quantity: row.quantity,
            unit: row.unit.into(),
            xenlet: Figures::of(xenlet),
            linux: Figures::of(linux),
        }
    }

    /// How many times as good as Linux ours is, where both were measured: its main figure, and its processor time.
    pub(super) fn better(&self) -> (Option<f64>, Option<f64>) {
        let (Some(ours), Some(theirs)) = (&self.xenlet, &self.linux) else {
            return (None, None);
        };
        let value = self.quantity.better(ours.value.median, theirs.value.median);
        let guest = ours.guest_ns.zip(theirs.guest_ns);
        (
            Some(value),
            guest.map(|(ours, theirs)| theirs.median / ours.median),
        )
    }

    /// What is worse than it was, in words.
    fn worse_than(&self, before: &Self) -> Vec<String> {
        let Some(then) = &before.xenlet else {
            return Vec::new();
        };
        let Some(now) = &self.xenlet else {
            return vec![format!("{}: it can't be measured any more", self.name)];
        };
        let value = |figures: &Figures| Some(figures.value);
        let mut worse = Vec::new();
        let mut compare =
            |what: &str, quantity: Quantity, now: Option<Spread>, then: Option<Spread>| {
                let Some((now, then)) = now.zip(then) else {
                    return;
                };
                let better = quantity.better(now.median, then.median);
                if better < 1.0 / (1.0 + TOLERANCE) && now.median >= quantity.negligible() {
                    worse.push(format!(
                        "{}: {what} {} → {} {} ({:.0} % worse)",
                        self.name,
                        short(then.median),
                        short(now.median),
                        quantity.symbol(),
                        (1.0 / better - 1.0) * 100.0
                    ));
                }
            };
        let what = match self.quantity {
            Quantity::Rate => "rate",
            _ => "value",
        };
        compare(what, self.quantity, value(now), value(then));
        let us = |spread: Option<Spread>| spread.map(|ns| ns.times(1e-3));
        for (what, now, then) in [
            ("guest", now.guest_ns, then.guest_ns),
            ("dom0", now.dom0_ns, then.dom0_ns),
        ] {
            compare(what, Quantity::Microseconds, us(now), us(then));
        }
        worse
    }
}

impl Figures {
    /// The figures of some rounds, if there were any.
    pub(super) fn of(samples: &[Sample]) -> Option<Self> {
        let spread = |value: fn(&Sample) -> Option<f64>| {
            let values: Vec<f64> = samples.iter().filter_map(value).collect();
            (!values.is_empty()).then(|| Spread::of(values))
        };
        Some(Self {
            value: spread(|sample| Some(sample.value))?,
            guest_ns: spread(|sample| sample.guest_ns),
            dom0_ns: spread(|sample| sample.dom0_ns),
        })
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 if middle > 0 => f64::midpoint(at(middle - 1), at(middle)),
            _ => at(middle),
        };
        Self {
            min: at(0),
            median,
            max: at(values.len().saturating_sub(1)),
        }
    }

    fn times(self, factor: f64) -> Self {
        Self {
            min: self.min * factor,
            median: self.median * factor,
            max: self.max * factor,
        }
    }
}

/// A number with three digits, or all of those before its point.
fn short(number: f64) -> String {
    let digits = match number.abs() {
        small if small < 10.0 => 2,
        small if small < 100.0 => 1,
        _ => 0,
    };
    format!("{number:.digits$}")
}

/// `5917 (5890 … 5930)`, or the number alone where all are the same.
impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [min, median, max] = [self.min, self.median, self.max].map(short);
        if min == max {
            return f.pad(&median);
        }
        f.pad(&format!("{median} ({min} … {max})"))
    }
}

/// Processor time: ` guest 23.5 (23.1 … 24.0) µs`.
fn processor(who: &str, ns: Option<Spread>) -> String {
    let Some(ns) = ns else {
        return String::new();
    };
    let (time, unit) = match ns.median {
        much if much >= 1e7 => (ns.times(1e-6), "ms"),
        _ => (ns.times(1e-3), "µs"),
    };
    format!("{who} {time} {unit}")
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let each = match row.unit.as_str() {
                "" => String::new(),
                unit => format!("; processor time for each {unit}"),
            };
            writeln!(f, "{}: {}{each}", row.name, row.title)?;
            let (better, _) = row.better();
            for (name, figures) in [("xenlet", &row.xenlet), ("linux", &row.linux)] {
                let Some(figures) = figures else {
                    writeln!(f, "  {name:<7}{:>30}", "-")?;
                    continue;
                };
                let value = format!("{} {}", figures.value, row.quantity.symbol());
                let guest = processor("guest", figures.guest_ns);
                let dom0 = processor("dom0", figures.dom0_ns);
                let ratio = match (name, better) {
                    ("xenlet", Some(better)) => self::ratio(row.quantity, better),
                    _ => String::new(),
                };
                let line = format!("  {name:<7}{value:>30}   {guest:<32}{dom0:<32}{ratio}");
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        let time = if self.wall {
            "by the clock"
        } else {
            "an instruction is a nanosecond"
        };
        writeln!(
            f,
            "median (minimum … maximum) of {} rounds, {time}",
            self.rounds
        )?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// How we compare with Linux, in words.
fn ratio(quantity: Quantity, better: f64) -> String {
    match quantity {
        Quantity::Rate => format!("{} × Linux", short(better)),
        _ if better.is_infinite() => "nothing at all".into(),
        _ if better >= 1.0 => format!("{} × less than Linux", short(better)),
        _ => format!("{} × more than Linux", short(1.0 / better)),
    }
}

impl Report {
    pub(super) fn new(wall: bool, rounds: u32) -> Self {
        Self {
            wall,
            rounds,
            rows: Vec::new(),
            notes: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Notes that a row could not be measured on a guest.
    pub(super) fn failed(&mut self, row: &str, guest: &str, why: &str) {
        self.failures.push(format!("{row} on {guest}: {why}"));
    }

    /// What could not be measured, and why.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The file of a name.
    ///
    /// # Errors
    /// If that can't be one.
    pub(crate) fn path(name: &str) -> Result<PathBuf> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        ensure!(
            !name.is_empty() && !name.starts_with('.') && name.chars().all(plain),
            "`{name}` can't name a measurement: letters, digits, `-`, `_` and `.` can"
        );
        Ok(project::target_dir()
            .join("bench")
            .join(format!("{name}.json")))
    }

    /// Keeps it under a name; returns its file.
    ///
    /// # Errors
    /// If it can't be written.
    pub(crate) fn save(&self, name: &str) -> Result<PathBuf> {
        let path = Self::path(name)?;
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// What was kept under a name.
    ///
    /// # Errors
    /// If there is no such file.
    pub(crate) fn load(name: &str) -> Result<Self> {
        let path = Self::path(name)?;
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read {}: `cargo xtask bench --save {name}` makes it",
                path.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is no measurement of this version: `cargo xtask bench --save {name}` makes it anew",
                path.display()
            )
        })
    }

    /// Checks that some rows, measured by the clock or not, can be compared with it.
    ///
    /// # Errors
    /// If not.
    pub(crate) fn comparable(&self, wall: bool, rows: &[&Row]) -> Result<()> {
        ensure!(
            self.wall == wall,
            "one was measured by the clock and one by counting instructions: `--wall` must be the same for both"
        );
        let known = |row: &&&Row| self.rows.iter().any(|before| before.name == row.name);
        let names: Vec<_> = self.rows.iter().map(|row| row.name.as_str()).collect();
        ensure!(
            rows.iter().any(|row| known(&row)),
            "it has {}: `--rows` names what is measured",
            match names.is_empty() {
                true => "no rows".into(),
                false => names.join(", "),
            }
        );
        Ok(())
    }

    /// The rows of ours that are worse than they were, with what is worse. What was not measured then is not.
    pub(crate) fn worse_than(&self, before: &Self) -> Vec<String> {
        let rows = self.rows.iter().filter_map(|now| {
            let then = before.rows.iter().find(|row| row.name == now.name)?;
            Some(now.worse_than(then))
        });
        rows.flatten().collect()
    }

    /// Draws the chart; returns its file.
    ///
    /// # Errors
    /// If it can't be written.
    pub(crate) fn draw(&self) -> Result<PathBuf> {
        let path = project::target_dir().join("bench").join("chart.svg");
        fs::write(&path, chart::svg(self))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::rows;

    /// A row with figures, ours and Linux's: their value and guest's processor time.
    pub(in crate::bench) fn measured(
        name: &str,
        ours: Option<(f64, f64)>,
        theirs: Option<(f64, f64)>,
    ) -> Measured {
        let row = rows(&[name.to_owned()]).next().unwrap();
        let samples = |figures: Option<(f64, f64)>| {
            let sample = |(value, guest_ns)| Sample {
                value,
                guest_ns: Some(guest_ns),
                dom0_ns: Some(1000.0),
            };
            figures.map(sample).into_iter().collect::<Vec<_>>()
        };
        Measured::of(row, &samples(ours), &samples(theirs))
    }

    pub(in crate::bench) fn report(rows: Vec<Measured>) -> Report {
        Report {
            rows,
            ..Report::new(false, 1)
        }
    }

    fn pages(rate: f64, guest_ns: f64) -> Report {
        report(vec![measured(
            "page-16",
            Some((rate, guest_ns)),
            Some((100.0, 2000.0)),
        )])
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(vec![1.0]).median, 1.0);
    }

    #[test]
    fn a_row_that_got_worse_is_named_with_what_did() {
        let before = pages(200.0, 1000.0);
        assert!(pages(191.0, 1049.0).worse_than(&before).is_empty());
        assert!(pages(400.0, 100.0).worse_than(&before).is_empty());
        assert_eq!(
            pages(150.0, 1000.0).worse_than(&before),
            ["page-16: rate 200 → 150 /s (33 % worse)"]
        );
        assert_eq!(
            pages(200.0, 1100.0).worse_than(&before),
            ["page-16: guest 1.00 → 1.10 µs (10 % worse)"]
        );
    }

    #[test]
    fn what_should_be_little_is_worse_when_it_is_more() {
        for name in ["boot-4", "memory", "image", "ping", "lookup", "idle-10000"] {
            let of = |value| report(vec![measured(name, Some((value, 1.0)), None)]);
            assert!(of(104.0).worse_than(&of(100.0)).is_empty(), "{name}");
            assert!(of(10.0).worse_than(&of(100.0)).is_empty(), "{name}");
            let worse = of(110.0).worse_than(&of(100.0));
            assert!(
                worse.len() == 1 && worse[0].contains("10 % worse"),
                "{worse:?}"
            );
        }
    }

    #[test]
    fn next_to_nothing_is_not_worse_than_nothing() {
        let of = |value| {
            report(vec![measured(
                "idle",
                Some((value, 1.0)),
                Some((300.0, 1.0)),
            )])
        };
        assert!(of(3.0).worse_than(&of(0.0)).is_empty());
        assert_eq!(of(30.0).worse_than(&of(3.0)).len(), 1);
        assert!(of(0.0).to_string().contains("nothing at all"));
    }

    #[test]
    fn a_row_that_fails_now_is_worse_and_a_new_one_is_not() {
        let gone = report(vec![measured("page-16", None, None)]);
        assert_eq!(
            gone.worse_than(&pages(1.0, 1.0)),
            ["page-16: it can't be measured any more"]
        );
        assert!(pages(1.0, 1.0).worse_than(&gone).is_empty());
        assert!(pages(1.0, 1.0).worse_than(&report(Vec::new())).is_empty());
    }

    #[test]
    fn the_table_has_both_and_the_ratio() {
        let text = pages(150.0, 1000.0).to_string();
        assert!(
            text.contains("1.50 × Linux")
                && text.contains("linux")
                && text.contains("each request"),
            "{text}"
        );
        let text = report(vec![measured(
            "boot-4",
            Some((12.0, 1e6)),
            Some((3480.0, 3.3e9)),
        )])
        .to_string();
        assert!(
            text.contains("290 × less than Linux") && text.contains("guest 3300 ms"),
            "{text}"
        );
        let text = report(vec![measured("lookup", Some((12.0, 1e6)), None)]).to_string();
        assert!(text.contains("linux") && !text.contains("× "), "{text}");
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let text = serde_json::to_string(&pages(150.0, 1000.0)).unwrap();
        let again: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(again.to_string(), pages(150.0, 1000.0).to_string());
    }

    #[test]
    fn kinds_of_time_are_not_compared_and_names_stay_in_the_folder() {
        let page = rows(&["page-16".to_owned()]).collect::<Vec<_>>();
        let ping = rows(&["ping".to_owned()]).collect::<Vec<_>>();
        let before = pages(1.0, 1.0);
        assert!(before.comparable(false, &page).is_ok());
        assert!(before.comparable(true, &page).is_err());
        let error = before.comparable(false, &ping).unwrap_err().to_string();
        assert!(error.contains("page-16"), "{error}");
        let error = report(Vec::new()).comparable(false, &ping).unwrap_err();
        assert!(error.to_string().contains("no rows"), "{error}");
        assert!(Report::path("../x").is_err() && Report::path("").is_err());
        assert!(
            Report::load("no-such-measurement")
                .unwrap_err()
                .to_string()
                .contains("--save no-such")
        );
    }
}
