//! httpd by HTTPS, looked at by clients that are not ours: curl, OpenSSL, Python and Chromium.

pub(super) mod handshakes;
pub(super) mod roles;
pub(super) mod secrets;

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::APP;
use super::context::{BOOT, Context, END};
use super::devtools::Browser;
use crate::image::{self, Image, Key, With};
use crate::project::Target;
use crate::xen::{Guest, Settings};
use crate::{ca, sh};

/// The name that certificates here are for.
const NAME: &str = "localhost";

/// Builds httpd with TLS; kept where the httpd of the other tests does not replace it.
pub(super) fn build() -> Result<Image> {
    let with = With {
        tls: Some(Key::Module),
        ..With::default()
    };
    let built = image::build(APP, Target::Xen, with)?;
    built.keep(Context::keep("httpd-tls")?)
}

/// A guest that serves by HTTPS, and what its clients need.
struct Site {
    guest: Guest,
    /// What leads to its port 443.
    at: SocketAddr,
    /// What leads to its port 80.
    plain: SocketAddr,
    /// The file of its CA.
    ca: PathBuf,
    /// What it serves to everybody.
    open: &'static str,
}

impl Site {
    fn boot(context: &mut Context<'_>, words: &str, memory: Option<u64>) -> Result<Self> {
        let (ca, key) = files(&[NAME])?;
        Self::boot_with(context, words, memory, ca, key)
    }

    /// With this CA and this key.
    fn boot_with(
        context: &mut Context<'_>,
        words: &str,
        memory: Option<u64>,
        ca: PathBuf,
        key: PathBuf,
    ) -> Result<Self> {
        let settings = Settings {
            key: Some(key),
            memory,
            extra: Some(format!("{} {words}", context.address())),
            ..Settings::default()
        };
        let guest = context.guest_of_tls(3, settings)?;
        Self::of(context, guest, ca, "/")
    }

    /// That of a guest that has a key by this CA, when it serves.
    fn of(
        context: &mut Context<'_>,
        guest: Guest,
        ca: PathBuf,
        open: &'static str,
    ) -> Result<Self> {
        let address = guest.address(BOOT)?;
        let site = Self {
            guest,
            at: context.way(address, 443)?,
            plain: context.way(address, 80)?,
            ca,
            open,
        };
        site.curl(
            open,
            &["--retry", "20", "--retry-all-errors", "--retry-delay", "1"],
        )?;
        Ok(site)
    }

    /// What curl makes of a page: it verifies the certificate.
    fn curl(&self, path: &str, more: &[&str]) -> Result<Vec<u8>> {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "60",
            "--cacert",
        ])
        .arg(&self.ca)
        .arg("--connect-to")
        .arg(format!("{NAME}:443:{}", self.at))
        .args(more)
        .arg(format!("https://{NAME}{path}"));
        let done = curl.output()?;
        if !done.status.success() {
            bail!("curl of {path}: {}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(done.stdout)
    }

    /// What OpenSSL says of a handshake and of a page.
    fn openssl(&self, words: &[&str]) -> Result<String> {
        let mut openssl = Command::new("openssl");
        openssl
            .args([
                "s_client",
                "-connect",
                &self.at.to_string(),
                "-servername",
                NAME,
            ])
            .args(["-verify_return_error", "-ign_eof", "-CAfile"])
            .arg(&self.ca)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = openssl.spawn()?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n",
            self.open
        );
        if let Some(input) = &mut child.stdin {
            input.write_all(request.as_bytes())?;
        }
        let done = child.wait_with_output()?;
        let said = [done.stdout, done.stderr].concat();
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Checks that OpenSSL is served by a version that it calls so, and resumes its session.
    fn resumes(&self, version: &str, shown: &str) -> Result<()> {
        let session = Context::keep("session.pem")?;
        let session = session
            .to_str()
            .context("the project's folder has a name that is no UTF-8")?;
        let first = self.openssl(&[version, "-sess_out", session])?;
        for words in [
            "HTTP/1.1 200 OK",
            "Verification: OK",
            &format!("New, {shown}"),
        ] {
            ensure!(first.contains(words), "no `{words}`:\n{first}");
        }
        let second = self.openssl(&[version, "-sess_in", session])?;
        ensure!(
            second.contains(&format!("Reused, {shown}")),
            "not resumed:\n{second}"
        );
        Ok(())
    }

    /// Checks that a version is not spoken, whatever the cipher.
    fn refuses(&self, version: &str) -> Result<()> {
        let old = self.openssl(&[version, "-cipher", "ALL:@SECLEVEL=0"])?;
        ensure!(
            old.contains("alert") && !old.contains("200 OK"),
            "{version} is spoken:\n{old}"
        );
        Ok(())
    }
}

