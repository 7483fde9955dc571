//! `xl destroy` in the middle of uploads: what was acknowledged is there, and nothing is half there.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::content::Content;
use super::context::Context;
use super::queue::boot;
use super::uploads::{self, Listed, Uploads};
use crate::commands::disk;

const TIMES: u64 = 20;
/// Clients that upload at the same time.
const CLIENTS: u64 = 3;
/// Uploads that are kept from one time to the next, about.
const KEPT: usize = 40;

/// What is known of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Acknowledged.
    There,
    /// Sent, or deleted, without an answer.
    Perhaps,
}

/// All uploads there may be, by name: the seed and length of their contents.
type Model = BTreeMap<String, (Known, Content)>;

/// Destroys the guest while clients upload and delete, again and again.
pub(super) fn twenty_times(context: &mut Context<'_>) -> Result<()> {
    let disk = Context::disk("destroyed", 96 << 20)?;
    let disks = [disk.clone()];
    let mut model = Model::new();
    for time in 0..TIMES {
        let (server, uploads) = boot(context, &disks)?;
        // Some of them byte for byte each time, all of them at the end.
        let some = (time % 7..).step_by(7);
        agrees(&uploads, &mut model, some).with_context(|| after(time))?;
        thin(&uploads, &mut model)?;
        let destroy = || server.guest.xl("destroy").map(drop);
        interrupt(&uploads, time, &mut model, destroy).with_context(|| after(time + 1))?;
        context.clean(false);
        disk::check::sound(&disk.file).with_context(|| after(time + 1))?;
    }
    let (_server, uploads) = boot(context, &disks)?;
    agrees(&uploads, &mut model, 0..).with_context(|| after(TIMES))?;
    context.clean(false);
    disk::check::sound(&disk.file)?;
    Ok(fs::remove_file(&disk.file)?)
}

/// Makes room, if there is more than clients deleted in the meantime.
fn thin(uploads: &Uploads, model: &mut Model) -> Result<()> {
    while model.len() > 2 * KEPT
        && let Some((name, _)) = model.pop_first()
    {
        let status = uploads.delete(&name)?;
        ensure!(status == 204, "deleting {name} was answered with {status}");
    }
    Ok(())
}

/// Lets clients upload and delete for a moment, destroys the queue under them, and notes what they know.
fn interrupt(
    uploads: &Uploads,
    time: u64,
    model: &mut Model,
    destroy: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let clients = Clients::default();
    let surplus = model.len().saturating_sub(KEPT);
    let doomed: Vec<String> = model.keys().take(surplus).cloned().collect();
    let (sent, deleted) = thread::scope(|scope| {
        let uploading: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let clients = &clients;
                scope.spawn(move || clients.upload(uploads, time, client))
            })
            .collect();
        let deleting = scope.spawn(|| clients.delete(uploads, &doomed));
        let begun = clients.await_first();
        sleep(Duration::from_millis(time * 379 % 1000));
        clients.ending.store(true, Ordering::Relaxed);
        let destroyed = destroy();
        clients.end();
        begun?;
        destroyed?;
        let sent: Result<Vec<_>> = uploading.into_iter().map(joined).collect();
        Ok::<_, anyhow::Error>((sent?.concat(), joined(deleting)?))
    })?;
    for (name, known, content) in sent {
        model.insert(name, (known, content));
    }
    for (name, gone) in deleted {
        if gone {
            model.remove(&name);
        } else if let Some((known, _)) = model.get_mut(&name) {
            *known = Known::Perhaps;
        }
    }
    Ok(())
}

fn after(times: u64) -> String {
    format!("after xl destroy number {times}")
}

pub(super) fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| bail!("a client panicked"))
}

/// Compares the queue's list with what is known, and the contents of those whose indices are in `fetched`.
fn agrees(uploads: &Uploads, model: &mut Model, fetched: impl Iterator<Item = u64>) -> Result<()> {
    reconcile(uploads.list()?, model)?;
    let (counted, known) = (uploads.count("/uploads")?, model.len());
    ensure!(
        counted == known as u64,
        "the queue counts {counted} uploads and lists {known}"
    );
    let mut fetched = fetched.peekable();
    for (index, (name, (_, content))) in (0..).zip(model.iter()) {
        if fetched.next_if_eq(&index).is_some() {
            uploads.fetch(name, content)?;
        }
    }
    Ok(())
}

/// Compares what is listed with what is known. What may or may not have happened is certain then.
fn reconcile(list: Vec<Listed>, model: &mut Model) -> Result<()> {
    let mut newest = BTreeMap::new();
    for upload in &list {
        let (client, number) = upload.name.split_once('-').context("a name of nobody's")?;
        ensure!(
            newest.insert(client, number) < Some(number),
            "{} is listed after a later upload of the same client",
            upload.name
        );
    }
    let mut listed: BTreeMap<_, _> = list
        .into_iter()
        .map(|upload| (upload.name.clone(), upload))
        .collect();
    for (name, (known, content)) in std::mem::take(model) {
        match (listed.remove(&name), known) {
            (Some(said), _) => {
                let wanted = Listed::of(&name, &content);
                ensure!(said == wanted, "the queue has {said:?} of {wanted:?}");
                model.insert(name, (Known::There, content));
            }
            (None, Known::There) => bail!("{name} was acknowledged and is not there"),
            (None, Known::Perhaps) => {}
        }
    }
    let unknown: Vec<_> = listed.into_keys().collect();
    ensure!(
        unknown.is_empty(),
        "nobody uploaded {}, or it was deleted",
        unknown.join(", ")
    );
    Ok(())
}

