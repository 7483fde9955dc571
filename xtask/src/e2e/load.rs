//! Steady load on a guest to which things are done meanwhile: requests on connections that stay open, and uploads to the queue.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::content::Content;
use super::context::{Context, Server};
use super::http::exchange;
use super::uploads::{self, Listed, Uploads};
use super::{destroyed, queue};
use crate::commands::disk;
use crate::ui::Seconds;
use crate::xen::Guest;

/// How often something is done in a test, and how often in a soak.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    pub(super) test: u64,
    pub(super) soak: u64,
}

/// Clients that ask all the time.
const CLIENTS: usize = 4;
/// Uploads of one client that stay on the disk: of more, the oldest is fetched, compared and deleted.
const KEPT: usize = 8;

/// Does `disturb` again and again, with the number of the round. Connections that are open from the start, idle or busy, answer each
/// time.
pub(super) fn asked(
    context: &Context<'_>,
    rounds: Rounds,
    server: &Server,
    mut disturb: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
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
        let rounds = each(context, rounds, |round| {
            sleep(Duration::from_secs(1));
            disturb(round)?;
            ask(&mut idle).context("on the connection that was idle")?;
            more(&answered, 2 * CLIENTS as u64)
        });
        ending.store(true, Ordering::Relaxed);
        let asked: Result<()> = clients.into_iter().try_for_each(destroyed::joined);
        asked.context("a busy connection").and(rounds)
    })
}

/// Does `disturb` again and again, with the number of the round, while clients upload to the queue on connections that stay open: each
/// upload is acknowledged, and is there as it was sent. The first round comes before there are clients, and the last one after them: what
/// the guest holds is after the last what it was after the first.
pub(super) fn uploaded(
    context: &mut Context<'_>,
    rounds: Rounds,
    name: &str,
    mut disturb: impl FnMut(&Guest, u64) -> Result<()>,
) -> Result<()> {
    let disk = Context::disk(name, 384 << 20)?;
    let (server, uploads) = queue::boot(context, std::slice::from_ref(&disk))?;
    disturb(&server.guest, 1)?;
    let before = Held::of(&uploads)?;
    let mut last = 1;
    let (ending, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let sent = thread::scope(|scope| {
        let clients: Vec<_> = (1..=2_u64)
            .map(|client| {
                let (ending, acknowledged, uploads) = (&ending, &acknowledged, &uploads);
                scope.spawn(move || upload(uploads, client, ending, acknowledged))
            })
            .collect();
        let rounds = each(context, rounds, |round| {
            sleep(Duration::from_millis(700 * (1 + round % 3)));
            last = 1 + round;
            disturb(&server.guest, last)?;
            more(&acknowledged, 2)?;
            queue::eventually(|| Held::of(&uploads)?.is_like(&before))
        });
        ending.store(true, Ordering::Relaxed);
        let sent: Result<Vec<_>> = clients.into_iter().map(destroyed::joined).collect();
        // What a client met says more than that too few were answered.
        let sent = sent.context("an uploader")?;
        rounds.map(|()| sent)
    })?;
    disturb(&server.guest, last + 1)?;
    queue::eventually(|| Held::of(&uploads)?.is_at_rest_as(&before))?;
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

/// One client: uploads until the end, and returns what is still there then.
fn upload(
    uploads: &Uploads,
    client: u64,
    ending: &AtomicBool,
    acknowledged: &AtomicU64,
) -> Result<Vec<(String, Content)>> {
    const BYTES: u64 = 3 << 20;
    let mut stream = uploads.connect()?;
    let mut sent = Vec::new();
    for number in 0.. {
        if ending.load(Ordering::Relaxed) {
            break;
        }
        let content = Content::new(client << 32 | number, BYTES);
        let name = format!("{client}-{number}");
        let (status, body) = uploads::put(&mut stream, &name, &content)?;
        uploads::acknowledged(&name, &content, status, &body)?;
        acknowledged.fetch_add(1, Ordering::Relaxed);
        sent.push((name, content));
        if sent.len() > KEPT {
            let (name, content) = sent.remove(0);
            uploads.fetch(&name, &content)?;
            let status = uploads.delete(&name)?;
            ensure!(status == 204, "DELETE {name} was answered with {status}");
        }
    }
    Ok(sent)
}

/// What a guest holds, of what could leak.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Bytes, without what is kept to be faster the next time, and given back when memory is short, and without the pages that backends
    /// have too.
    memory: u64,
    grants: u64,
    channels: u64,
    watches: u64,
    kept_pages: u64,
}

impl Held {
    /// What the queue's guest holds: all of it in one answer, for one moment.
    pub(super) fn of(uploads: &Uploads) -> Result<Self> {
        let stats = uploads.stats()?;
        let count = |place| uploads::number(&stats, place);
        let grants = count("/held/grants")?;
        let apart =
            count("/disk/cached_bytes")? + count("/connections/spare_bytes")? + grants * 4096;
        Ok(Self {
            memory: count("/memory/used_bytes")?.saturating_sub(apart),
            grants,
            channels: count("/held/event_channels")?,
            watches: count("/held/watches")?,
            kept_pages: count("/held/kept_pages")?,
        })
    }

    /// Whether it is no more than `before`, under load: buffers and rings are larger or smaller with what is under way.
    fn is_like(&self, before: &Self) -> Result<()> {
        self.fits(before, 512, 4 << 20)
    }

    /// Whether it is what it was `before`, with nothing under way: of memory, 1 MiB may be what the store knows of what is there now, and
    /// connections that are on their way out.
    fn is_at_rest_as(&self, before: &Self) -> Result<()> {
        self.fits(before, 0, 1 << 20)
    }

    /// Whether it is what it was `before`, but for so many grants and bytes of memory more.
    pub(super) fn fits(&self, before: &Self, grants: u64, memory: u64) -> Result<()> {
        let fixed = |held: &Self| (held.channels, held.watches, held.kept_pages);
        ensure!(
            fixed(self) == fixed(before)
                && self.grants <= before.grants + grants
                && self.memory <= before.memory + memory,
            "the guest held {before:?} before, and now {self:?}"
        );
        Ok(())
    }
}

/// Does `round` so often, and in a soak says so each time.
fn each(
    context: &Context<'_>,
    rounds: Rounds,
    mut round: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    let count = if context.soak {
        rounds.soak
    } else {
        rounds.test
    };
    for number in 1..=count {
        let started = Instant::now();
        round(number).with_context(|| format!("round {number} of {count}"))?;
        if context.soak {
            println!(
                "  round {number} of {count} ({})",
                Seconds(started.elapsed())
            );
        }
        crate::interrupt::check()?;
    }
    Ok(())
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
