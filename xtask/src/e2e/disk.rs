//! httpd with its site on a disk.

use std::collections::BTreeMap;
use std::fs;
use std::slice::from_ref;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::APP;
use super::content::Content;
use super::context::{Context, Server};
use super::http::{Client, LONG};
use super::queue;
use crate::commands::disk::{check, from_folder};
use crate::image::{self, Image, With};
use crate::project::Target;
use crate::xen::{Disk, Settings, Xen};

const MIB: u64 = 1 << 20;

/// Builds httpd for a site on a disk, and the disk; kept where the httpd of the other tests does not replace it.
pub(super) fn build() -> Result<Image> {
    let site = site()?;
    from_folder::make(&Context::site_folder(), &site.file)?;
    let built = image::build(APP, Target::Xen, With::site(&site.file))?;
    built.keep(Context::keep("httpd-disk")?)
}

/// The disk with the site that the other httpd has embedded.
fn site() -> Result<Disk> {
    Ok(Disk {
        read_only: true,
        ..Disk::of(&Context::keep("site.img")?)
    })
}

fn boot(context: &mut Context<'_>, words: &str, memory: u64, disks: &[Disk]) -> Result<Server> {
    let settings = Settings {
        extra: Some(format!("{words} {}", context.address())),
        memory: Some(memory),
        disks: disks.to_vec(),
        ..Settings::default()
    };
    context.server_of_disk(1, settings)
}

/// What the disk holds is served as what is embedded is: the same bytes under the same headers, whatever is asked for.
pub(super) fn as_embedded(context: &mut Context<'_>) -> Result<()> {
    let embedded = context.shared()?.client.clone();
    let server = boot(context, "site=xvda cache=128K", 32, &[site()?])?;
    for path in paths()? {
        let tag = embedded.get(&path, &[])?.header("etag").to_owned();
        for headers in [
            &[][..],
            &[("Accept-Encoding", "gzip")],
            &[("Accept-Encoding", "br;q=0.5, gzip;q=0.1")],
            &[("If-None-Match", &tag)],
            &[("If-None-Match", "\"another\"")],
            &[("If-Match", "\"another\"")],
            &[("Range", "bytes=5-99")],
            &[("Range", "bytes=-7")],
            &[("Range", "bytes=100-"), ("If-Range", &tag)],
            &[("Range", "bytes=9999999-")],
        ] {
            let wanted = embedded.get(&path, headers)?;
            let got = server.client.get(&path, headers)?;
            ensure!(
                got.head() == wanted.head(),
                "{path} with {headers:?}: from the disk {:?}, and embedded {:?}",
                got.head(),
                wanted.head()
            );
            ensure!(
                got.body == wanted.body,
                "{path} with {headers:?} has another body"
            );
        }
    }
    let [used, limit] = cache(&server.client)?;
    ensure!(
        limit == 128 * 1024 && (1..=limit).contains(&used),
        "the cache has {used} of {limit} bytes"
    );
    Ok(())
}

/// Paths of all kinds: every file, folders with and without their slash, and what is not there.
fn paths() -> Result<Vec<String>> {
    let files = Context::site()?;
    let mut paths: Vec<String> = files.keys().cloned().collect();
    for path in files.keys() {
        if let Some(folder) = path.strip_suffix("index.html") {
            paths.push(folder.to_owned());
            paths.extend(folder.strip_suffix('/').map(str::to_owned));
        }
    }
    paths.retain(|path| !path.is_empty());
    ensure!(
        paths.iter().any(|path| path == "/") && paths.iter().any(|path| path == "/boot"),
        "the site has lost a folder"
    );
    paths.extend(["/no-such-page", "/.xenlet/index", "/lost+found/"].map(str::to_owned));
    Ok(paths)
}

/// Bytes that the cache of what was read has, and may have.
fn cache(client: &Client) -> Result<[u64; 2]> {
    let status: Value = serde_json::from_slice(&client.page("/status.json")?.body)?;
    let number = |name: &str| {
        let found = status["site"]["cache"][name].as_u64();
        found.with_context(|| format!("no {name} of a cache in /status.json: {status}"))
    };
    Ok([number("used_bytes")?, number("limit_bytes")?])
}

