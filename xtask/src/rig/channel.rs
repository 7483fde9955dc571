//! The control channel into dom0: each connection carries a token, a script, and back what the script printed.
//! The other end is `dom0/serve.sh`.

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What a script in dom0 printed, on both outputs, and how it ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) text: String,
}

/// The way to dom0.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    /// The port of 127.0.0.1 that QEMU forwards to dom0.
    pub(crate) port: u16,
    /// What dom0 asks for: other users of this machine can reach the port, but not read this.
    pub(crate) token: String,
}

impl Channel {
    /// Runs a script in dom0 with bash.
    ///
    /// # Errors
    /// If dom0 can't be reached or doesn't finish in time; not if the script fails.
    pub(crate) fn exec(&self, script: &str, timeout: Duration) -> Result<Done> {
        let mut stream = self.open("exec", script)?;
        let answer = read_all(&mut stream, Instant::now() + timeout)
            .with_context(|| format!("no answer from dom0 to `{script}`"))?;
        parse(&answer).with_context(|| format!("dom0 broke off in the middle of `{script}`"))
    }

    /// Gives the user a shell in dom0, on this terminal.
    ///
    /// # Errors
    /// If this is no terminal, or dom0 can't be reached.
    pub(crate) fn shell(&self) -> Result<()> {
        if !std::io::stdin().is_terminal() {
            bail!("this is not a terminal; `cargo xtask rig exec COMMAND` runs one command");
        }
        let saved = terminal(&["-g"])?;
        let size = terminal(&["size"]).unwrap_or_default();
        let setup = match size.split_whitespace().collect::<Vec<_>>()[..] {
            // A terminal that doesn't know its size says 0.
            [rows, columns] if rows != "0" && columns != "0" => {
                format!("stty rows {rows} columns {columns}")
            }
            _ => String::new(),
        };
        let mut stream = self.open("shell", &format!("export TERM=xterm; {setup}"))?;
        terminal(&["raw", "-echo"])?;
        let mut keys = stream.try_clone()?;
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut keys);
        });
        let result = std::io::copy(&mut stream, &mut std::io::stdout());
        terminal(&[saved.trim()])?;
        result.context("the connection to dom0 broke")?;
        Ok(())
    }

    fn open(&self, wanted: &str, script: &str) -> Result<TcpStream> {
        let mut stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).context("cannot reach dom0")?;
        stream.set_nodelay(true)?;
        write!(
            stream,
            "{}\n{wanted}\n{}\n{script}",
            self.token,
            script.len()
        )?;
        Ok(stream)
    }
}

/// Runs `stty` on this terminal.
fn terminal(words: &[&str]) -> Result<String> {
    let output = Command::new("stty")
        .args(words)
        .stdin(Stdio::inherit())
        .output()
        .context("cannot start `stty`")?;
    if !output.status.success() {
        bail!(
            "stty {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read_all(stream: &mut TcpStream, deadline: Instant) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let _ = stream.shutdown(Shutdown::Both);
            bail!(
                "it did not finish in time; so far it said:\n{}",
                String::from_utf8_lossy(&all)
            );
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part) {
            Ok(0) => return Ok(all),
            Ok(count) => all.extend_from_slice(&part[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes the last line, the exit status, off the answer.
fn parse(answer: &[u8]) -> Result<Done> {
    let answer = String::from_utf8_lossy(answer);
    let (text, status) = answer
        .strip_suffix('\n')
        .and_then(|rest| rest.rsplit_once('\n'))
        .context("no exit status")?;
    Ok(Done {
        status: status.parse().context("no exit status")?,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_text_and_its_status() {
        let done = parse(b"a\nb\n\n3\n").unwrap();
        assert_eq!((done.status, done.text.as_str()), (3, "a\nb\n"));
        let silent = parse(b"\n0\n").unwrap();
        assert_eq!((silent.status, silent.text.as_str()), (0, ""));
    }

    #[test]
    fn half_an_answer_is_refused() {
        assert!(parse(b"").is_err() && parse(b"text").is_err() && parse(b"a\nb\n").is_err());
    }
}
