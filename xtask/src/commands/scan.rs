//! `cargo xtask scan`: what scanners that are not ours find in an HTTPS server, be it a guest on a rig or on another host.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::{host, project, sh};

/// The version of sslyze (PyPI).
const SSLYZE: &str = "sslyze==6.3.1";
/// What tlsfuzzer's scripts are written against.
const TLSLITE: &str = "tlslite-ng==0.9.0b2";

/// tlsfuzzer's scripts whose every conversation goes as they expect, but for [`EXCEPT`]. Of the others many want ciphers or groups that are not offered, or
/// another alert for a handshake that is refused all the same; not each of them has been looked at.
const SCRIPTS: &[&str] = &[
    "test-tls13-conversation",
    "test-tls13-ccs",
    "test-tls13-count-tickets",
    "test-tls13-hrr",
    "test-tls13-invalid-ciphers",
    "test-tls13-keyupdate",
    "test-tls13-no-unknown-groups",
    "test-tls13-nociphers",
    "test-tls13-record-padding",
    "test-tls13-unencrypted-alert",
];

/// Conversations that are left out. One answer for several KeyUpdates is what RFC 8446 §4.6.3 allows; and rustls closes without an alert
/// where something is between the parts of a message.
const EXCEPT: &[&str] = &[
    "multiple KeyUpdate messages",
    "1/4 fragmented keyupdate msg, appdata between",
    "2/3 fragmented keyupdate msg, appdata between",
];

/// `cargo xtask scan …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask run --tls --tls12 --extra hsts=31536000           in one terminal, and in another:
  cargo xtask scan localhost:8443 --ca target/tls/ca.pem
  cargo xtask scan www.example.org:443
  cargo xtask scan localhost:8443 --tlsfuzzer ~/src/tlsfuzzer   a checkout of it; its scripts want an RSA key and a small page")]
pub(crate) struct Arguments {
    /// The server, by the name in its certificate
    #[arg(value_name = "NAME:PORT")]
    server: String,
    /// The certificate of its CA, if this machine doesn't know it
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A checkout of github.com/tlsfuzzer/tlsfuzzer, whose scripts are run instead of the scanners
    #[arg(long, value_name = "FOLDER")]
    tlsfuzzer: Option<PathBuf>,
    /// Install missing packages of this machine without asking
    #[arg(long)]
    yes: bool,
}

/// # Errors
/// If a scanner can't be run, or finds more than information.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.server.split_once(':').is_none() {
        bail!("{}: name a port too: NAME:443", arguments.server);
    }
    host::need(&[host::PYTHON, host::TESTSSL], arguments.yes)?;
    if let Some(ca) = &arguments.ca {
        ensure!(ca.is_file(), "--ca: there is no {}", ca.display());
    }
    TcpStream::connect(&arguments.server)
        .with_context(|| format!("nobody answers at {}", arguments.server))?;
    let folder = project::target_dir().join("scan");
    fs::create_dir_all(&folder)?;
    if let Some(checkout) = &arguments.tlsfuzzer {
        return fuzz(arguments, &folder, checkout);
    }
    let found = [testssl(arguments, &folder)?, sslyze(arguments, &folder)?].concat();
    for finding in &found {
        println!("{finding}");
    }
    match found.len() {
        0 => {
            println!(
                "testssl.sh and sslyze find nothing above info in {}",
                arguments.server
            );
            Ok(())
        }
        count => bail!(
            "{count} findings above info; all there is to read is in {}",
            folder.display()
        ),
    }
}

/// testssl.sh: what it finds from LOW upwards.
fn testssl(arguments: &Arguments, folder: &Path) -> Result<Vec<String>> {
    let json = folder.join("testssl.json");
    let _ = fs::remove_file(&json);
    let mut command = Command::new("testssl");
    command
        .args(["--quiet", "--color", "0", "--warnings", "off", "--jsonfile"])
        .arg(&json);
    if let Some(ca) = &arguments.ca {
        command.arg("--add-ca").arg(ca);
    }
    // Its exit status counts its findings; the file has them.
    let log = command.arg(&arguments.server).output()?.stdout;
    fs::write(folder.join("testssl.log"), &log)?;
    let text = fs::read_to_string(&json).with_context(|| {
        format!(
            "testssl.sh said nothing:\n{}",
            sh::tail(&String::from_utf8_lossy(&log))
        )
    })?;
    severe(&serde_json::from_str(&text).context("testssl.sh wrote no JSON")?)
}

