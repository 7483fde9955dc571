//! The guest that is measured, whole, on the hosted backend: its numbers are those of the disk below it.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use embedded_io_async::{Read, Write};
use xenlet_blkfront::hosted::{self as blkfront, Config, Faults, Medium};
use xenlet_kernel::time::Duration;
use xenlet_net::Error;
use xenlet_net::hosted::Peer;
use xenlet_tests::{Answer, answer, run};

/// Asks the control port.
async fn control(peer: &Peer, path: &str) -> Answer {
    let mut stream = peer.connect(9000).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    answer(&mut stream, true).await
}

/// The numbers of a JSON object without depth.
fn number(answer: &Answer, name: &str) -> f64 {
    let text = str::from_utf8(&answer.body).unwrap();
    let (_, rest) = text.split_once(&format!("\"{name}\":")).unwrap();
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

/// The guest with a disk of 1 MiB of this medium, each of whose requests takes `delay`.
async fn guest(medium: Medium, delay: Duration) -> Result<(), Error> {
    let config = Config {
        delay,
        faults: Faults {
            seed: 1,
            ..Faults::default()
        },
        ..Config::default()
    };
    blkfront::attach(config, &medium);
    xenlet_bench::run().await
}

fn with_disk<T: Send + 'static>(
    medium: &Medium,
    client: impl AsyncFnOnce(Peer) -> T + Send + 'static,
) -> T {
    let medium = medium.clone();
    let guest = async move || guest(medium, Duration::from_millis(50)).await;
    run("", guest, client).0
}

#[test]
fn the_numbers_are_the_disks() {
    let medium = Medium::new(1 << 20);
    let (one, eight) = with_disk(&medium, async |peer| {
        let load = async |depth| {
            let path = format!("/blk?op=randread&bs=4096&qd={depth}&secs=2");
            control(&peer, &path).await
        };
        (load(1).await, load(8).await)
    });
    for answer in [&one, &eight] {
        assert_eq!(answer.status, 200);
        let (ops, secs) = (number(answer, "ops"), number(answer, "secs"));
        assert!((2.0..2.1).contains(&secs), "{secs}");
        assert!((number(answer, "iops") - ops / secs).abs() < 1.0);
        assert!((number(answer, "MiBps") - ops / secs / 256.0).abs() < 0.1);
    }
    // A request takes 50 ms at most, so one after the other there are 40 at least in 2 s; eight at once do more.
    assert!(number(&one, "ops") >= 40.0, "{one:?}");
    assert!(
        number(&eight, "ops") > 4.0 * number(&one, "ops"),
        "{eight:?}"
    );
}

#[test]
fn writes_write_and_reads_do_not() {
    let content: Vec<u8> = (0..1_u32 << 20)
        .map(|i| i.to_le_bytes()[i as usize % 3])
        .collect();
    let medium = Medium::from_bytes(&content);
    with_disk(&medium, async |peer| {
        for op in ["read", "randread"] {
            let answer = control(&peer, &format!("/blk?op={op}&bs=65536&qd=4&secs=1")).await;
            assert_eq!(answer.status, 200);
        }
    });
    assert!(medium.bytes() == content, "reads left the disk as it was");
    with_disk(&medium, async |peer| {
        let answer = control(&peer, "/blk?op=write&bs=65536&qd=4&secs=1").await;
        assert_eq!(answer.status, 200);
        assert!(number(&answer, "ops") > 16.0, "{answer:?}");
    });
    assert!(
        medium.bytes().iter().all(|byte| *byte == 0),
        "writes went over all of it"
    );
}

#[test]
fn the_disks_content_is_sent() {
    let content: Vec<u8> = (0..(1_u32 << 20) + 4096)
        .map(|i| i.to_le_bytes()[i as usize % 3])
        .collect();
    let medium = Medium::from_bytes(&content);
    with_disk(&medium, async move |peer| {
        for length in [1, 5000, (1 << 20) + 513] {
            let answer = control(&peer, &format!("/disk?bytes={length}")).await;
            assert!(
                answer.status == 200 && answer.body == content[..length],
                "{length}"
            );
        }
        let beyond = control(&peer, "/disk?bytes=1052673").await;
        assert_eq!(beyond.status, 400);
    });
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let medium = Medium::new(1 << 20).with_sector_size(4096);
    with_disk(&medium, async |peer| {
        for (query, why) in [
            ("", "op="),
            ("op=erase&bs=4096&qd=1&secs=1", "op=erase"),
            ("op=read&bs=512&qd=1&secs=1", "bs=512"),
            ("op=read&bs=4097&qd=1&secs=1", "4096"),
            ("op=read&bs=2097152&qd=1&secs=1", "more than the disk"),
            ("op=read&bs=4096&qd=0&secs=1", "qd=0"),
            ("op=read&bs=4096&qd=99999&secs=1", "qd=99999"),
            ("op=read&bs=4096&qd=1&secs=-1", "secs=-1"),
        ] {
            let answer = control(&peer, &format!("/blk?{query}")).await;
            let text = String::from_utf8(answer.body).unwrap();
            assert!(
                answer.status == 400 && text.contains(why),
                "{query}: {text}"
            );
        }
        assert_eq!(control(&peer, "/").await.status, 404);
    });
    let read_only = Medium::new(1 << 20).read_only();
    with_disk(&read_only, async |peer| {
        let write = "/blk?op=write&bs=4096&qd=1&secs=1";
        assert_eq!(control(&peer, write).await.status, 400);
    });
    run("", xenlet_bench::run, async |peer| {
        let answer = control(&peer, "/blk?op=read&bs=4096&qd=1&secs=1").await;
        assert_eq!(answer.status, 503, "no disk");
    });
}

#[test]
fn what_is_discarded_is_read_to_the_end() {
    run("", xenlet_bench::run, async |peer| {
        let mut stream = peer.connect(9).await.unwrap();
        stream.write_all(&[1; 300_000]).await.unwrap();
        stream.shutdown_write();
        assert_eq!(stream.read(&mut [0]).await, Ok(0), "closed, and not a byte");
    });
}
