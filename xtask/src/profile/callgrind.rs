//! Callgrind: running a program below it, and reading what it wrote (the format is `cl-format` in valgrind's manual).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::sh;

/// Functions of the program, by their symbols.
pub(super) struct Marks {
    /// What is counted begins when this is called, …
    pub(super) begin: String,
    /// … and ends when this is.
    pub(super) end: String,
    /// What is not counted, with all that they call.
    pub(super) left_out: Vec<String>,
}

/// Runs the program; leaves what was counted between the marks in `out`.
///
/// # Errors
/// If it fails.
pub(super) fn run(
    program: &Path,
    row: &str,
    requests: u64,
    marks: &Marks,
    out: &Path,
) -> Result<()> {
    // What was counted before `begin`, what before `end`, and the rest.
    let parts = [".1", ".2", ""].map(|end| part(out, end));
    for old in &parts {
        match fs::remove_file(old) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("cannot remove {}", old.display()));
            }
            _ => {}
        }
    }
    let mut valgrind = Command::new("valgrind");
    valgrind
        // A REP counts as one instruction for each byte, which no processor takes.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS,-FSRM")
        .args(["--tool=callgrind", "--dump-instr=yes", "--demangle=no"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .args(
            marks
                .left_out
                .iter()
                .map(|function| format!("--toggle-collect={function}")),
        )
        // After those, which say no to it.
        .arg("--collect-atstart=yes")
        .arg(format!("--dump-before={}", marks.begin))
        .arg(format!("--dump-before={}", marks.end))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args([row, &requests.to_string()]);
    sh::output(&mut valgrind)?;
    let [before, between, after] = parts;
    ensure!(
        between.exists(),
        "callgrind wrote no {}: it did not see {} and {} being called",
        between.display(),
        marks.begin,
        marks.end
    );
    fs::remove_file(before)?;
    fs::rename(between, after)?;
    Ok(())
}

fn part(out: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(out);
    name.push(end);
    name.into()
}

/// What was counted at an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) address: u64,
    /// The function's symbol, if it has one.
    pub(super) symbol: String,
    pub(super) instructions: u64,
}

/// Reads a file without compression, of instructions alone. What a call cost, the callee's own lines say again: it is skipped.
///
/// # Errors
/// If a line is not understood, or the lines are not what the file says they are in all.
pub(super) fn parse(text: &str) -> Result<Vec<Cost>> {
    let mut costs = Vec::new();
    let (mut symbol, mut total, mut called) = ("", None::<u64>, false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            symbol = name;
        } else if line.starts_with("calls=") {
            called = true;
        } else if let Some(count) = line.strip_prefix("totals: ") {
            total = count.trim().parse().ok();
        } else if line.starts_with("0x") && !std::mem::take(&mut called) {
            let Some((address, instructions)) = cost(line) else {
                bail!("callgrind wrote a line that is not understood: {line}");
            };
            costs.push(Cost {
                address,
                symbol: symbol.to_owned(),
                instructions,
            });
        }
    }
    let sum: u64 = costs.iter().map(|cost| cost.instructions).sum();
    match total {
        Some(total) if total == sum => Ok(costs),
        _ => bail!("callgrind's lines add up to {sum} instructions, and not to {total:?}"),
    }
}

/// `0xaddress line instructions`.
fn cost(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split(' ');
    let address = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    let _line = words.next()?;
    Some((address, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# callgrind format\npositions: instr line\nevents: Ir\nsummary: 42\n\n\
        ob=/x/profile\nfl=/x/a.rs\nfn=one\n0x401000 7 10\nfi=/x/b.rs\n0x401004 0 2\ncfn=two\n\
        calls=3 0x402000 9\n0x401004 8 30\nfe=/x/a.rs\n\nfn=two\n0x402000 9 30\n\ntotals: 42\n";

    #[test]
    fn costs_of_callees_are_counted_once() {
        let cost = |address, symbol: &str, instructions| Cost {
            address,
            symbol: symbol.into(),
            instructions,
        };
        assert_eq!(
            parse(FILE).unwrap(),
            [
                cost(0x40_1000, "one", 10),
                cost(0x40_1004, "one", 2),
                cost(0x40_2000, "two", 30)
            ]
        );
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        for (from, to) in [
            ("totals: 42", "totals: 43"),
            ("totals: 42\n", ""),
            ("7 10", "10"),
        ] {
            assert!(parse(&FILE.replace(from, to)).is_err(), "{to}");
        }
    }
}
