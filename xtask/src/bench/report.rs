//! What was measured: the table, the file, and the comparison with an earlier one.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

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
}

/// A row, measured on both guests.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) xenlet: Figures,
    pub(super) linux: Figures,
    /// Our rate, as a multiple of Linux's.
    pub(super) ratio: f64,
}

/// What the rounds on one guest came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Figures {
    /// Units a second.
    rate: Spread,
    /// The guest's processor time for each unit, ns.
    guest_ns: Spread,
    /// dom0's.
    dom0_ns: Spread,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Figures {
    /// The figures of at least one round.
    pub(super) fn of(samples: &[Sample]) -> Self {
        let spread = |value: fn(&Sample) -> f64| Spread::of(samples.iter().map(value).collect());
        Self {
            rate: spread(|sample| sample.rate),
            guest_ns: spread(|sample| sample.guest_ns),
            dom0_ns: spread(|sample| sample.dom0_ns),
        }
    }

    /// How this rate compares with another's.
    pub(super) fn ratio(&self, other: &Self) -> f64 {
        self.rate.median / other.rate.median
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

/// `5917 (5890 … 5930)`.
impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = if self.median < 100.0 { 1 } else { 0 };
        let Self { min, median, max } = self;
        let text = format!("{median:.digits$} ({min:.digits$} … {max:.digits$})");
        f.pad(&text)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(f, "{}", row.title)?;
            for (name, figures) in [("xenlet", &row.xenlet), ("linux", &row.linux)] {
                let rate = figures.rate.to_string();
                let guest = figures.guest_ns.times(1e-3).to_string();
                let dom0 = figures.dom0_ns.times(1e-3).to_string();
                write!(
                    f,
                    "  {name:<7}{rate:>28} /s   guest {guest:>22} µs   dom0 {dom0:>22} µs"
                )?;
                match name {
                    "xenlet" => writeln!(f, "   {:.2} × Linux", row.ratio)?,
                    _ => writeln!(f, "   a {}", row.unit)?,
                }
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
        )
    }
}

impl Report {
    fn path(name: &str) -> Result<PathBuf> {
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
        serde_json::from_str(&text).with_context(|| format!("{} is no measurement", path.display()))
    }

    /// Checks that measurements of this kind can be compared with it.
    ///
    /// # Errors
    /// If not.
    pub(crate) fn comparable(&self, wall: bool) -> Result<()> {
        ensure!(
            self.wall == wall,
            "one was measured by the clock and one by counting instructions: `--wall` must be the same for both"
        );
        Ok(())
    }

    /// The rows of ours that are worse than they were, with what is worse.
    pub(crate) fn worse_than(&self, before: &Self) -> Vec<String> {
        let mut worse = Vec::new();
        for now in &self.rows {
            let Some(then) = before.rows.iter().find(|row| row.name == now.name) else {
                continue;
            };
            // What a figure should be is much of the one and little of the others.
            let figures = |row: &Measured| {
                let Figures {
                    rate,
                    guest_ns,
                    dom0_ns,
                } = &row.xenlet;
                [
                    ("time each", 1e6 / rate.median),
                    ("guest", guest_ns.median / 1e3),
                    ("dom0", dom0_ns.median / 1e3),
                ]
            };
            for ((what, now_us), (_, then_us)) in figures(now).into_iter().zip(figures(then)) {
                if now_us > then_us * (1.0 + TOLERANCE) {
                    let percent = (now_us / then_us - 1.0) * 100.0;
                    worse.push(format!(
                        "{}: {what} {then_us:.1} → {now_us:.1} µs (+{percent:.0} %)",
                        now.name
                    ));
                }
            }
        }
        worse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rate: f64, guest_ns: f64) -> Report {
        let figures = |rate| {
            Figures::of(&[Sample {
                rate,
                guest_ns,
                dom0_ns: 1000.0,
            }])
        };
        let (xenlet, linux) = (figures(rate), figures(100.0));
        Report {
            wall: false,
            rounds: 1,
            rows: vec![Measured {
                name: "row".into(),
                title: "A row".into(),
                unit: "read".into(),
                ratio: xenlet.ratio(&linux),
                xenlet,
                linux,
            }],
        }
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
        let before = report(200.0, 1000.0);
        assert!(report(195.0, 1040.0).worse_than(&before).is_empty());
        assert!(report(400.0, 100.0).worse_than(&before).is_empty());
        let slower = report(150.0, 1000.0).worse_than(&before);
        assert!(
            slower.len() == 1 && slower[0].contains("row: time each"),
            "{slower:?}"
        );
        let dearer = report(200.0, 1100.0).worse_than(&before);
        assert!(
            dearer.len() == 1 && dearer[0].contains("guest 1.0 → 1.1 µs (+10 %)"),
            "{dearer:?}"
        );
    }

    #[test]
    fn the_table_has_both_and_the_ratio() {
        let text = report(150.0, 1000.0).to_string();
        assert!(
            text.contains("1.50 × Linux") && text.contains("linux") && text.contains("a read"),
            "{text}"
        );
    }

    #[test]
    fn kinds_of_time_are_not_compared_and_names_stay_in_the_folder() {
        assert!(report(1.0, 1.0).comparable(true).is_err());
        assert!(Report::path("../x").is_err() && Report::path("").is_err());
        assert!(
            Report::load("no-such-measurement")
                .unwrap_err()
                .to_string()
                .contains("--save no-such")
        );
    }
}