/// Each of two disks has its own content. That of the second one is larger than the guest's memory.
pub(super) fn two_disks(context: &mut Context<'_>) -> Result<()> {
    let large = Content::new(20, 12 * MIB);
    let second = other_site(&large)?;
    for (words, first) in [("site=xvda", true), ("site=xvdb", false)] {
        let server = boot(context, words, 8, &[site()?, second.clone()])?;
        let client = &server.client;
        for (path, of_first) in [("/style.css", true), ("/large.zip", false)] {
            let status = client.open(path, &[], LONG)?.status().as_u16();
            let wanted = if first == of_first { 200 } else { 404 };
            ensure!(
                status == wanted,
                "{words}: {path} was answered with {status}, not {wanted}"
            );
        }
        if first {
            let style = &Context::site()?["/style.css"];
            let served = client.page("/style.css")?.body;
            ensure!(served == *style, "/style.css differs from its file");
        } else {
            let mut response = client.open("/large.zip", &[], LONG)?;
            let body = &mut response.body_mut().as_reader();
            large.clone().same(body).context("/large.zip")?;
        }
        context.clean(false);
    }
    beside_another(context, &second)
}

/// An image of another site, of one large file. By its name there is nothing in it to compress, which would take long.
fn other_site(large: &Content) -> Result<Disk> {
    let folder = Context::keep("other-site")?;
    fs::create_dir_all(&folder)?;
    let mut file = fs::File::create(folder.join("large.zip"))?;
    std::io::copy(&mut large.clone(), &mut file)?;
    let disk = Disk {
        read_only: true,
        ..Disk::of(&Context::keep("other-site.img")?)
    };
    from_folder::make(&folder, &disk.file)?;
    fs::remove_dir_all(folder)?;
    Ok(disk)
}

/// A queue on the first disk leaves the second one alone, though it could write it.
fn beside_another(context: &mut Context<'_>, other: &Disk) -> Result<()> {
    let before = fs::read(&other.file)?;
    let first = Context::disk("beside-another", 16 * MIB)?;
    let writable = Disk::of(&other.file);
    let content = Content::new(21, 2 * MIB);
    let (_server, uploads) = queue::boot(context, &[first.clone(), writable])?;
    uploads.put("content", &content)?;
    uploads.fetch("content", &content)?;
    context.clean(false);
    ensure!(
        check::sound(&first.file)?.blob_bytes == content.bytes(),
        "the upload is not on the first disk"
    );
    ensure!(
        fs::read(&other.file)? == before,
        "the second disk was written"
    );
    fs::remove_file(&first.file)?;
    Ok(fs::remove_file(&other.file)?)
}

/// Linux mounts what `disk from-folder` made, and finds in it the files of the folder and nothing else.
pub(super) fn mounted_by_linux(context: &mut Context<'_>) -> Result<()> {
    const OWNER: &str = "e2e-mounted";
    let disk = site()?;
    let device = context.xen.lend(OWNER, from_ref(&disk))?;
    let found = device.first().context("there is a device")?;
    let found = found.to_str().context("its name is text")?;
    let how = match context.xen {
        Xen::Rig(_) => "ro",
        Xen::Local => "ro,loop",
    };
    let script = format!(
        "mkdir -p /run/e2e-mounted && mount -t ext4 -o {how} '{found}' /run/e2e-mounted && cd /run/e2e-mounted &&
         find . -type f -exec sha256sum '{{}}' ';'; said=$?; cd /; umount /run/e2e-mounted; exit $said"
    );
    let listed = context.xen.dom0().run(&script);
    context.xen.unplug(OWNER)?;
    let wanted: BTreeMap<String, String> = Context::site()?
        .into_iter()
        .map(|(path, bytes)| (path, sha256(&bytes)))
        .collect();
    let got = files(&listed?)?;
    ensure!(
        got == wanted,
        "Linux finds in {} {got:#?}, and the folder has {wanted:#?}",
        disk.file.display()
    );
    Ok(())
}

/// The lines of sha256sum: paths and hashes, but for what httpd keeps for itself.
fn files(listed: &str) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for line in listed.lines() {
        let (hash, path) = line
            .split_once("  .")
            .with_context(|| format!("no line of sha256sum: {line}"))?;
        if !path.starts_with("/.xenlet/") {
            files.insert(path.to_owned(), hash.to_owned());
        }
    }
    Ok(files)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