/// What is no finding in the server: of this machine's OpenSSL, and of the DNS.
const ELSEWHERE: &[&str] = &["engine_problem", "DNS_CAArecord"];

/// Findings above info in testssl.sh's file.
fn severe(findings: &Value) -> Result<Vec<String>> {
    let findings = findings.as_array().context("no list of findings")?;
    if !findings.iter().any(|finding| finding["id"] == "TLS1_3") {
        bail!("testssl.sh did not come to the end of its tests");
    }
    let harmless = |finding: &&Value| {
        let is = |name: &str, word: &&str| finding[name] == **word;
        let fine = ["OK", "INFO"];
        fine.iter().any(|word| is("severity", word)) || ELSEWHERE.iter().any(|id| is("id", id))
    };
    let text = |finding: &Value| {
        let part = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        format!(
            "testssl.sh: {} {}: {}",
            part("severity"),
            part("id"),
            part("finding")
        )
    };
    Ok(findings
        .iter()
        .filter(|finding| !harmless(finding))
        .map(text)
        .collect())
}

/// sslyze: what of it failed, and where the server is not what Mozilla recommends.
fn sslyze(arguments: &Arguments, folder: &Path) -> Result<Vec<String>> {
    let python = packages(folder, &[SSLYZE])?;
    let mut command = Command::new(python.with_file_name("sslyze"));
    if let Some(ca) = &arguments.ca {
        command.arg("--certinfo_ca_file").arg(ca);
    }
    let done = command.arg(&arguments.server).output()?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    fs::write(folder.join("sslyze.log"), &said)?;
    let Some((_, compliance)) = said.split_once("COMPLIANCE AGAINST") else {
        bail!("sslyze did not come to its end:\n{}", sh::tail(&said));
    };
    let errors = said
        .lines()
        .filter(|line| line.contains("Error when running"));
    let errors = errors.map(|line| format!("sslyze: {}", line.trim()));
    let failed = compliance
        .lines()
        .filter(|line| line.contains("FAILED") || line.trim_start().starts_with('*'));
    let failed = failed.map(|line| format!("sslyze: {}", line.trim()));
    Ok(errors.chain(failed).collect())
}

/// tlsfuzzer's scripts, one after another.
fn fuzz(arguments: &Arguments, folder: &Path, checkout: &Path) -> Result<()> {
    let python = packages(folder, &[TLSLITE])?;
    let (name, port) = arguments.server.split_once(':').unwrap_or_default();
    let mut failed = 0;
    for script in SCRIPTS {
        let mut command = Command::new(&python);
        command
            .current_dir(checkout)
            .env("PYTHONPATH", ".")
            .arg(format!("scripts/{script}.py"))
            .args(["-h", name, "-p", port])
            .args(EXCEPT.iter().flat_map(|name| ["-e", name]));
        let done = command.output()?;
        let said = [done.stdout, done.stderr].concat();
        fs::write(folder.join(format!("{script}.log")), &said)?;
        println!(
            "{script} ... {}",
            if done.status.success() {
                "ok"
            } else {
                "FAILED"
            }
        );
        failed += usize::from(!done.status.success());
    }
    if failed > 0 {
        bail!(
            "{failed} of tlsfuzzer's scripts failed; what they said is in {}",
            folder.display()
        );
    }
    Ok(())
}

/// The Python of an environment with these packages, made if there is none.
fn packages(folder: &Path, names: &[&str]) -> Result<PathBuf> {
    let environment = folder.join("python");
    let python = environment.join("bin/python");
    if !python.exists() {
        sh::output(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(&environment),
        )
        .context("Debian has python3's `venv` in the package python3-venv")?;
    }
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    sh::output(Command::new(&python).args(install).args(names))?;
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_info() {
        let finding =
            |id, severity| serde_json::json!({ "id": id, "severity": severity, "finding": "f" });
        let whole = finding("TLS1_3", "OK");
        let of =
            |more: &[Value]| severe(&Value::Array([std::slice::from_ref(&whole), more].concat()));
        assert!(of(&[finding("a", "INFO")]).unwrap().is_empty());
        assert_eq!(
            of(&[finding("BREACH", "MEDIUM")]).unwrap(),
            ["testssl.sh: MEDIUM BREACH: f"]
        );
        assert_eq!(of(&[finding("scanProblem", "WARN")]).unwrap().len(), 1);
        assert!(severe(&Value::Array(Vec::new())).is_err());
    }
}
