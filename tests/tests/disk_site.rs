//! The web server with its site on a disk: the driver and real ring bytes below, and blocks of a file system on top.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use xenlet_blkfront::hosted::{Config, Medium, attach};
use xenlet_fs_static_build::stage;
use xenlet_httpd::SITE;
use xenlet_kernel::page;
use xenlet_kernel::run::spawn;
use xenlet_net::hosted::Peer;
use xenlet_tests::{OPERATOR, get, run};

/// An image of the folder that the program was built with, and of a file that is larger than any cache here.
fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let work = std::env::temp_dir().join(format!("xenlet-disk-site-{}", std::process::id()));
        let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/httpd/site");
        let (into, file) = (work.join("site"), work.join("image"));
        stage(&site, &work.join("cache"), &into).unwrap();
        std::fs::write(into.join("large.bin"), large()).unwrap();
        make(&into, &file);
        let bytes = std::fs::read(file).unwrap();
        std::fs::remove_dir_all(work).unwrap();
        bytes
    })
}

fn make(folder: &Path, image: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut line = Command::new("mke2fs");
    line.env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-d"])
        .args([folder, image])
        .arg("16M");
    let status = line.stdin(Stdio::null()).status();
    let status = status.expect("this test needs Debian's package e2fsprogs");
    assert!(status.success());
}

fn large() -> Vec<u8> {
    (0..1_000_000u32).flat_map(u32::to_le_bytes).collect()
}

/// Runs httpd on a disk of `config`, and `client` beside it.
fn serve(config: Config, line: &str, client: impl AsyncFnOnce(Peer) + Send + 'static) -> String {
    let medium = Medium::from_bytes(image()).read_only();
    let application = async move || {
        let vbd = attach(config, &medium);
        let result = xenlet_httpd::run().await;
        drop(vbd);
        result
    };
    run(&format!("{line} tls=off"), application, client)
        .1
        .console
}

#[test]
fn every_file_as_from_the_program() {
    for config in [Config::default(), Config::bare()] {
        serve(config, "site=xvda cache=128K", async |peer| {
            for file in SITE.files() {
                for variant in file.variants() {
                    let coding = variant.coding().token();
                    let lines = format!("Accept-Encoding: {coding}\r\n");
                    let served = get(&peer, file.path(), &lines).await;
                    assert!(served.body == variant.body(), "{} {coding}", file.path());
                    assert_eq!(served.field("ETag"), Some(variant.etag()));
                }
            }
            assert_eq!(get(&peer, "/boot", "").await.status, 301);
            assert_eq!(get(&peer, "/nope", "").await.status, 404);
        });
    }
}

/// Many at once, of a file much larger than the cache, which keeps to its size.
#[test]
fn a_file_larger_than_the_cache_for_many_at_once() {
    let console = serve(Config::default(), "site=xvda cache=128K", async |peer| {
        let large = large();
        let mut tasks = Vec::new();
        for client in 0..8 {
            let peer = peer.clone();
            tasks.push(spawn(async move {
                let from = client * 111_111;
                let range = format!("Range: bytes={from}-\r\n");
                (from, get(&peer, "/large.bin", &range).await.body)
            }));
        }
        for task in tasks {
            let (from, body) = task.await;
            assert!(body == large[from..], "from {from}");
        }
        let status = get(&peer, "/status.json", OPERATOR).await;
        let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
        let cache = &status["site"]["cache"];
        assert_eq!(cache["limit_bytes"], 128 * 1024);
        assert!(cache["used_bytes"].as_u64().unwrap() <= 128 * 1024);
        assert_eq!(page::leaked(), 0);
    });
    assert!(console.contains("of xvda"), "{console}");
}
