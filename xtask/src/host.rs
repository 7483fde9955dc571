//! Programs this machine must have, and installing the packages they are in: said first, then done.

use std::io::{IsTerminal, Write};
use std::process::Command;

use anyhow::{Result, bail};

use crate::sh;

/// A program and the Debian package it is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

/// The machine emulator the rig runs in.
pub(crate) const QEMU: Need = Need {
    program: "qemu-system-x86_64",
    package: "qemu-system-x86",
};
/// What makes ext4 file systems.
pub(crate) const MKFS: Need = Need {
    program: "mkfs.ext4",
    package: "e2fsprogs",
};
/// What counts instructions.
pub(crate) const VALGRIND: Need = Need {
    program: "valgrind",
    package: "valgrind",
};
/// What compiles libFuzzer.
pub(crate) const CXX: Need = Need {
    program: "c++",
    package: "g++",
};
/// Clients of HTTPS that are not ours.
pub(crate) const CURL: Need = Need {
    program: "curl",
    package: "curl",
};
pub(crate) const OPENSSL: Need = Need {
    program: "openssl",
    package: "openssl",
};
pub(crate) const PYTHON: Need = Need {
    program: "python3",
    package: "python3",
};
/// A scanner of HTTPS servers.
pub(crate) const TESTSSL: Need = Need {
    program: "testssl",
    package: "testssl.sh",
};
/// The browser of the end-to-end tests.
pub(crate) const CHROMIUM: Need = Need {
    program: "chromium",
    package: "chromium",
};

/// Makes sure that programs are there, installing their packages with apt after asking; `yes` is the answer.
///
/// # Errors
/// If something is missing and may not or can't be installed; the error says what to type.
pub(crate) fn need(needs: &[Need], yes: bool) -> Result<()> {
    let missing: Vec<&str> = needs
        .iter()
        .filter(|need| !sh::has(need.program))
        .map(|need| need.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if !sh::has("apt-get") {
        bail!(
            "missing on this machine: {packages} (Debian's names). Install them with your system's own tools."
        );
    }
    let root = sh::output(Command::new("id").arg("-u"))?.trim() == "0";
    let prefix = if root { "" } else { "sudo " };
    let command = format!("{prefix}apt-get install --no-install-recommends {packages}");
    if !root && !sh::has("sudo") {
        bail!("missing on this machine: {packages}. As root, type: {command}");
    }
    if !yes && !agreed(&packages, &command)? {
        bail!(
            "missing on this machine: {packages}. Type: {command}\nor let this command do it: add --yes"
        );
    }
    eprintln!("installing {packages}: {command}");
    let apt = |words: &[&str]| {
        let mut line = if root {
            Command::new("apt-get")
        } else {
            Command::new("sudo")
        };
        if !root {
            line.arg("apt-get");
        }
        line.env("DEBIAN_FRONTEND", "noninteractive").args(words);
        line
    };
    sh::output(&mut apt(&["update"]))?;
    let mut words = vec!["install", "--yes", "--no-install-recommends"];
    words.extend(&missing);
    sh::output(&mut apt(&words))?;
    Ok(())
}

fn agreed(packages: &str, command: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("missing on this machine: {packages}\nshall I run `{command}`? [Y/n] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_needs_nothing() {
        assert!(
            need(
                &[Need {
                    program: "sh",
                    package: "dash"
                }],
                false
            )
            .is_ok()
        );
    }
}
