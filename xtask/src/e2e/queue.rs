//! The queue on disks of all kinds: what is uploaded is there, byte for byte.

use std::fs;
use std::io::{Read, Write};
use std::slice::from_ref;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::content::Content;
use super::context::{BOOT, Context, Server};
use super::load::Held;
use super::uploads::{Listed, TOKENS, Uploads};
use crate::commands::disk;
use crate::xen::{Disk, Settings};

const MIB: u64 = 1 << 20;

/// A queue on the first of some disks.
pub(super) fn boot(context: &mut Context<'_>, disks: &[Disk]) -> Result<(Server, Uploads)> {
    let guest = context.queue(1, settings(context, "format=ifblank", disks))?;
    let server = context.await_server(guest)?;
    let uploads = Uploads::new(&server.client);
    Ok((server, uploads))
}

fn settings(context: &Context<'_>, words: &str, disks: &[Disk]) -> Settings {
    Settings {
        extra: Some(format!("{TOKENS} {words} {}", context.address())),
        memory: Some(32),
        disks: disks.to_vec(),
        ..Settings::default()
    }
}

/// Verifies what is on the disk of a guest that is gone, and removes its file.
fn sound(context: &mut Context<'_>, disk: &Disk) -> Result<()> {
    context.clean(false);
    disk::check::sound(&disk.file)?;
    Ok(fs::remove_file(&disk.file)?)
}

/// Contents of all lengths that blocks make interesting.
fn contents() -> Vec<(String, Content)> {
    let lengths = [0, 1, 511, 4095, 4096, 4097, 131_073, MIB, 2 * MIB + 1];
    (1..)
        .zip(lengths)
        .map(|(seed, bytes)| (format!("content-{bytes}"), Content::new(seed, bytes)))
        .collect()
}

/// Uploads of many sizes are listed, fetched, deleted; and there again after a restart. The disk ends in the middle of
/// a block.
pub(super) fn round_trip(context: &mut Context<'_>) -> Result<()> {
    let disk = Context::disk("round-trip", 64 * MIB + 1536)?;
    let (_server, uploads) = boot(context, from_ref(&disk))?;
    interface(&uploads)?;
    context.clean(false);
    survives(context, &disk)?;
    sound(context, &disk)
}

/// The same on a disk that can be written in units of 4096 bytes only.
pub(super) fn large_sectors(context: &mut Context<'_>) -> Result<()> {
    let disk = Disk {
        sector_size: 4096,
        ..Context::disk("large-sectors", 64 * MIB)?
    };
    survives(context, &disk)?;
    sound(context, &disk)
}

/// Each request of the interface, once.
fn interface(uploads: &Uploads) -> Result<()> {
    let (old, new) = (Content::new(100, 1000), Content::new(101, 70_000));
    ensure!(
        uploads.get("/next", &[])?.status == 404,
        "an empty queue has a next"
    );
    uploads.put("old", &old)?;
    ensure!(
        uploads.try_put_chunked("new", &new)? == 201,
        "a chunked upload is refused"
    );
    ensure!(
        uploads.try_put("old", &new)? == 409,
        "a name was taken twice"
    );
    let wanted = [Listed::of("old", &old), Listed::of("new", &new)];
    ensure!(
        uploads.list()? == wanted,
        "the list is {:?}",
        uploads.list()?
    );
    let next = uploads.get("/next", &[])?;
    ensure!(
        next.status == 200,
        "GET /next was answered with {}",
        next.status
    );
    old.clone().same(&mut &next.body[..]).context("/next")?;
    let part = uploads.get("/uploads/new", &[("Range", "bytes=4090-4099")])?;
    let mut whole = Vec::new();
    std::io::copy(&mut new.clone(), &mut whole)?;
    ensure!(
        part.status == 206 && part.body == whole[4090..4100],
        "a range was answered with {} and {} bytes",
        part.status,
        part.body.len()
    );
    let stranger = uploads.get("/uploads", &[("Authorization", "Bearer no")])?;
    ensure!(
        stranger.status == 401,
        "a stranger is answered with {}",
        stranger.status
    );
    for name in ["old", "new"] {
        ensure!(uploads.delete(name)? == 204, "{name} can't be deleted");
        ensure!(uploads.delete(name)? == 404, "{name} can be deleted twice");
    }
    ensure!(uploads.list()?.is_empty(), "what was deleted is listed");
    Ok(())
}