/// A CA's file, and the file of a key by it.
fn files(names: &[&str]) -> Result<(PathBuf, PathBuf)> {
    let (ca, key) = ca::issue(names)?;
    Ok((written("ca.pem", &ca)?, written("tls.pem", &key)?))
}

/// A file of this name with this text.
fn written(name: &str, text: &str) -> Result<PathBuf> {
    let file = Context::keep(name)?;
    fs::write(&file, text)?;
    Ok(file)
}

/// Every file, byte for byte, to curl; port 80 leads there.
pub(super) fn pages(context: &mut Context<'_>) -> Result<()> {
    let site = Site::boot(context, "hsts=31536000", None)?;
    for (path, bytes) in Context::site()? {
        ensure!(
            site.curl(&path, &[])? == bytes,
            "{path} differs from its file"
        );
    }
    let head = site.curl("/", &["--head"])?;
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    ensure!(
        head.contains("strict-transport-security: max-age=31536000\r\n"),
        "{head}"
    );
    let mut curl = Command::new("curl");
    let to = format!("http://{}/a?b", site.plain);
    let redirected = sh::output(curl.args([
        "-s",
        "--max-time",
        "60",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{redirect_url}",
        &to,
    ]))?;
    let expected = format!("308 https://{}/a?b", site.plain.ip());
    ensure!(
        redirected == expected,
        "port 80 said {redirected}, not {expected}"
    );
    Ok(())
}

/// OpenSSL and Python: sessions resumed, nothing older than TLS 1.3.
pub(super) fn other_clients(context: &mut Context<'_>) -> Result<()> {
    let site = Site::boot(context, "", None)?;
    site.resumes("-tls1_3", "TLSv1.3")?;
    site.refuses("-tls1_2")?;
    let said = site.python("print(get('/boot/')[:15], context.maximum_version.name)")?;
    ensure!(said.contains("HTTP/1.1 200 OK"), "Python said {said}");
    Ok(())
}

/// TLS 1.2 too, where it is asked for: by the queue, which was built for it.
pub(super) fn both_versions(context: &mut Context<'_>) -> Result<()> {
    let (ca, key) = files(&[NAME])?;
    let settings = Settings {
        key: Some(key),
        extra: Some(format!("{} tls12 format=ifblank", context.address())),
        disks: vec![Context::disk("versions", 16 << 20)?],
        ..Settings::default()
    };
    let guest = context.queue_of_tls(3, settings)?;
    let site = Site::of(context, guest, ca, "/stats")?;
    for (version, shown) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        site.resumes(version, shown)?;
    }
    site.refuses("-tls1_1")
}

