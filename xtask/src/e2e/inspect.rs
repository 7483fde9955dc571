//! Looking into a queue that is busy: its numbers, by HTTP and by a key on its console, and its frames.

use std::io::Read;
use std::slice::from_ref;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use self::exposition::Exposition;
use self::pcapng::Capture;
use super::QUEUE;
use super::content::Content;
use super::context::{BOOT, Context, Server};
use super::destroyed;
use super::http::{Client, LONG};
use super::uploads::{TOKENS, Uploads};
use crate::image::{self, Image, With};
use crate::project::Target;
use crate::xen::Settings;

// What the hosted tests read these with.
#[path = "../../../tests/src/exposition.rs"]
#[allow(unreachable_pub, reason = "it is a library's module there")]
mod exposition;
#[path = "../../../tests/src/pcapng.rs"]
#[allow(unreachable_pub, dead_code, reason = "it is a library's module there")]
mod pcapng;

const PORT: u16 = 9100;

/// The queue with what it takes to look into it.
pub(super) fn build() -> Result<Image> {
    let with = With {
        inspect: true,
        ..With::default()
    };
    let built = image::build(QUEUE, Target::Xen, with)?;
    built.keep(Context::keep("queue-inspect")?)
}

/// A queue, and the way to look into it.
pub(super) fn boot(context: &mut Context<'_>) -> Result<(Server, Uploads, Client)> {
    let disk = Context::disk("inspect", 128 << 20)?;
    let settings = Settings {
        extra: Some(format!(
            "{TOKENS} format=ifblank inspect={PORT} {}",
            context.address()
        )),
        disks: from_ref(&disk).to_vec(),
        ..Settings::default()
    };
    let guest = context.queue_to_look_into(1, settings)?;
    let server = context.await_server(guest)?;
    let uploads = Uploads::new(&server.client);
    let inside = Client::new(context.way(server.address, PORT)?);
    inside.wait_for_answer(BOOT)?;
    Ok((server, uploads, inside))
}

fn look(inside: &Client) -> Result<Exposition> {
    let text = String::from_utf8(inside.page("/metrics")?.body)?;
    Exposition::parse(&text).map_err(|why| anyhow!("/metrics: {why}"))
}

/// Does something while `uploads` get four of 8 MiB, one after the other.
pub(super) fn loaded<T>(uploads: &Uploads, meanwhile: impl FnOnce() -> Result<T>) -> Result<T> {
    const BYTES: u64 = 8 << 20;
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            (0..4).try_for_each(|seed| {
                uploads.put(&format!("load-{seed}"), &Content::new(seed, BYTES))
            })
        });
        let done = meanwhile();
        destroyed::joined(client).and(done)
    })
}

/// Under load the numbers are there each time, and are those of what was done.
pub(super) fn metrics(context: &mut Context<'_>) -> Result<()> {
    let (_server, uploads, inside) = boot(context)?;
    let before = look(&inside)?;
    loaded(&uploads, || {
        let mut last = look(&inside)?;
        for _ in 0..8 {
            sleep(Duration::from_millis(500));
            let next = look(&inside)?;
            last.grows_to(&next).map_err(|why| anyhow!(why))?;
            last = next;
        }
        Ok(())
    })?;
    let after = look(&inside)?;
    let more = |name: &str| after.value(name) - before.value(name);
    let written = more("xenlet_disk_written_bytes_total{disk=\"xvda\"}");
    ensure!(
        written >= f64::from(32 << 20),
        "{written} bytes were written"
    );
    let requests = more("xenlet_http_requests_total{port=\"80\"}");
    ensure!(requests == 4.0, "{requests} requests");
    let received = more("xenlet_vif_rx_bytes_total{vif=\"0\"}");
    ensure!(
        received >= f64::from(32 << 20),
        "{received} bytes were received"
    );
    for name in [
        "xenlet_loop_turn_seconds_count",
        "xenlet_events_sent_total",
        "xenlet_events_received_total",
        "xenlet_disk_flushes_total{disk=\"xvda\"}",
        "xenlet_tasks_spawned_total",
    ] {
        ensure!(more(name) > 0.0, "{name} stands still");
    }
    for name in [
        "xenlet_memory_bytes{owner=\"free\"}",
        "xenlet_grants",
        "xenlet_disk_ring_slots{disk=\"xvda\"}",
    ] {
        ensure!(after.value(name) > 0.0, "{name} is nothing");
    }
    Ok(())
}

