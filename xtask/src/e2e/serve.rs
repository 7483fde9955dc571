//! The site, as clients of all kinds see it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread::{self, ScopedJoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::context::Context;
use super::http::{Client, exchange, read_answer, request};

/// Every file is served as it is in the folder, with a type, and index files for their folders too.
pub(super) fn every_file(context: &mut Context<'_>) -> Result<()> {
    let site = Context::site()?;
    let client = &context.shared()?.client;
    ensure!(
        site.contains_key("/index.html"),
        "the site has no index.html"
    );
    for (path, bytes) in &site {
        let answer = client.page(path)?;
        same(path, &answer.body, bytes)?;
        ensure!(
            !answer.header("content-type").is_empty(),
            "{path} has no content-type"
        );
        ensure!(!answer.header("date").is_empty(), "{path} has no date");
        if let Some(folder) = path.strip_suffix("index.html") {
            same(folder, &client.page(folder)?.body, bytes)?;
        }
    }
    Ok(())
}

fn same(path: &str, got: &[u8], wanted: &[u8]) -> Result<()> {
    let differs = got
        .iter()
        .zip(wanted)
        .position(|(got, wanted)| got != wanted);
    match differs {
        Some(at) => bail!("{path} differs from its file at byte {at}"),
        None => ensure!(
            got.len() == wanted.len(),
            "{path} has {} bytes, its file {}",
            got.len(),
            wanted.len()
        ),
    }
    Ok(())
}

/// Who has the page already is told so, and gets it again only if it changed.
pub(super) fn conditional(context: &mut Context<'_>) -> Result<()> {
    let client = &context.shared()?.client;
    let first = client.page("/index.html")?;
    let tag = first.header("etag");
    ensure!(!tag.is_empty(), "no etag");
    let again = client.get("/index.html", &[("If-None-Match", tag)])?;
    ensure!(
        again.status == 304,
        "If-None-Match with the page's own tag was answered with {}",
        again.status
    );
    ensure!(again.body.is_empty(), "a 304 has a body");
    ensure!(again.header("etag") == tag, "a 304 has another etag");
    let other = client.get("/index.html", &[("If-None-Match", "\"another\"")])?;
    ensure!(
        other.status == 200 && other.body == first.body,
        "If-None-Match with another tag: {}",
        other.status
    );
    let refused = client.get("/index.html", &[("If-Match", "\"another\"")])?;
    ensure!(
        refused.status == 412,
        "If-Match with another tag was answered with {}",
        refused.status
    );
    Ok(())
}

/// Parts of a page are the same bytes.
pub(super) fn ranges(context: &mut Context<'_>) -> Result<()> {
    let client = &context.shared()?.client;
    let whole = client.page("/index.html")?.body;
    let length = whole.len();
    for (range, first, last) in [
        ("bytes=0-9".to_owned(), 0, 9),
        ("bytes=100-".to_owned(), 100, length - 1),
        ("bytes=-7".to_owned(), length - 7, length - 1),
        (format!("bytes=5-{}", length * 2), 5, length - 1),
    ] {
        let part = client.get("/index.html", &[("Range", &range)])?;
        ensure!(
            part.status == 206,
            "{range} was answered with {}",
            part.status
        );
        same(
            &format!("{range} of /index.html"),
            &part.body,
            &whole[first..=last],
        )?;
        let wanted = format!("bytes {first}-{last}/{length}");
        ensure!(
            part.header("content-range") == wanted,
            "content-range: {}",
            part.header("content-range")
        );
    }
    let beyond = client.get("/index.html", &[("Range", &format!("bytes={length}-"))])?;
    ensure!(
        beyond.status == 416,
        "a range beyond the end was answered with {}",
        beyond.status
    );
    ensure!(
        beyond.header("content-range") == format!("bytes */{length}"),
        "a 416 must tell the length"
    );
    Ok(())
}

/// The compressed variants decode to the file.
pub(super) fn variants(context: &mut Context<'_>) -> Result<()> {
    let site = Context::site()?;
    let client = &context.shared()?.client;
    for coding in ["gzip", "br"] {
        let mut seen = 0;
        for (path, bytes) in &site {
            let answer = client.get(path, &[("Accept-Encoding", coding)])?;
            ensure!(
                answer.status == 200,
                "GET {path} with {coding} was answered with {}",
                answer.status
            );
            match answer.header("content-encoding") {
                "" => same(path, &answer.body, bytes)?,
                found if found == coding => {
                    seen += 1;
                    ensure!(
                        answer.body.len() < bytes.len(),
                        "{path} is no smaller as {coding}"
                    );
                    ensure!(
                        answer
                            .header("vary")
                            .to_lowercase()
                            .contains("accept-encoding"),
                        "{path}: no vary"
                    );
                    same(
                        &format!("{path} as {coding}"),
                        &decode(coding, &answer.body)?,
                        bytes,
                    )?;
                }
                found => bail!("{path}: asked for {coding}, got {found}"),
            }
        }
        ensure!(seen > 0, "no file of the site has a variant in {coding}");
    }
    Ok(())
}