/// Uploads of all lengths are there at once, and after the guest was destroyed and made anew.
fn survives(context: &mut Context<'_>, disk: &Disk) -> Result<()> {
    let (_server, uploads) = boot(context, from_ref(disk))?;
    for (name, content) in contents() {
        uploads.put(&name, &content)?;
        uploads.fetch(&name, &content)?;
    }
    context.clean(false);
    let (_server, uploads) = boot(context, from_ref(disk))?;
    all_there(&uploads)
}

fn all_there(uploads: &Uploads) -> Result<()> {
    let contents = contents();
    let wanted = contents
        .iter()
        .map(|(name, content)| Listed::of(name, content));
    let list = uploads.list()?;
    ensure!(list == wanted.collect::<Vec<_>>(), "the list is {list:?}");
    for (name, content) in &contents {
        uploads.fetch(name, content)?;
    }
    Ok(())
}

/// From a disk that can't be written everything can be fetched, and nothing changes.
pub(super) fn read_only(context: &mut Context<'_>) -> Result<()> {
    let disk = Context::disk("read-only", 32 * MIB)?;
    survives(context, &disk)?;
    context.clean(false);
    let before = fs::read(&disk.file)?;
    let fixed = Disk {
        read_only: true,
        ..disk.clone()
    };
    let (_server, uploads) = boot(context, &[fixed])?;
    all_there(&uploads)?;
    let status = uploads.try_put("more", &Content::new(7, 10))?;
    ensure!(status == 403, "an upload was answered with {status}");
    let status = uploads.delete("content-1")?;
    ensure!(status == 403, "a delete was answered with {status}");
    all_there(&uploads)?;
    context.clean(false);
    ensure!(fs::read(&disk.file)? == before, "the disk was written");
    sound(context, &disk)
}

/// What is no store of its own is refused in one line that says why, and left as it is.
pub(super) fn refused(context: &mut Context<'_>) -> Result<()> {
    let blank = Context::disk("blank", 16 * MIB)?;
    let foreign = Context::disk("foreign", 16 * MIB)?;
    let mut bytes = vec![0; 4096];
    Content::new(8, 4096).read_exact(&mut bytes)?;
    fs::OpenOptions::new()
        .write(true)
        .open(&foreign.file)?
        .write_all(&bytes)?;
    let fixed = Disk {
        read_only: true,
        ..blank.clone()
    };
    for (words, disks, why) in [
        ("", &[blank.clone()][..], "the disk is blank; format it"),
        ("format=ifblank", &[fixed], "the disk is read-only"),
        ("format=ifblank", from_ref(&foreign), "not a store"),
        ("format=ifblank", &[], "add one to disk ="),
    ] {
        let before = contents_of(disks)?;
        let guest = context.queue(1, settings(context, words, disks))?;
        guest
            .wait(&format!("line with `{why}`"), BOOT, |text| {
                let refusal = |line: &&str| line.contains("] ERROR ") && line.contains(why);
                text.lines().find(refusal).map(drop)
            })
            .with_context(|| format!("with `{words}`"))?;
        let server = context.await_server(guest)?;
        let status = server.client.get("/stats", &[])?.status;
        ensure!(status == 503, "/stats was answered with {status}");
        context.clean(false);
        ensure!(contents_of(disks)? == before, "the disk was written");
    }
    fs::remove_file(&blank.file)?;
    Ok(fs::remove_file(&foreign.file)?)
}

fn contents_of(disks: &[Disk]) -> Result<Vec<Vec<u8>>> {
    let read = disks.iter().map(|disk| fs::read(&disk.file));
    Ok(read.collect::<Result<_, _>>()?)
}

