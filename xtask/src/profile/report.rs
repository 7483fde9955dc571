//! The profile as people read it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use clap::ValueEnum;

use super::Row;
use super::source::{C, Function, XEN};

/// What one request of a row costs.
pub(crate) struct Report {
    row: Row,
    requests: u64,
    /// Whether the host's half is in it.
    all: bool,
    /// What each function costs in all requests.
    functions: HashMap<Function, u64>,
    /// Callgrind's own file.
    file: PathBuf,
    /// How many lines a table has at most.
    pub(crate) lines: usize,
}

impl Report {
    pub(super) fn new(
        row: Row,
        requests: u64,
        all: bool,
        functions: HashMap<Function, u64>,
        file: PathBuf,
    ) -> Self {
        Self {
            row,
            requests,
            all,
            functions,
            file,
            lines: 30,
        }
    }

    fn total(&self) -> u64 {
        self.functions.values().sum()
    }

    /// A table of what functions with the same `key` cost, the most first.
    fn table(
        &self,
        f: &mut Formatter<'_>,
        of: &str,
        key: impl Fn(&Function) -> &str,
    ) -> fmt::Result {
        let mut costs: BTreeMap<&str, u64> = BTreeMap::new();
        for (function, cost) in &self.functions {
            *costs.entry(key(function)).or_default() += cost;
        }
        let mut costs: Vec<_> = costs.into_iter().collect();
        costs.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        writeln!(f, "\ninstructions  share    {of}")?;
        for (name, cost) in costs.iter().take(self.lines) {
            writeln!(f, "{}  {name}", self.line(*cost))?;
        }
        if let Some(rest @ 1..) = costs.len().checked_sub(self.lines) {
            let cost = costs[self.lines..].iter().map(|(_, cost)| cost);
            writeln!(f, "{}  {rest} more", self.line(cost.sum()))?;
        }
        Ok(())
    }

    /// `12,345  44.4 %`, for one request.
    fn line(&self, cost: u64) -> String {
        #[allow(
            clippy::cast_precision_loss,
            reason = "figures to be read have three digits"
        )]
        let share = 100.0 * cost as f64 / self.total().max(1) as f64;
        format!("{:>12}  {share:>5.1} %", Grouped(self.each(cost)))
    }

    /// For one request, rounded.
    fn each(&self, cost: u64) -> u64 {
        let requests = self.requests.max(1);
        (cost + requests / 2) / requests
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { row, requests, .. } = self;
        let unit = row.unit();
        let title = row.to_possible_value();
        let title = title.as_ref().and_then(|value| value.get_help());
        writeln!(f, "{}: {}", row.name(), title.cloned().unwrap_or_default())?;
        let whose = match self.all {
            false => "of the guest",
            true => "of the guest and the host beside it",
        };
        let each = Grouped(self.each(self.total()));
        writeln!(
            f,
            "{each} instructions {whose} for each {unit}, the mean of {requests} after as many"
        )?;
        self.table(f, "crate", |function| &function.of)?;
        self.table(f, "file", |function| &function.file)?;
        self.table(f, "function", |function| &function.name)?;
        if !self.all {
            writeln!(
                f,
                "\nNot in it: what runs while the guest sleeps, which is its host. On a real Xen there are hypercalls in the\n\
                 place of `{XEN}`, and an allocator and a memcpy of the guest's own in the place of `{C}`."
            )?;
        }
        writeln!(f, "\nby address, for KCachegrind: {}", self.file.display())
    }
}

/// A number with commas: `1,234,567`.
struct Grouped(u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_a_requests_and_the_most_comes_first() {
        let function = |of: &str, name: &str| Function {
            of: of.into(),
            file: format!("{of}.rs"),
            name: name.into(),
        };
        let costs = [
            (function("net", "small"), 1000),
            (function("smoltcp", "large"), 300_000),
            (function("net", "medium"), 99_000),
        ];
        let mut report = Report::new(Row::Page, 100, false, costs.into(), "x.callgrind".into());
        report.lines = 2;
        let text = report.to_string();
        assert!(text.contains("\n4,000 instructions of the guest for each request"));
        let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
        let order = [
            "       3,000   75.0 %  smoltcp\n",
            "       1,000   25.0 %  net\n",
            "       3,000   75.0 %  smoltcp.rs\n",
            "       3,000   75.0 %  large\n",
            "         990   24.8 %  medium\n",
            "          10    0.2 %  1 more\n",
            "x.callgrind",
        ]
        .map(place);
        assert!(order.is_sorted(), "{text}");
    }

    #[test]
    fn digits_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1234567, "1,234,567"),
        ] {
            assert_eq!(Grouped(number).to_string(), text);
        }
    }
}
