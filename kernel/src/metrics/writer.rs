//! Numbers as text: the exposition format of Prometheus, version 0.0.4, or lines for people.

use super::Histogram;
use crate::time::Duration;
use core::fmt::{self, Display, Write as _};

/// What all names begin with.
const PREFIX: &str = "xenlet_";

/// For whom numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For Prometheus and whatever else reads its text format.
    Prometheus,
    /// For people at a console: without what explains the names, without what is zero, and without buckets that nothing is in.
    Console,
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A count, or an amount of bytes.
    Count(u64),
    /// A time, which is written in seconds.
    Time(Duration),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Self::Count(is_so.into())
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = match self {
            Self::Count(count) => return count.fmt(f),
            Self::Time(time) => time,
        };
        time.as_secs().fmt(f)?;
        let (mut fraction, mut digits) = (time.subsec_nanos(), 9);
        while fraction > 0 && fraction % 10 == 0 {
            (fraction, digits) = (fraction / 10, digits - 1);
        }
        match fraction {
            0 => Ok(()),
            _ => write!(f, ".{fraction:0digits$}"),
        }
    }
}

/// A label's name and value.
pub type Label<'l> = (&'static str, &'l dyn Display);

/// Numbers that each thing of a kind has: their names, what they are, and how they are read.
pub type Rows<T> = &'static [(&'static str, &'static str, fn(&T) -> u64)];

/// Writes numbers. All of one name are to be written one after the other.
pub struct Writer<'w> {
    out: &'w mut dyn fmt::Write,
    form: Form,
    /// The name that was described last.
    described: &'static str,
    result: fmt::Result,
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<'w> Writer<'w> {
    /// Writes to `out`.
    pub fn new(out: &'w mut dyn fmt::Write, form: Form) -> Self {
        Self {
            out,
            form,
            described: "",
            result: Ok(()),
        }
    }

    /// A number that only grows, from the start of the guest or of what it is about. Its name, which is given without `xenlet_`, ends
    /// in `_total`; `help` says what is counted.
    pub fn counter(
        &mut self,
        name: &'static str,
        help: &str,
        labels: &[Label<'_>],
        value: impl Into<Value>,
    ) {
        self.describe(name, help, "counter");
        self.sample(name, "", labels, None, value.into());
    }

    /// A number as it is now. Its name ends in its unit, if it has one.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &str,
        labels: &[Label<'_>],
        value: impl Into<Value>,
    ) {
        self.describe(name, help, "gauge");
        self.sample(name, "", labels, None, value.into());
    }

    /// Counters of several things, each with its name, which is the value of `label`.
    pub fn counters<T>(
        &mut self,
        rows: Rows<T>,
        label: &'static str,
        things: &[(impl Display, T)],
    ) {
        for (name, help, value) in rows {
            for (thing, numbers) in things {
                self.counter(name, help, &[(label, thing)], value(numbers));
            }
        }
    }

    /// Gauges of several things, as [`counters`](Self::counters).
    pub fn gauges<T>(&mut self, rows: Rows<T>, label: &'static str, things: &[(impl Display, T)]) {
        for (name, help, value) in rows {
            for (thing, numbers) in things {
                self.gauge(name, help, &[(label, thing)], value(numbers));
            }
        }
    }

    /// How often something took how long. Its name ends in `_seconds`.
    pub fn histogram<const N: usize>(
        &mut self,
        name: &'static str,
        help: &str,
        labels: &[Label<'_>],
        histogram: &Histogram<N>,
    ) {
        self.describe(name, help, "histogram");
        let (sum, count) = histogram.total();
        let mut before = 0;
        for (bound, below) in histogram.cumulative() {
            let bound = Value::Time(bound);
            if self.form == Form::Prometheus || below > before {
                self.sample(name, "_bucket", labels, Some(&bound), below.into());
            }
            before = below;
        }
        if self.form == Form::Prometheus || count > before {
            self.sample(name, "_bucket", labels, Some(&"+Inf"), count.into());
        }
        self.sample(name, "_sum", labels, None, sum.into());
        self.sample(name, "_count", labels, None, count.into());
    }

    /// Ends the text.
    ///
    /// # Errors
    /// The first of those that writing met.
    pub fn finish(self) -> fmt::Result {
        self.result
    }

    fn describe(&mut self, name: &'static str, help: &str, kind: &str) {
        if self.form == Form::Prometheus && self.described != name && self.result.is_ok() {
            self.described = name;
            self.result = self.out.write_fmt(format_args!(
                "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n"
            ));
        }
    }

    /// One line; `bound` is the label `le` of a histogram's bucket.
    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &[Label<'_>],
        bound: Option<&dyn Display>,
        value: Value,
    ) {
        let prefix = match self.form {
            Form::Prometheus => PREFIX,
            Form::Console if matches!(value, Value::Count(0) | Value::Time(Duration::ZERO)) => {
                return;
            }
            Form::Console => "",
        };
        if self.result.is_ok() {
            let bound = bound.map(|bound| ("le", bound));
            let labels = Labels(labels, bound);
            self.result = self
                .out
                .write_fmt(format_args!("{prefix}{name}{suffix}{labels} {value}\n"));
        }
    }
}

/// Labels in their braces; none without any.
struct Labels<'l>(&'l [Label<'l>], Option<Label<'l>>);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "{";
        for (name, value) in self.0.iter().copied().chain(self.1) {
            write!(f, "{before}{name}=\"")?;
            write!(Escaped(f), "{value}")?;
            f.write_str("\"")?;
            before = ",";
        }
        f.write_str(if before == "," { "}" } else { "" })
    }
}

/// Writes what may be in a label's value: a backslash, a quote and a line's end are escaped.
struct Escaped<'f, 'g>(&'f mut fmt::Formatter<'g>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '\\' => self.0.write_str("\\\\"),
            '"' => self.0.write_str("\\\""),
            '\n' => self.0.write_str("\\n"),
            c => self.0.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests;
