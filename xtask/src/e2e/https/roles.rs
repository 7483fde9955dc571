//! Who is who over TLS: the queue with a key that is on a disk, and clients with certificates.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{NAME, written};
use crate::ca::Ca;
use crate::e2e::QUEUE;
use crate::e2e::context::{BOOT, Context};
use crate::e2e::queue::eventually;
use crate::image::{self, Image, Key, With};
use crate::project::Target;
use crate::xen::{Disk, Settings};

/// The uploader's, in the file with the key.
const TOKEN: &str = "0123456789abcdef";
/// Bytes of the disk with the key.
const DISK_BYTES: usize = 64 * 1024;

/// Builds the queue with TLS; kept where the queue of the other tests does not replace it.
pub(in crate::e2e) fn build() -> Result<Image> {
    let with = With {
        tls: Some(Key::Disk),
        tls12: true,
        ..With::default()
    };
    let built = image::build(QUEUE, Target::Xen, with)?;
    built.keep(Context::keep("queue-tls")?)
}

/// Somebody who asks, with the options of curl that say who it is.
struct Client<'c> {
    at: SocketAddr,
    ca: &'c Path,
    who: Vec<String>,
}

impl Client<'_> {
    /// The status of the answer, or what curl says went wrong.
    fn ask(&self, path: &str, more: &[&str]) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
            .arg(self.ca)
            .args(["--output", "/dev/null", "--write-out", "%{http_code}"])
            .args(["--connect-to", &format!("{NAME}:443:{}", self.at)])
            .args(&self.who)
            .args(more)
            .arg(format!("https://{NAME}{path}"));
        let done = curl.output()?;
        let said = if done.status.success() {
            done.stdout
        } else {
            done.stderr
        };
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

/// The disk that has this text, and zeros after it.
fn disk_of(text: &str) -> Result<Disk> {
    let file = Context::keep("key.img")?;
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(DISK_BYTES, 0);
    fs::write(&file, bytes)?;
    Ok(Disk::of(&file))
}

/// Roles by certificate and by token; nothing by a certificate of somebody else's CA. Then the disk has another key.
pub(in crate::e2e) fn certificates(context: &mut Context<'_>) -> Result<()> {
    let (servers, clients, strangers) = (Ca::new()?, Ca::new()?, Ca::new()?);
    let text = format!(
        "{}token uploader: {TOKEN}\nclients:\n{}",
        servers.server(&[NAME])?,
        clients.pem
    );
    let settings = Settings {
        extra: Some(format!("tls=xvdb format=ifblank {}", context.address())),
        disks: vec![Context::disk("roles", 16 << 20)?, disk_of(&text)?],
        ..Settings::default()
    };
    let guest = context.queue_of_tls(1, settings)?;
    let address = guest.address(BOOT)?;
    let at = context.way(address, 443)?;
    let ca = written("servers.pem", &servers.pem)?;
    let client = |who| Client { at, ca: &ca, who };
    let shows = |name: &str, ca: &Ca, file| {
        let file = written(file, &ca.client(name)?)?;
        anyhow::Ok(client(vec!["--cert".into(), file.display().to_string()]))
    };
    let sends = |token: &str| {
        let field = format!("Authorization: Bearer {token}");
        client(vec!["--header".into(), field])
    };
    let (uploader, downloader) = (
        shows("uploader", &clients, "uploader.pem")?,
        shows("downloader", &clients, "downloader.pem")?,
    );
    let put = ["--upload-file", "Cargo.toml"];
    eventually(|| {
        let status = client(Vec::new()).ask("/stats", &[])?;
        ensure!(status == "200", "GET /stats: {status}");
        Ok(())
    })?;
    for (who, client, (puts, gets)) in [
        ("the uploader", &uploader, ("201", "403")),
        ("the downloader", &downloader, ("403", "200")),
        ("its token", &sends(TOKEN), ("201", "403")),
        ("another token", &sends("0123456789abcdee"), ("401", "403")),
        (
            "somebody",
            &shows("somebody", &clients, "a.pem")?,
            ("401", "403"),
        ),
        ("nobody", &client(Vec::new()), ("401", "403")),
    ] {
        let status = client.ask(&format!("/uploads/{}", who.replace(' ', "-")), &put)?;
        ensure!(status == puts, "an upload by {who}: {status}, not {puts}");
        let status = client.ask("/uploads", &[])?;
        ensure!(status == gets, "the list for {who}: {status}, not {gets}");
    }
    let said = shows("uploader", &strangers, "b.pem")?.ask("/uploads/c", &put)?;
    ensure!(
        said.contains("alert"),
        "with a certificate of somebody else's CA: {said}"
    );

    // The former key's CA, then that of the key that the disk has now.
    let others = Ca::new()?;
    let text = others.server(&[NAME])?;
    let domain = guest.domid()?.context("the guest is gone")?;
    context.xen.dom0().run(&format!(
        "set -e\n\
         cat > /tmp/new.pem <<'END'\n{text}END\n\
         dd if=/tmp/new.pem of=$(xenstore-read /local/domain/0/backend/vbd/{domain}/51728/params) bs={DISK_BYTES} conv=sync,fsync\n\
         rm /tmp/new.pem\n\
         xenstore-write /local/domain/{domain}/data/tls xvdb"
    ))?;
    let ca = written("others.pem", &others.pem)?;
    eventually(|| {
        let status = Client {
            ca: &ca,
            ..client(uploader.who.clone())
        }
        .ask("/uploads/new", &put)?;
        ensure!(
            status == "201" || status == "409",
            "by the new key: {status}"
        );
        Ok(())
    })?;
    let said = uploader.ask("/stats", &[])?;
    ensure!(said.contains("certificate"), "by the former key: {said}");
    Ok(())
}