fn decode(coding: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes)
            .read_to_end(&mut plain)
            .context("broken gzip")?,
        _ => brotli_decompressor::Decompressor::new(bytes, 4096)
            .read_to_end(&mut plain)
            .context("broken brotli")?,
    };
    Ok(plain)
}

/// What is not there is a 404, and nothing outside the tree is there.
pub(super) fn not_found(context: &mut Context<'_>) -> Result<()> {
    let client = &context.shared()?.client;
    for path in [
        "/no-such-page",
        "/index.html/",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/index.html%00",
    ] {
        let mut stream = client.connect()?;
        let (status, _) = exchange(&mut stream, path)?;
        ensure!(
            (400..405).contains(&status),
            "GET {path} was answered with {status}"
        );
    }
    let answer = client.get("/no-such-page", &[])?;
    ensure!(
        answer.status == 404 && !answer.body.is_empty(),
        "no 404 page"
    );
    Ok(())
}

/// A request that comes a byte at a time is answered like any other.
pub(super) fn dribble(context: &mut Context<'_>) -> Result<()> {
    let client = &context.shared()?.client;
    let whole = client.page("/")?.body;
    let mut stream = client.connect()?;
    for byte in request("/").bytes() {
        stream.write_all(&[byte])?;
        sleep(Duration::from_millis(20));
    }
    let (status, body) = read_answer(&mut stream)?;
    ensure!(status == 200, "answered with {status}");
    same("/", &body, &whole)
}

/// Two hundred connections, all open at the same time, and then all busy at the same time.
///
/// They are opened one after the other: QEMU's forwarding takes one connection at a time, and drops what comes too
/// fast. Each is answered before the next, so that the guest has them all.
pub(super) fn many_connections(context: &mut Context<'_>) -> Result<()> {
    crowd(&context.shared()?.client, 200, 0)
}

/// What QEMU's forwarding needs from one connection to the next, when nobody waits for answers.
const PACE: Duration = Duration::from_millis(50);

/// Who visit at first: all have to be done before the first connection has been idle for too long, on a busy machine too.
const VISITORS: usize = 8;

/// `count` connections are answered, a few at a time, and then all at once, while `more` are only opened: the guest may
/// not have room for those.
pub(super) fn crowd(client: &Client, count: usize, more: usize) -> Result<()> {
    let whole = client.page("/")?.body;
    let visit = |stream: &mut TcpStream| {
        let (status, body) = exchange(stream, "/")?;
        ensure!(status == 200, "answered with {status}");
        same("/", &body, &whole)
    };
    let first_visit = || {
        let mut stream = client.connect().context("a connection can't be opened")?;
        visit(&mut stream).context("the first request on a connection")?;
        Ok(stream)
    };
    let open: Vec<TcpStream> = thread::scope(|scope| {
        let shares = (0..VISITORS).map(|n| count / VISITORS + usize::from(n < count % VISITORS));
        let spawn = |share| {
            scope.spawn(move || {
                (0..share)
                    .map(|_| first_visit())
                    .collect::<Result<Vec<_>>>()
            })
        };
        let visitors: Vec<_> = shares.map(spawn).collect();
        let join = |visitor: ScopedJoinHandle<'_, Result<Vec<_>>>| {
            visitor.join().unwrap_or_else(|_| bail!("a panic"))
        };
        visitors
            .into_iter()
            .map(join)
            .collect::<Result<Vec<_>>>()
            .map(|open| open.into_iter().flatten().collect())
    })?;
    let open_only = |_| {
        sleep(PACE);
        client.connect()
    };
    let others = (0..more).map(open_only).collect::<Result<Vec<_>>>()?;
    let all_ready = Barrier::new(count);
    let visit_with_the_others = |mut stream: TcpStream| {
        all_ready.wait();
        visit(&mut stream)
    };
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let spawn = |stream| scope.spawn(move || visit_with_the_others(stream));
        let visitors: Vec<_> = open.into_iter().map(spawn).collect();
        let join = |visitor: ScopedJoinHandle<'_, Result<()>>| {
            visitor.join().unwrap_or_else(|_| bail!("a panic"))
        };
        visitors.into_iter().map(join).collect()
    });
    let failed: Vec<String> = results
        .into_iter()
        .filter_map(Result::err)
        .map(|error| format!("{error:#}"))
        .collect();
    ensure!(
        failed.is_empty(),
        "{} of {count} requests at once failed, one with: {}",
        failed.len(),
        failed[0]
    );
    drop(others);
    Ok(())
}
