//! `cargo xtask fuzz`: libFuzzer on the targets of tests/fuzz, on stable Rust.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::image::TRIPLE;
use crate::ui::Phase;
use crate::{host, project, sh};

/// What has a compiler count which edges of the program were taken, as libFuzzer reads it.
const COVERAGE: &str = "--cfg libfuzzer -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Seconds that one input may take: the slowest take a hundredth of it.
const TIMEOUT: u32 = 20;
/// Bytes of the longest input.
const LONGEST: u32 = 2048;

/// `cargo xtask fuzz …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask fuzz                           a minute of each target
  cargo xtask fuzz netif blkif --seconds 3600
  cargo xtask fuzz tls --merge               and put what it found interesting into the tree

Each target is a guest with a peer that does what the input says. An input that makes the guest panic, wait for ever, lose
memory or show a page that was not wiped is written to target/fuzz/findings, and the command that runs it again is said. The
inputs in tests/fuzz/corpus are where it begins; `cargo test` runs them all.")]
pub(crate) struct Arguments {
    /// Which targets; without any, all
    targets: Vec<String>,
    /// How long for each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Afterwards, make the fewest inputs that reach what all reach the corpus in the tree
    #[arg(long)]
    merge: bool,
    /// List the targets and end
    #[arg(long)]
    list: bool,
    /// Install missing packages of this machine without asking
    #[arg(long)]
    yes: bool,
}

/// # Errors
/// If there is no such target, the programs don't build, or a fuzzer found something.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let phase = Phase::start("building the targets");
    let list = sh::output(&mut by_hand(&["--list"]))?;
    phase.done();
    if arguments.list {
        print!("{list}");
        return Ok(());
    }
    let all: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    if let Some(unknown) = arguments
        .targets
        .iter()
        .find(|name| !all.contains(&name.as_str()))
    {
        bail!("no target `{unknown}`: there are {}", all.join(", "));
    }
    host::need(&[host::CXX], arguments.yes)?;
    let program = build()?;
    let mut found = Vec::new();
    for name in all {
        if arguments.targets.is_empty() || arguments.targets.iter().any(|wanted| wanted == name) {
            let fuzzer = Fuzzer::new(&program, name)?;
            if !fuzzer.run(arguments.seconds)? {
                found.push(name);
            }
            if arguments.merge {
                fuzzer.merge()?;
            }
        }
    }
    match found.is_empty() {
        true => Ok(()),
        false => bail!("found something: {}", found.join(", ")),
    }
}

/// The program of tests/fuzz that has no need of libFuzzer.
fn by_hand(words: &[&str]) -> Command {
    let mut cargo = project::cargo();
    cargo
        .args(["run", "--quiet", "--package", "xenlet-fuzz", "--"])
        .args(words);
    cargo
}

/// Builds the program with libFuzzer in it.
fn build() -> Result<PathBuf> {
    let folder = folder();
    let mut cargo = project::cargo();
    // With a target by name, build scripts don't get the flags.
    cargo
        .args([
            "build",
            "--quiet",
            "--package",
            "xenlet-fuzz",
            "--bin",
            "fuzz",
            "--profile",
            "fuzz",
        ])
        .args(["--target", TRIPLE, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", COVERAGE);
    let phase = Phase::start("building the fuzzers");
    sh::output(&mut cargo)?;
    phase.done();
    Ok(folder.join(TRIPLE).join("fuzz/fuzz"))
}

fn folder() -> PathBuf {
    project::target_dir().join("fuzz")
}

/// One target.
struct Fuzzer<'a> {
    program: &'a Path,
    name: &'a str,
    /// Its inputs, a file for each.
    inputs: PathBuf,
    log: PathBuf,
}

impl<'a> Fuzzer<'a> {
    fn new(program: &'a Path, name: &'a str) -> Result<Self> {
        let folder = folder();
        let inputs = folder.join("corpus").join(name);
        fs::create_dir_all(folder.join("findings"))?;
        sh::output(by_hand(&["--unpack", name]).arg(&inputs))?;
        Ok(Self {
            program,
            name,
            inputs,
            log: folder.join(name).with_extension("log"),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .env("XENLET_FUZZ", self.name)
            // Each run is a thread: an arena for each would look like a leak.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs it, and says what came of it. False if it found something.
    fn run(&self, seconds: u32) -> Result<bool> {
        let prefix = folder().join("findings").join(self.name);
        let mut child = self
            .command()
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={TIMEOUT}"))
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-artifact_prefix={}-", prefix.display()))
            .arg(&self.inputs)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let phase = Phase::start(format!("fuzzing {}", self.name));
        let mut log = File::create(&self.log)?;
        let (mut last, mut finding) = (String::new(), None);
        for line in BufReader::new(child.stderr.take().context("it has no output")?).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            writeln!(log, "{line}")?;
            if let Some(progress) = progress(&line) {
                phase.detail(&progress);
                last = progress;
            }
            if let Some((_, file)) = line.split_once("Test unit written to ") {
                finding = Some(file.to_owned());
            }
        }
        let status = child.wait()?;
        drop(phase);
        if status.success() {
            println!("{} ... ok ({last})", self.name);
            return Ok(true);
        }
        println!(
            "{} ... FOUND something ({last}); {} says what",
            self.name,
            self.log.display()
        );
        if let Some(file) = finding {
            println!(
                "  again: cargo run --package xenlet-fuzz -- {} {file}",
                self.name
            );
        }
        Ok(false)
    }

    /// Makes the fewest inputs that reach all that is reached the corpus.
    fn merge(&self) -> Result<()> {
        let fewest = folder().join("merged").join(self.name);
        if fewest.exists() {
            fs::remove_dir_all(&fewest)?;
        }
        fs::create_dir_all(&fewest)?;
        let phase = Phase::start(format!("merging {}", self.name));
        sh::output(
            self.command()
                .args(["-merge=1", "-use_counters=0"])
                .args([&fewest, &self.inputs]),
        )?;
        phase.done();
        print!(
            "{}",
            sh::output(by_hand(&["--pack", self.name]).arg(&fewest))?
        );
        Ok(())
    }
}

/// Reads `#4096 NEW cov: 1900 ft: 4000 corp: 100/2Kb exec/s: 250 rss: 40Mb …`.
fn progress(line: &str) -> Option<String> {
    let (runs, rest) = line.strip_prefix('#')?.split_once(char::is_whitespace)?;
    let after = |name: &str| rest.split_once(name)?.1.split_whitespace().next();
    let (edges, speed) = (after("cov:")?, after("exec/s:")?);
    Some(format!("{runs} inputs, {edges} edges, {speed} a second"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says() {
        let line = "#4096\tNEW    cov: 1900 ft: 4000 corp: 100/2Kb lim: 6 exec/s: 250 rss: 40Mb L: 6/6 MS: 1 Copy-";
        assert_eq!(
            progress(line).as_deref(),
            Some("4096 inputs, 1900 edges, 250 a second")
        );
        assert_eq!(progress("INFO: Seed: 3987162570"), None);
    }
}