/// A key that is typed at the console has the same numbers written there, to the last line, beside what the guest says by itself.
pub(super) fn console_key(context: &mut Context<'_>) -> Result<()> {
    let (server, uploads, _) = boot(context)?;
    let name = &server.guest.name;
    // On a terminal: from anything else `xl console` reads nothing. A key that is typed while an answer is written is not heard.
    let typed = format!(
        "(sleep 1; printf m; for i in 1 2 3 4 5; do sleep 3; printf '?'; done; sleep 2) \
         | timeout 25 socat - EXEC:\"xl console '{name}'\",pty,rawer || true"
    );
    loaded(&uploads, || context.xen.dom0().run(&typed).map(drop))?;
    for words in [
        "what is zero is left out",
        "memory_bytes{owner=\"heap\"}",
        "loop_turn_seconds_count",
        "http_requests_total{port=\"80\"}",
        "keys: m metrics",
    ] {
        server
            .guest
            .wait(words, BOOT, |text| text.contains(words).then_some(()))?;
    }
    let text = server.guest.console.text();
    ensure!(!text.contains("lines were lost"), "lines were lost");
    Ok(())
}

/// The frames of an upload: by default without what is in them, or with every byte of it.
pub(super) fn capture(context: &mut Context<'_>) -> Result<()> {
    let (_server, uploads, inside) = boot(context)?;
    let content = Content::new(7, 100_000);
    for (query, is_whole) in [("seconds=6", false), ("seconds=6&payload=yes", true)] {
        let path = format!("/capture?{query}");
        let capture = thread::scope(|scope| {
            let capture = scope.spawn(|| read(&inside, &path));
            sleep(Duration::from_secs(1));
            let put = uploads.put(&format!("upload-{is_whole}"), &content);
            put.and(destroyed::joined(capture))
        })?;
        check(&capture, &content, is_whole).with_context(|| path)?;
    }
    Ok(())
}

fn read(inside: &Client, path: &str) -> Result<Capture> {
    let mut response = inside.open(path, &[], LONG)?;
    let status = response.status().as_u16();
    ensure!(status == 200, "it was answered with {status}");
    let mut file = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut file)?;
    Capture::parse(&file).map_err(|why| anyhow!(why))
}

fn check(capture: &Capture, content: &Content, is_whole: bool) -> Result<()> {
    let count = capture.packets.len() as u64;
    let said = capture.statistics;
    ensure!(
        said == Some((count, 0)),
        "{count} frames, and said were {said:?}"
    );
    let mut bytes = [0, 0];
    let mut text = Vec::new();
    for packet in &capture.packets {
        let Some((from, to)) = packet.tcp_ports() else {
            continue;
        };
        ensure!(from != PORT && to != PORT, "a frame of the capture itself");
        bytes[usize::from(packet.is_sent)] += packet.len as u64;
        text.extend(&packet.bytes);
    }
    let [received, sent] = bytes;
    ensure!(
        received > content.bytes() && sent > 100,
        "{received} bytes received, {sent} sent"
    );
    let words = String::from_utf8_lossy(&text);
    for word in ["PUT /uploads/", "Bearer up", "201 Created"] {
        ensure!(
            words.contains(word) == is_whole,
            "`{word}` in a capture with payload: {is_whole}"
        );
    }
    Ok(())
}
