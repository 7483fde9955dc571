//! `cargo xtask test`: every test there is, with what they need installed first.

use anyhow::{Result, bail};
use clap::Args;

use crate::rig::{self, Options};
use crate::ui::Phase;
use crate::xen::{On, Xen};
use crate::{e2e, host, project, sh, tidy};

/// `cargo xtask test …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask test                everything: tidy, cargo test, a real Xen
  cargo xtask test --no-xen       without the real Xen
  cargo xtask test crash reboot   only the tests on Xen with these words in their names
  cargo xtask test --list         their names")]
pub(crate) struct Arguments {
    /// Run only the tests on Xen whose names contain one of these words
    filter: Vec<String>,
    /// Install missing packages of this machine without asking
    #[arg(long)]
    yes: bool,
    /// Leave out the tests that need a real Xen
    #[arg(long)]
    no_xen: bool,
    /// Which Xen
    #[arg(long, value_enum, default_value_t)]
    on: On,
    /// List the tests on Xen and end
    #[arg(long)]
    list: bool,
}

/// # Errors
/// If any test fails; what failed was printed.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        e2e::names().for_each(|name| println!("{name}"));
        return Ok(());
    }
    if !arguments.no_xen {
        // First, so that nobody is asked in the middle of a long run.
        Xen::check(arguments.on, arguments.yes)?;
        let clients = [host::CHROMIUM, host::CURL, host::OPENSSL, host::PYTHON];
        host::need(&[&clients[..], &[host::MKFS]].concat(), arguments.yes)?;
    }
    // What fails doesn't keep the rest from being tried.
    let mut failed = Vec::new();
    if arguments.filter.is_empty() {
        match tidy::all()? {
            0 => println!("tidy ... ok"),
            broken => failed.push(format!("tidy ({broken} broken rules)")),
        }
        if let Err(error) = cargo_test(arguments.no_xen) {
            eprintln!("{error:#}");
            failed.push("cargo test".into());
        }
    }
    if !arguments.no_xen {
        let options = Options {
            yes: arguments.yes,
            ..Options::default()
        };
        let outcome = e2e::run(arguments.on, options, &arguments.filter, false)?;
        println!("{} passed, {} failed", outcome.passed, outcome.failed);
        if outcome.failed > 0 {
            failed.push(format!("{} of the tests on Xen", outcome.failed));
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("failed: {}", failed.join(", ")),
    }
}

/// The tests that need no Xen. With the rig's packages at hand, layouts are checked against Xen's own headers.
fn cargo_test(offline: bool) -> Result<()> {
    let mut cargo = project::cargo();
    cargo.args(["test", "--workspace", "--quiet"]);
    if !offline {
        cargo.env("XENLET_XEN_HEADERS", rig::headers()?);
    }
    let phase = Phase::start("cargo test");
    let said = sh::output(&mut cargo)?;
    phase.done();
    println!("cargo test ... ok ({} tests)", passed(&said));
    Ok(())
}

/// The sum of cargo's lines `test result: ok. 12 passed; …`, one for each program with tests.
fn passed(said: &str) -> u32 {
    let counts = said
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next());
    counts.filter_map(|count| count.parse::<u32>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_counted() {
        let said = "running 2 tests\ntest result: ok. 2 passed; 0 failed\n\ntest result: ok. 40 passed; 0 failed\n";
        assert_eq!(passed(said), 42);
    }
}
