//! The shipped site on a disk: the same answers as from the program; and disks that are less than that.

use super::super::tests::{Reply, ask_of};
use super::*;
use crate::SITE;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::vec;
use xenlet_fs_static_build::stage;
use xenlet_kernel::page::Pages;
use xenlet_storage::{FileDisk, Geometry};

/// A folder that goes when it is dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xenlet-httpd-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An image in a folder of its own.
struct Image(Temporary);

impl Image {
    /// What mkfs.ext4 makes of a folder.
    fn plain(folder: &Path) -> Self {
        let image = Self(Temporary::new());
        let options = ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d"];
        tool("mke2fs", |line| {
            line.args(options).args([folder, &image.path()]).arg("24M");
        });
        image
    }

    /// The same with the index and the compressed variants.
    fn indexed(folder: &Path) -> Self {
        let work = Temporary::new();
        let (cache, into) = (work.0.join("cache"), work.0.join("site"));
        stage(folder, &cache, &into).unwrap();
        Self::plain(&into)
    }

    fn copy(&self) -> Self {
        let image = Self(Temporary::new());
        fs::copy(self.path(), image.path()).unwrap();
        image
    }

    fn path(&self) -> PathBuf {
        self.0.0.join("image")
    }

    fn debugfs(&self, command: &str) {
        tool("debugfs", |line| {
            line.args(["-w", "-R", command]).arg(self.path());
        });
    }

    fn disk(&self) -> Faulty {
        Faulty {
            file: FileDisk::open(&self.path(), true).unwrap(),
            left: Rc::new(Cell::new(u64::MAX)),
        }
    }

    fn mount(&self) -> DiskSite<Faulty> {
        block_on(DiskSite::mount(self.disk(), 256 * 1024)).unwrap()
    }
}

/// Runs a program of e2fsprogs, which is where only root looks.
fn tool(name: &str, arguments: impl FnOnce(&mut Command)) {
    let mut line = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    line.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    arguments(line.stdin(Stdio::null()));
    let output = line.output().unwrap_or_else(|error| {
        panic!("{name}: {error}: this test needs Debian's package e2fsprogs")
    });
    assert!(output.status.success(), "{line:?}: {output:?}");
}

fn block_on<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a file of the host answers at once"),
    }
}

/// A disk that answers so many requests, and fails from then on.
struct Faulty {
    file: FileDisk,
    left: Rc<Cell<u64>>,
}

impl BlockDevice for Faulty {
    fn geometry(&self) -> Geometry {
        self.file.geometry()
    }

    async fn read(&self, sector: u64, pages: Pages) -> (Pages, Result<(), IoError>) {
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => return (pages, Err(IoError::Failed)),
        }
        self.file.read(sector, pages).await
    }

    async fn write(&self, _sector: u64, pages: Pages) -> (Pages, Result<(), IoError>) {
        (pages, Err(IoError::ReadOnly))
    }

    async fn flush(&self) -> Result<(), IoError> {
        Ok(())
    }

    async fn discard(&self, _sector: u64, _sectors: u64) -> Result<(), IoError> {
        Ok(())
    }
}

/// The folder that [`SITE`] was made of.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("site")
}

const CODINGS: [&str; 6] = [
    "",
    "Accept-Encoding: gzip\r\n",
    "Accept-Encoding: br, gzip\r\n",
    "Accept-Encoding: gzip;q=0.5, br;q=0.1\r\n",
    "Accept-Encoding: *;q=0\r\n",
    "Accept-Encoding: identity\r\n",
];