/// A full disk refuses, keeps what it has, and takes more when there is room again.
pub(super) fn full(context: &mut Context<'_>) -> Result<()> {
    let disk = Context::disk("full", 8 * MIB)?;
    let (_server, uploads) = boot(context, from_ref(&disk))?;
    fill(&uploads)?;
    sound(context, &disk)
}

fn fill(uploads: &Uploads) -> Result<()> {
    let room = uploads.count("/disk/free_bytes")?;
    ensure!(
        room > 6 * MIB && room <= 8 * MIB,
        "{room} bytes of 8 MiB are free"
    );
    let too_large = Content::new(1, 9 * MIB);
    for (how, status) in [
        ("a length", uploads.try_put("large", &too_large)?),
        ("chunks", uploads.try_put_chunked("large", &too_large)?),
    ] {
        ensure!(
            status == 507,
            "9 MiB with {how} were answered with {status}"
        );
    }
    uploads.put_and_cut("cut", &Content::new(2, 4 * MIB), 3 * MIB)?;
    await_room(uploads, room).context("after an upload that was cut")?;
    let content = |seed| Content::new(seed, MIB - 1000);
    let mut stored = Vec::new();
    for seed in 0.. {
        match uploads.try_put(&format!("part-{seed}"), &content(seed))? {
            201 => stored.push(seed),
            507 => break,
            status => anyhow::bail!("upload {seed} was answered with {status}"),
        }
    }
    ensure!(stored.len() >= 6, "only {} MiB fit", stored.len());
    for seed in &stored {
        uploads.fetch(&format!("part-{seed}"), &content(*seed))?;
    }
    for seed in &stored {
        let status = uploads.delete(&format!("part-{seed}"))?;
        ensure!(
            status == 204,
            "a delete on a full disk was answered with {status}"
        );
    }
    await_room(uploads, room).context("after all was deleted")?;
    uploads.put("again", &Content::new(3, 6 * MIB))?;
    uploads.fetch("again", &Content::new(3, 6 * MIB))
}

/// Waits until there is as much room as there was: what a block more or less of the tree makes is no matter.
fn await_room(uploads: &Uploads, room: u64) -> Result<()> {
    eventually(|| {
        let left = uploads.count("/disk/free_bytes")?;
        ensure!(
            left + 64 * 1024 >= room,
            "{left} bytes are free, and {room} were"
        );
        Ok(())
    })
}

/// 512 MiB go through a guest of 32 MiB, and its memory is as free as before.
pub(super) fn much_larger_than_memory(context: &mut Context<'_>) -> Result<()> {
    let disk = Context::disk("large", 1024 * MIB)?;
    // Formatted here, as by people: the guest has to look at no more than the store.
    disk::format::format(&disk.file, false)?;
    let (_server, uploads) = boot(context, from_ref(&disk))?;
    // What the first upload and fetch set up for good is none of the large one's: it takes some to fill the vif's ring.
    for (name, bytes) in [("one", 1), ("more", 32 * MIB)] {
        uploads.put(name, &Content::new(9, bytes))?;
        uploads.fetch(name, &Content::new(9, bytes))?;
    }
    let before = Held::of(&uploads)?;
    let room = uploads.count("/disk/free_bytes")?;
    let content = Content::new(10, 512 * MIB);
    uploads.put("large", &content)?;
    uploads.fetch("large", &content)?;
    ensure!(uploads.delete("large")? == 204, "it can't be deleted");
    await_room(&uploads, room)?;
    // The disk's driver keeps the pages of the most requests that it has had at once: a few of 256 KiB, of the two thousand.
    eventually(|| Held::of(&uploads)?.fits(&before, 256, 64 * 1024))?;
    sound(context, &disk)
}

/// Tries until it is so, for a while: connections have an end of their own, an idle one after a minute and what is left of it after
/// another.
pub(super) fn eventually(check: impl Fn() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(200);
    loop {
        match check() {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(500)),
            done => return done,
        }
    }
}
