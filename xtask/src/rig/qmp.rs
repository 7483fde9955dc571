//! QEMU's machine protocol: one command a connection, over the socket in the rig's folder.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The socket's name in QEMU's working folder.
pub(crate) const SOCKET: &str = "monitor.sock";

/// Runs one command of QEMU's human monitor and returns what it prints: nothing, for most, when all went well.
///
/// # Errors
/// If QEMU is not there or refuses.
pub(crate) fn monitor(qemu: u32, line: &str) -> Result<String> {
    let answer = execute(
        qemu,
        "human-monitor-command",
        &json!({ "command-line": line }),
    )?;
    Ok(answer.as_str().unwrap_or_default().trim().to_owned())
}

/// Runs one command and returns its answer.
///
/// # Errors
/// If QEMU is not there or refuses.
pub(crate) fn execute(qemu: u32, command: &str, arguments: &Value) -> Result<Value> {
    // A socket's path may have 107 bytes at most; this name of it is short however long the project's path is.
    let path = PathBuf::from(format!("/proc/{qemu}/cwd/{SOCKET}"));
    let stream = UnixStream::connect(&path).context("cannot reach QEMU's monitor")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut connection = BufReader::new(stream);
    let mut greeting = String::new();
    connection.read_line(&mut greeting)?;
    call(&mut connection, &json!({ "execute": "qmp_capabilities" }))?;
    call(
        &mut connection,
        &json!({ "execute": command, "arguments": arguments }),
    )
}

fn call(connection: &mut BufReader<UnixStream>, request: &Value) -> Result<Value> {
    writeln!(connection.get_mut(), "{request}")?;
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            bail!("QEMU closed its monitor");
        }
        let mut answer: Value =
            serde_json::from_str(&line).with_context(|| format!("QEMU said {line}"))?;
        if let Some(error) = answer.get("error") {
            bail!("QEMU refused {request}: {error}");
        }
        // What is neither answer nor error is an event.
        if let Some(value) = answer.get_mut("return") {
            return Ok(value.take());
        }
    }
}