/// A name says who uploaded it, and when.
fn name(time: u64, client: u64, number: u64) -> String {
    format!("{client}-{time:03}-{number:05}")
}

/// The clients of one time.
#[derive(Default)]
struct Clients {
    /// Whether an upload was acknowledged, so that there is something to lose.
    begun: AtomicBool,
    /// Whether the guest is being destroyed: from here on, what fails is no failure.
    ending: AtomicBool,
    /// Their connections.
    open: Mutex<Vec<TcpStream>>,
}

impl Clients {
    fn connect(&self, uploads: &Uploads) -> Result<TcpStream> {
        let stream = uploads.connect()?;
        if let Ok(mut open) = self.open.lock() {
            open.push(stream.try_clone()?);
        }
        if self.ending.load(Ordering::Relaxed) {
            // Too late for `end` to find it.
            stream.shutdown(Shutdown::Both)?;
        }
        Ok(stream)
    }

    /// Uploads one after the other until the guest is gone; the last one may be there or not.
    fn upload(
        &self,
        uploads: &Uploads,
        time: u64,
        client: u64,
    ) -> Result<Vec<(String, Known, Content)>> {
        let mut sent = Vec::new();
        let mut stream = self.connect(uploads)?;
        for number in 0.. {
            let name = name(time, client, number);
            let seed = (time * CLIENTS + client) << 32 | number;
            let content = Content::new(seed, length(seed));
            match uploads::put(&mut stream, &name, &content) {
                Ok((status, body)) => {
                    uploads::acknowledged(&name, &content, status, &body)?;
                    sent.push((name, Known::There, content));
                    self.begun.store(true, Ordering::Relaxed);
                }
                Err(error) => {
                    ensure!(self.ending.load(Ordering::Relaxed), "{name}: {error:#}");
                    sent.push((name, Known::Perhaps, content));
                    break;
                }
            }
        }
        Ok(sent)
    }

    /// Deletes uploads one after the other until the guest is gone; says of each that was tried whether it is.
    fn delete(&self, uploads: &Uploads, names: &[String]) -> Result<Vec<(String, bool)>> {
        let mut tried = Vec::new();
        let mut stream = self.connect(uploads)?;
        for name in names {
            match uploads::delete(&mut stream, name) {
                Ok(status) => {
                    ensure!(status == 204, "a delete was answered with {status}");
                    tried.push((name.clone(), true));
                }
                Err(error) => {
                    ensure!(self.ending.load(Ordering::Relaxed), "{name}: {error:#}");
                    tried.push((name.clone(), false));
                    break;
                }
            }
        }
        Ok(tried)
    }

    fn await_first(&self) -> Result<()> {
        for _ in 0..3000 {
            if self.begun.load(Ordering::Relaxed) {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        bail!("no upload was acknowledged for a minute")
    }

    /// Tells the clients that the guest is gone: on some networks nobody else would.
    fn end(&self) {
        if let Ok(open) = self.open.lock() {
            for stream in open.iter() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

/// Most uploads are small, some are larger than what is held of one in memory.
fn length(seed: u64) -> u64 {
    let dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    match dice % 8 {
        0 => dice % (1 << 21),
        1..=3 => dice % 300_000,
        _ => dice % 6000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two acknowledged uploads and one without an answer, each of as many bytes as its number.
    fn model() -> Model {
        let upload = |number, known| (name(0, 0, number), (known, Content::new(1, number)));
        [
            upload(1, Known::There),
            upload(2, Known::There),
            upload(3, Known::Perhaps),
        ]
        .into()
    }

    fn list(numbers: &[u64]) -> Vec<Listed> {
        let listed = |number: &u64| Listed::of(&name(0, 0, *number), &Content::new(1, *number));
        numbers.iter().map(listed).collect()
    }

    #[test]
    fn what_had_no_answer_may_be_there_or_not_and_is_certain_then() {
        for (numbers, certain) in [(&[1, 2][..], 2), (&[1, 2, 3], 3)] {
            let mut model = model();
            reconcile(list(numbers), &mut model).unwrap();
            assert_eq!(model.len(), certain);
            assert!(model.values().all(|(known, _)| *known == Known::There));
            let less = list(&numbers[..numbers.len() - 1]);
            assert!(reconcile(less, &mut model).is_err());
        }
    }

    #[test]
    fn losses_strangers_and_disorder_are_found() {
        let told = |list| reconcile(list, &mut model()).unwrap_err().to_string();
        assert!(told(list(&[1])).contains("acknowledged"));
        assert!(told(list(&[1, 2, 4])).contains("nobody"));
        assert!(told(list(&[2, 1])).contains("later"));
        let mut short = list(&[1, 2]);
        short[1].bytes = 1;
        assert!(told(short).contains("the queue has"));
        let mut other = list(&[1, 2, 3]);
        other[2].sha256 = other[1].sha256.clone();
        assert!(told(other).contains("the queue has"));
    }
}