/// Whatever is asked: the answers of the disk are those of the program, byte for byte, heads included.
#[test]
fn every_answer_is_the_embedded_trees() {
    let image = Image::indexed(&folder());
    let site = image.mount();
    let mut paths: Vec<String> = SITE.entries().map(|(path, _)| path.into()).collect();
    for path in [
        "/nope",
        "/index.html/",
        "//",
        "/boot/nope?x",
        "/boot//",
        "/./index.html",
        "/boot/../index.html",
        "/.xenlet/index",
        "/.xenlet/br/style.css",
        "/lost+found",
        "/lost+found/",
        "/style.css~",
        "/style.css%00",
        "/Style.css",
        "/%2e%2e/x",
    ] {
        paths.push(path.into());
    }
    let mut asked = 0;
    for path in &paths {
        for coding in CODINGS {
            let whole = ask_of(&&SITE, "GET", path, coding);
            let etag = whole
                .head
                .lines()
                .find_map(|line| line.strip_prefix("ETag: "));
            let etag = etag.unwrap_or("\"none\"");
            for condition in [
                String::new(),
                format!("If-None-Match: {etag}\r\n"),
                format!("If-Match: {etag}\r\n"),
                "If-Match: \"other\"\r\n".into(),
                "Range: bytes=0-\r\n".into(),
                "Range: bytes=5-99\r\n".into(),
                "Range: bytes=-7\r\n".into(),
                "Range: bytes=4090-4100\r\n".into(),
                "Range: bytes=99999999-\r\n".into(),
                "Range: bytes=0-1,3-4\r\n".into(),
                format!("Range: bytes=3-\r\nIf-Range: {etag}\r\n"),
                "Range: bytes=3-\r\nIf-Range: \"other\"\r\n".into(),
            ] {
                for method in ["GET", "HEAD"] {
                    let lines = format!("{coding}{condition}");
                    let expected = ask_of(&&SITE, method, path, &lines);
                    let found = ask_of(&site, method, path, &lines);
                    assert!(
                        found == expected,
                        "{method} {path} {lines}: {} instead of {}",
                        found.head,
                        expected.head
                    );
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 3000, "{asked}");
    let (facts, expected) = (site.facts(), (&SITE).facts());
    assert_eq!(
        (facts.files, facts.content_bytes),
        (expected.files, expected.content_bytes)
    );
    let cache = facts.cache.unwrap();
    assert!(cache.used_bytes <= cache.limit_bytes && cache.limit_bytes == 256 * 1024);
}

#[test]
fn an_image_without_an_index() {
    let image = Image::plain(&folder());
    let site = image.mount();
    assert_eq!(site.facts().files, None);
    for file in SITE.files() {
        let found = ask_of(&site, "GET", file.path(), "Accept-Encoding: br\r\n");
        assert!(found.has("HTTP/1.1 200 OK"), "{}", found.head);
        assert!(found.body == file.identity().body(), "{}", file.path());
        let kind = format!("Content-Type: {}", file.content_type());
        assert!(found.has(&kind), "{kind}: {}", found.head);
        assert!(!found.head.contains("Vary") && !found.head.contains("Content-Encoding"));
        let etag = etag(&found);
        let again = ask_of(
            &site,
            "GET",
            file.path(),
            &format!("If-None-Match: {etag}\r\n"),
        );
        assert!(again.has("HTTP/1.1 304 Not Modified"), "{}", again.head);
        let lines = format!("Range: bytes=1-3\r\nIf-Range: {etag}\r\n");
        let part = ask_of(&site, "GET", file.path(), &lines);
        assert!(part.has("HTTP/1.1 206 Partial Content"), "{}", part.head);
        assert_eq!(part.body, file.identity().body()[1..4]);
    }
    let moved = ask_of(&site, "GET", "/boot", "");
    assert!(moved.has("Location: /boot/"), "{}", moved.head);
    let missing = ask_of(&site, "GET", "/nope", "");
    assert!(missing.has("HTTP/1.1 404 Not Found"), "{}", missing.head);
    assert_eq!(missing.body, fs::read(folder().join("404.html")).unwrap());
}

/// The entity tag of an answer, with its quotes.
fn etag(reply: &Reply) -> &str {
    let tag = reply
        .head
        .lines()
        .find_map(|line| line.strip_prefix("ETag: "));
    tag.expect("an entity tag")
}

#[test]
fn no_page_of_its_own_for_what_is_missing() {
    let folder = Temporary::new();
    fs::write(folder.0.join("a"), "a").unwrap();
    for image in [Image::plain(&folder.0), Image::indexed(&folder.0)] {
        let site = image.mount();
        assert_eq!(ask_of(&site, "GET", "/a", "").body, b"a");
        for path in ["/", "/b", "/a/"] {
            let missing = ask_of(&site, "GET", path, "");
            assert!(missing.has("HTTP/1.1 404 Not Found"), "{}", missing.head);
            assert_eq!(missing.body, b"There is no such page here.\n");
        }
    }
}

/// What the index says holds for files that nobody touched.
#[test]
fn a_file_that_was_changed_in_the_image() {
    let image = Image::indexed(&folder());
    let len = fs::metadata(folder().join("style.css")).unwrap().len();
    let changed = image.0.0.join("changed");
    // As long as before, and another length; and a variant that has gone.
    for (path, bytes) in [
        ("/style.css", vec![b'x'; usize::try_from(len).unwrap()]),
        ("/walk.svg", b"<svg/>".to_vec()),
    ] {
        fs::write(&changed, &bytes).unwrap();
        image.debugfs(&format!("rm {path}"));
        image.debugfs(&format!("write {} {path}", changed.display()));
        let found = ask_of(&image.mount(), "GET", path, "Accept-Encoding: br\r\n");
        assert!(found.body == bytes, "{path}");
        assert!(!found.head.contains("Content-Encoding"), "{}", found.head);
    }
    image.debugfs("rm /.xenlet/br/index.html");
    let site = image.mount();
    let found = ask_of(&site, "GET", "/", "Accept-Encoding: br\r\n");
    let plain = ask_of(&&SITE, "GET", "/", "");
    assert_eq!(found, plain);
    image.debugfs("rm /boot/index.html");
    let found = ask_of(&image.mount(), "GET", "/boot/", "");
    assert!(found.has("HTTP/1.1 404 Not Found"), "{}", found.head);
}

/// An index of nonsense costs its use, and nothing else.
#[test]
fn an_index_that_is_none() {
    let sound = Image::indexed(&folder());
    for content in [
        &b""[..],
        b"\n",
        b"xenlet-site 2 1 2 3 4\n",
        b"xenlet-site 1 946684800 2 3 4",
        b"xenlet-site 1 946684800 2 3 4\n/style.css",
        b"xenlet-site 1 946684800 2 3 4\n/style.css\n",
        b"xenlet-site 1 946684800 2 3 4\n\n\n\n\n\n\n\n",
        b"xenlet-site 1 946684800 2 3 4\n/style.css\ttext/css\tbr \"a\" 1\n",
        &[b'x'; 20_000],
        &[
            b"xenlet-site 1 946684800 2 3 4\n".as_slice(),
            &[b'x'; 20_000],
        ]
        .concat(),
        &[0xff; 5000],
    ] {
        let image = sound.copy();
        let index = image.0.0.join("index");
        fs::write(&index, content).unwrap();
        image.debugfs("rm /.xenlet/index");
        image.debugfs(&format!("write {} /.xenlet/index", index.display()));
        let found = ask_of(
            &image.mount(),
            "GET",
            "/style.css",
            "Accept-Encoding: br\r\n",
        );
        assert!(found.has("HTTP/1.1 200 OK"), "{}", found.head);
        assert_eq!(found.body, fs::read(folder().join("style.css")).unwrap());
    }
}

/// A disk that fails after any number of requests: the right answer, or an error, or a body that is cut off.
#[test]
fn a_disk_that_fails() {
    let folder = Temporary::new();
    let content: Vec<u8> = (0..400_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(folder.0.join("large.png"), &content).unwrap();
    let image = Image::indexed(&folder.0);
    let mut cut = 0;
    for requests in 0..100 {
        let disk = image.disk();
        let left = Rc::clone(&disk.left);
        let site = block_on(DiskSite::mount(disk, 64 * 1024)).unwrap();
        left.set(requests);
        let found = ask_of(&site, "GET", "/large.png", "");
        if found.has("HTTP/1.1 500 Internal Server Error") {
            assert!(found.body.starts_with(b"The page could not be read"));
            continue;
        }
        assert!(found.has("HTTP/1.1 200 OK"), "{}", found.head);
        assert!(found.has(&format!("Content-Length: {}", content.len())));
        assert!(content.starts_with(&found.body));
        cut += usize::from(found.body.len() < content.len());
        let (used, limit) = site.files.cache_usage();
        assert!(used <= limit && limit == 64 * 1024);
    }
    assert!(cut > 80, "{cut}");
    let whole = ask_of(&image.mount(), "GET", "/large.png", "");
    assert!(whole.body == content);
}
