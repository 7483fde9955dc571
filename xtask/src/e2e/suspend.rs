//! Guests are saved and go on, and devices come and go: connections that were open answer, and what was acknowledged is there.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::content::Content;
use super::context::{BOOT, Context, Server};
use super::http::exchange;
use super::uploads::{self, Listed};
use super::{destroyed, queue};
use crate::commands::disk;
use crate::xen::{Guest, Settings};

/// How often, each.
const ROUNDS: u64 = 3;
/// Clients that ask all the time.
const CLIENTS: usize = 4;

/// `xl save` and `xl restore`, with idle connections and busy ones.
pub(super) fn save_restore(context: &mut Context<'_>) -> Result<()> {
    let server = context.server(1, fixed(context))?;
    let mut domid = server.guest.domid()?;
    survives(&server, |round| {
        server.guest.save_and_restore()?;
        said(&server.guest, "suspend: Restored", round)?;
        let before = std::mem::replace(&mut domid, server.guest.domid()?);
        ensure!(domid != before, "it is still domain {before:?}");
        Ok(())
    })
}

/// `xl save -c`: the guest goes on, and notices nothing of its devices.
pub(super) fn checkpoint(context: &mut Context<'_>) -> Result<()> {
    let server = context.server(1, fixed(context))?;
    survives(&server, |round| {
        server.guest.checkpoint()?;
        said(&server.guest, "suspend: InPlace", round)
    })?;
    let console = server.guest.console.text();
    ensure!(!console.contains("link is down"), "it lost its vif");
    Ok(())
}

/// `xl pause` and `xl unpause`, which a guest does not hear of.
pub(super) fn pause(context: &mut Context<'_>) -> Result<()> {
    let server = context.server(1, fixed(context))?;
    survives(&server, |_| {
        server.guest.xl("pause")?;
        sleep(Duration::from_secs(3));
        server.guest.xl("unpause").map(drop)
    })
}

/// The queue is saved and restored in the middle of uploads.
pub(super) fn queue(context: &mut Context<'_>) -> Result<()> {
    uploads_survive(context, "saved", |guest, round| {
        match round {
            2 => guest.checkpoint(),
            _ => guest.save_and_restore(),
        }?;
        said(guest, "suspend: ", round)
    })
}

/// The queue's disk and its vif are detached in the middle of uploads, and attached again.
pub(super) fn devices(context: &mut Context<'_>) -> Result<()> {
    uploads_survive(context, "detached", |guest, round| {
        guest.replug_disk()?;
        said(guest, "there is a backend again", round)?;
        guest.replug_vif()?;
        said(guest, "link is up", 1 + round)
    })
}

/// Does `disturb` a few times while clients upload to the queue: each upload is acknowledged, and is there as it was sent.
fn uploads_survive(
    context: &mut Context<'_>,
    name: &str,
    mut disturb: impl FnMut(&Guest, u64) -> Result<()>,
) -> Result<()> {
    const BYTES: u64 = 3 << 20;
    let disk = Context::disk(name, 384 << 20)?;
    let (server, uploads) = queue::boot(context, std::slice::from_ref(&disk))?;
    let (ending, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let sent = thread::scope(|scope| {
        let clients: Vec<_> = (1..=2_u64)
            .map(|client| {
                let (ending, acknowledged, uploads) = (&ending, &acknowledged, &uploads);
                scope.spawn(move || -> Result<Vec<(String, Content)>> {
                    let mut stream = uploads.connect()?;
                    let mut sent = Vec::new();
                    while !ending.load(Ordering::Relaxed) {
                        let number = sent.len() as u64;
                        let content = Content::new(client << 32 | number, BYTES);
                        let name = format!("{client}-{number}");
                        let (status, body) = uploads::put(&mut stream, &name, &content)?;
                        uploads::acknowledged(&name, &content, status, &body)?;
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                        sent.push((name, content));
                    }
                    Ok(sent)
                })
            })
            .collect();
        let rounds = (1..=ROUNDS).try_for_each(|round| {
            sleep(Duration::from_millis(700 * round));
            disturb(&server.guest, round)
                .and_then(|()| more(&acknowledged, 2))
                .with_context(|| format!("round {round}"))
        });
        ending.store(true, Ordering::Relaxed);
        let sent: Result<Vec<_>> = clients.into_iter().map(destroyed::joined).collect();
        rounds.and(sent)
    })?;
    let sent: Vec<_> = sent.concat();
    let list = uploads.list()?;
    ensure!(
        list.len() == sent.len(),
        "{} are listed of {}",
        list.len(),
        sent.len()
    );
    for (name, content) in &sent {
        let wanted = Listed::of(name, content);
        ensure!(
            list.contains(&wanted),
            "{name} is not listed as it was sent"
        );
        uploads.fetch(name, content)?;
    }
    context.clean(false);
    disk::check::sound(&disk.file)?;
    Ok(std::fs::remove_file(&disk.file)?)
}

/// A guest whose address is there at once.
fn fixed(context: &Context<'_>) -> Settings {
    Settings {
        extra: Some(context.address().into()),
        ..Settings::default()
    }
}

/// Waits for the console's line number `count` with these words.
fn said(guest: &Guest, words: &str, count: u64) -> Result<()> {
    guest.wait(&format!("line {count} with `{words}`"), BOOT, |text| {
        (text.matches(words).count() as u64 >= count).then_some(())
    })
}

/// Does `disturb` a few times. Connections that are open from the start, idle or busy, answer each time.
fn survives(server: &Server, mut disturb: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let page = server.client.page("/")?.body;
    let ask = |stream: &mut TcpStream| -> Result<()> {
        let (status, body) = exchange(stream, "/")?;
        ensure!(status == 200 && body == page, "another answer, {status}");
        Ok(())
    };
    let mut idle = server.client.connect()?;
    ask(&mut idle)?;
    let (ending, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut stream = server.client.connect()?;
                    while !ending.load(Ordering::Relaxed) {
                        ask(&mut stream)?;
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let rounds = (1..=ROUNDS).try_for_each(|round| {
            sleep(Duration::from_secs(1));
            disturb(round)?;
            ask(&mut idle).context("on the connection that was idle")?;
            more(&answered, 2 * CLIENTS as u64)
        });
        let rounds = rounds.context("in one of the rounds");
        ending.store(true, Ordering::Relaxed);
        let asked: Result<()> = clients.into_iter().try_for_each(destroyed::joined);
        asked.context("a busy connection").and(rounds)
    })
}

/// Waits for so many more.
fn more(count: &AtomicU64, more: u64) -> Result<()> {
    let wanted = count.load(Ordering::Relaxed) + more;
    for _ in 0..600 {
        if count.load(Ordering::Relaxed) >= wanted {
            return Ok(());
        }
        sleep(Duration::from_millis(100));
    }
    bail!("nothing was answered for a minute")
}