/// The home page with its pictures, in a browser that was told to trust this server's key and no other.
pub(super) fn browser(context: &mut Context<'_>) -> Result<()> {
    let site = Site::boot(context, "hsts=31536000", None)?;
    let hash = "openssl x509 -pubkey -noout -in \"$0\" | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64";
    let hash = sh::output(
        Command::new("sh")
            .args(["-c", hash])
            .arg(Context::keep("tls.pem")?),
    )?;
    let mut browser = Browser::start(&Context::keep("chromium")?, Some(hash.trim()))?;
    browser.load(&format!("https://{NAME}:{}/", site.at.port()))?;
    browser.screenshot(&Context::keep("https.png")?)?;
    browser.ensure(
        "a context that is secure",
        "isSecureContext && location.protocol === 'https:'",
    )?;
    browser.ensure(
        "pictures, all loaded",
        "(i => i.length > 0 && i.every(p => p.complete && p.naturalWidth > 0))([...document.images])",
    )?;
    let mut stranger = Browser::start(&Context::keep("chromium-2")?, None)?;
    let refused = stranger.load(&format!("https://{NAME}:{}/", site.at.port()));
    ensure!(
        refused.is_err_and(|why| why.to_string().contains("CERT_AUTHORITY_INVALID")),
        "a browser that knows nothing of this server is content"
    );
    Ok(())
}

/// A key that can't be used ends the guest with a line that says why, and nothing is served in the clear.
pub(super) fn bad_keys(context: &mut Context<'_>) -> Result<()> {
    let (_, good) = files(&[NAME])?;
    let text = fs::read_to_string(&good)?;
    let (key, certificate) = text
        .split_once("-----BEGIN CERT")
        .context("no certificate")?;
    let certificate = format!("-----BEGIN CERT{certificate}");
    let other = ca::issue(&[NAME])?.1;
    let other = other.split("-----BEGIN CERT").next().unwrap_or_default();
    for (text, why) in [
        (key.to_owned(), "there is no certificate in it"),
        (certificate.clone(), "there is no key in it"),
        (
            format!("{other}{certificate}"),
            "belongs to none of the keys",
        ),
        (text.replace("\nMI", "\nMX"), "line "),
    ] {
        let settings = Settings {
            key: Some(written("bad.pem", &text)?),
            extra: Some(context.address().into()),
            ..Settings::default()
        };
        let guest = context.guest_of_tls(3, settings)?;
        guest.wait_end(END)?;
        let console = guest.console.text();
        ensure!(
            console.contains(why) && console.contains("the boot module"),
            "no `{why}`:\n{console}"
        );
        ensure!(
            !console.contains("serving"),
            "it served all the same:\n{console}"
        );
        context.clean(false);
    }
    Ok(())
}

/// It works in 8 MiB.
pub(super) fn little_memory(context: &mut Context<'_>) -> Result<()> {
    let site = Site::boot(context, "", Some(8))?;
    for (path, bytes) in Context::site()? {
        ensure!(
            site.curl(&path, &[])? == bytes,
            "{path} differs from its file"
        );
    }
    let said = site.python("print(crowd(50))")?;
    ensure!(said.trim() == "50", "{said} of 50 were served");
    Ok(())
}

impl Site {
    /// Runs some lines of Python, which have a page and a crowd to ask for.
    fn python(&self, lines: &str) -> Result<String> {
        const ASK: &str = r#"
import asyncio, ssl, sys
host, port, name, ca = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile=ca)
async def ask(path):
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name, ssl_handshake_timeout=120)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    return writer, (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
def get(path):
    return asyncio.run(ask(path))[1]
async def many(count):
    # QEMU's forwarding takes a few at a time; they stay until all are there.
    gate, there, answers = asyncio.Semaphore(16), asyncio.Event(), []
    async def one():
        async with gate:
            writer, answer = await ask("/boot/")
        answers.append(answer)
        if len(answers) == count:
            there.set()
        await there.wait()
        writer.close()
    await asyncio.gather(*[one() for _ in range(count)])
    return sum(answer.startswith("HTTP/1.1 200") for answer in answers)
def crowd(count):
    return asyncio.run(many(count))
"#;
        let mut python = Command::new("python3");
        python
            .args(["-c", &format!("{ASK}{lines}")])
            .args([
                self.at.ip().to_string(),
                self.at.port().to_string(),
                NAME.into(),
            ])
            .arg(&self.ca);
        sh::output(&mut python)
    }
}
