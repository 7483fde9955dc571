//! `cargo xtask bench`: measures examples/bench beside a Linux guest, and compares with what was measured before.

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::bench::{self, Plan, Report, Row};
use crate::interrupt;
use crate::xen::{On, Xen};

/// `cargo xtask bench …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bench
  cargo xtask bench --rows disk --rounds 5
  cargo xtask bench --rows randread,page-16
  cargo xtask bench --save before        and after a change:
  cargo xtask bench --against before

Time counts instructions unless --wall is given: a nanosecond each, so that measurements repeat whatever else this
machine does. Every measurement is kept as JSON in target/bench, with a chart. docs/performance.md tells what is measured.")]
pub(crate) struct Arguments {
    /// Measure only rows whose names contain one of these words
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "WORD")]
    rows: Vec<String>,
    /// How often to measure each row, both guests in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Keep the figures under this name
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
    /// Name the rows that got worse by more than 5 % since `--save NAME`
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
    /// Measure by the clock: for real hosts, with `--on local`. The emulated rig is slow and unsteady by the clock, and a
    /// measurement there may be refused
    #[arg(long)]
    wall: bool,
    /// List the rows and end
    #[arg(long)]
    list: bool,
    /// Which Xen; `local` needs --wall
    #[arg(long, value_enum, default_value_t)]
    on: On,
    /// Install missing packages of this machine without asking
    #[arg(long)]
    yes: bool,
}

/// # Errors
/// If something can't be measured, or a row got worse.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        bench::rows(&[]).for_each(|row| println!("{:<18} {}", row.name, row.title));
        return Ok(());
    }
    // As a part of a name it would be in all of them.
    if arguments.rows.iter().any(String::is_empty) {
        bail!("--rows has an empty word: without --rows every row is measured");
    }
    let rows: Vec<&Row> = bench::rows(&arguments.rows).collect();
    if rows.is_empty() {
        bail!(
            "no row is called anything like {}: `cargo xtask bench --list` lists them",
            arguments.rows.join(" or ")
        );
    }
    if arguments.on == On::Local && !arguments.wall {
        bail!(
            "only the rig can count instructions: add --wall to measure this machine by the clock"
        );
    }
    // First, so that nobody waits for a comparison that can't be made, or for figures that can't be kept.
    let name = arguments.save.as_deref().unwrap_or("latest");
    Report::path(name)?;
    let before = arguments.against.as_deref().map(Report::load).transpose()?;
    if let Some((before, name)) = before.as_ref().zip(arguments.against.as_deref()) {
        before
            .comparable(arguments.wall, &rows)
            .with_context(|| format!("these rows can't be compared with `{name}`"))?;
    }
    Xen::check(arguments.on, arguments.yes)?;
    interrupt::watch()?;
    let plan = Plan {
        rows,
        named: !arguments.rows.is_empty(),
        rounds: arguments.rounds,
        wall: arguments.wall,
        on: arguments.on,
        yes: arguments.yes,
    };
    let report = bench::run(&plan)?;
    // Kept before it is shown: whoever reads along may have gone.
    let (path, chart) = (report.save(name)?, report.draw()?);
    print!("{report}");
    println!("kept in {}, drawn in {}", path.display(), chart.display());
    let worse = before.map_or_else(Vec::new, |before| report.worse_than(&before));
    let mut problems = Vec::new();
    if !report.failures().is_empty() {
        problems.push(format!(
            "not measured:\n  {}",
            report.failures().join("\n  ")
        ));
    }
    if !worse.is_empty() {
        problems.push(format!("worse by more than 5 %:\n  {}", worse.join("\n  ")));
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// What is said of a line that is refused before anything is built.
    fn refused(words: &[&str]) -> String {
        let line = Line::parse_from([&["bench"], words].concat());
        format!("{:#}", run(&line.arguments).unwrap_err())
    }

    #[test]
    fn what_cannot_be_kept_or_compared_is_not_measured() {
        assert!(refused(&["--rows", "page,"]).contains("empty word"));
        assert!(refused(&["--rows", "nothing-like-it"]).contains("--list"));
        assert!(refused(&["--save", "a/b"]).contains("`a/b` can't name"));
        assert!(refused(&["--save", "ok", "--against", "no-such"]).contains("--save no-such"));
        assert!(refused(&["--on", "local"]).contains("--wall"));
    }
}
