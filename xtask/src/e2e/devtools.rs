//! A headless Chromium, driven over its DevTools protocol on a pair of pipes: JSON messages that end in a zero byte.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::host::CHROMIUM;

/// A browser with one page.
pub(super) struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Value,
    number: u64,
}

/// Starting a browser and loading a page from an emulated guest take less.
const PATIENCE: Duration = Duration::from_secs(90);

impl Browser {
    /// Starts the browser, with nothing remembered: its profile is a new folder. It trusts certificates by the `trusted` key, of which
    /// that is the SHA-256 in base64.
    pub(super) fn start(profile: &Path, trusted: Option<&str>) -> Result<Self> {
        let _ = std::fs::remove_dir_all(profile);
        // Chromium speaks on its descriptors 3 and 4; a shell makes them of the pipes at 0 and 1.
        let mut process = Command::new("sh")
            .args([
                "-c",
                "exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null",
                CHROMIUM.program,
            ])
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args([
                "--disable-sync",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--no-proxy-server",
            ])
            .arg("--window-size=1280,900")
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(trusted.map(|key| format!("--ignore-certificate-errors-spki-list={key}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start chromium")?;
        let commands = process.stdin.take().context("a pipe to chromium")?;
        let answers = process.stdout.take().context("a pipe from chromium")?;
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Some(value) = message
                    .ok()
                    .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                else {
                    return;
                };
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            process,
            commands,
            messages,
            session: Value::Null,
            number: 0,
        };
        let target =
            browser.call("Target.createTarget", &json!({ "url": "about:blank" }))?["targetId"]
                .take();
        let attach = json!({ "targetId": target, "flatten": true });
        browser.session = browser.call("Target.attachToTarget", &attach)?["sessionId"].take();
        browser.call("Page.enable", &json!({}))?;
        Ok(browser)
    }

    /// Loads a page with all that belongs to it.
    pub(super) fn load(&mut self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", &json!({ "url": url }))?;
        if let Some(error) = answer["errorText"].as_str() {
            bail!("chromium cannot load {url}: {error}");
        }
        self.await_message("the page's load event", |message| {
            message["method"] == "Page.loadEventFired"
        })
        .map(drop)
    }

    /// The value of a JavaScript expression on the page; a promise's when it is fulfilled.
    pub(super) fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let arguments =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", &arguments)?;
        if let Some(error) = answer.get("exceptionDetails") {
            bail!("{expression} threw {error}");
        }
        Ok(answer["result"]["value"].take())
    }

    /// Checks a JavaScript expression that must be true.
    pub(super) fn ensure(&mut self, what: &str, expression: &str) -> Result<()> {
        let value = self.evaluate(expression)?;
        ensure!(
            value == true,
            "in the browser, {what} does not hold: {expression} is {value}"
        );
        Ok(())
    }

    /// Saves the page as a picture, all of it.
    pub(super) fn screenshot(&mut self, file: &Path) -> Result<()> {
        let arguments = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", &arguments)?;
        let data = answer["data"]
            .as_str()
            .context("no picture in chromium's answer")?;
        std::fs::write(file, base64(data)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }

    fn call(&mut self, method: &str, arguments: &Value) -> Result<Value> {
        self.number += 1;
        let number = self.number;
        let mut message = json!({ "id": number, "method": method, "params": arguments });
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        write!(self.commands, "{message}\0").context("chromium is gone")?;
        let mut answer = self.await_message(method, |message| message["id"] == number)?;
        if let Some(error) = answer.get("error") {
            bail!("chromium refuses {method}: {error}");
        }
        Ok(answer["result"].take())
    }

    fn await_message(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self
                .messages
                .recv_timeout(left)
                .with_context(|| format!("chromium does not answer: {what}"))?;
            if is_it(&message) {
                return Ok(message);
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.call("Browser.close", &json!({}));
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Decodes RFC 4648's base64.
pub(super) fn base64(text: &str) -> Result<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = (0_u32..)
            .zip(ALPHABET)
            .find(|(_, known)| **known == letter)
            .context("not base64")?
            .0;
        bits = (bits << 6 | value) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.extend(u8::try_from(bits >> count & 0xff));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_the_rfc() {
        for (text, plain) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(base64(text).unwrap(), plain.as_bytes());
        }
        assert!(base64("Z!==").is_err());
    }
}
