//! What the user sees while something takes time: a spinner on a terminal, one line per slow phase elsewhere.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// One phase of a command, timed from its creation.
#[derive(Debug)]
pub(crate) struct Phase {
    name: String,
    started: Instant,
    spinner: ProgressBar,
}

/// A phase this short is not worth a line of its own.
const WORTH_TELLING: Duration = Duration::from_secs(1);

impl Phase {
    /// Starts the clock, and on a terminal the spinner.
    pub(crate) fn start(name: impl Display) -> Self {
        let spinner = if std::io::stderr().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
            spinner.set_style(style);
        }
        spinner.set_message(name.to_string());
        spinner.enable_steady_tick(Duration::from_millis(120));
        Self {
            name: name.to_string(),
            started: Instant::now(),
            spinner,
        }
    }

    /// Says what the phase is doing just now.
    pub(crate) fn detail(&self, detail: impl Display) {
        self.spinner.set_message(format!("{}: {detail}", self.name));
    }

    /// Ends the phase well; leaves a line with its time if it took long enough to wonder.
    pub(crate) fn done(self) {
        done(&self.name, self.started, &self.spinner);
    }
}

impl Drop for Phase {
    /// A phase that failed leaves no spinner behind; the error is told by whoever handles it.
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}

/// The progress of something counted in bytes. Clones are the same bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    name: String,
    started: Instant,
    bar: ProgressBar,
}

impl Bar {
    /// Starts the clock, and on a terminal shows the bar.
    pub(crate) fn start(name: impl Display) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::no_length()
        } else {
            ProgressBar::hidden()
        };
        let template = "{msg} {wide_bar} {binary_bytes} of {binary_total_bytes}, {eta} to go";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(name.to_string());
        Self {
            name: name.to_string(),
            started: Instant::now(),
            // What failed leaves no bar behind.
            bar: bar.with_finish(ProgressFinish::AndClear),
        }
    }

    /// Says how far it is.
    pub(crate) fn at(&self, bytes: u64, of: u64) {
        self.bar.set_length(of);
        self.bar.set_position(bytes);
    }

    /// Ends it well, as [`Phase::done`].
    pub(crate) fn done(self) {
        done(&self.name, self.started, &self.bar);
    }
}

/// Takes a bar or spinner away; leaves a line with the time if it took long enough to wonder.
fn done(name: &str, started: Instant, bar: &ProgressBar) {
    let took = started.elapsed();
    bar.finish_and_clear();
    if took >= WORTH_TELLING {
        eprintln!("  {name} ({})", Seconds(took));
    }
}

/// A duration as people read it: `0.35 s`, `12.4 s`, `3 min 5 s`.
pub(crate) struct Seconds(pub(crate) Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs_f64();
        match seconds {
            s if s < 10.0 => write!(f, "{s:.2} s"),
            s if s < 120.0 => write!(f, "{s:.1} s"),
            _ => write!(
                f,
                "{} min {} s",
                self.0.as_secs() / 60,
                self.0.as_secs() % 60
            ),
        }
    }
}

/// A number of bytes as people read it: `512 B`, `64 MiB`, `1.5 GiB`.
pub(crate) struct Bytes(pub(crate) u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let unit = (self.0.checked_ilog2().unwrap_or(0) / 10).min(4);
        // To the tenth, cut off rather than rounded: less than there is never reads as all of it.
        let tenths = (u128::from(self.0) * 10) >> (10 * unit);
        write!(f, "{}", tenths / 10)?;
        if !tenths.is_multiple_of(10) {
            write!(f, ".{}", tenths % 10)?;
        }
        write!(f, " {}", UNITS[unit as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(Seconds(Duration::from_millis(350)).to_string(), "0.35 s");
        assert_eq!(Seconds(Duration::from_millis(12_440)).to_string(), "12.4 s");
        assert_eq!(Seconds(Duration::from_secs(185)).to_string(), "3 min 5 s");
    }

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (512, "512 B"),
            (1023, "1023 B"),
            (64 << 20, "64 MiB"),
            ((3 << 29) + 1, "1.5 GiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
