//! Images made by mkfs.ext4 of folders made here, and disks in memory that they are read from.

use crate::{BlockDevice, Geometry, IoError, SECTOR};
use core::cell::Cell;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use xenlet_kernel::page::Pages;

/// The value of a future that waits for nothing.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a disk in memory answers at once"),
    }
}

/// Bytes without a pattern.
pub(crate) fn noise(seed: usize, len: usize) -> Vec<u8> {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A folder that goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("xenlet-files-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder of files, and what is in them.
pub(crate) struct Tree {
    folder: Temporary,
    files: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self {
            folder: Temporary::new(),
            files: BTreeMap::new(),
        }
    }

    /// The files, by the paths that they are found at.
    pub(crate) fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.folder.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }

    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        fs::write(self.place(path), content).unwrap();
        self.files.insert(format!("/{path}"), content.to_vec());
    }

    /// A file of holes, but for some pieces.
    pub(crate) fn sparse(&mut self, path: &str, len: usize, pieces: Vec<(usize, Vec<u8>)>) {
        let file = File::create(self.place(path)).unwrap();
        file.set_len(len as u64).unwrap();
        let mut content = vec![0; len];
        for (at, bytes) in pieces {
            file.write_all_at(&bytes, at as u64).unwrap();
            content[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        self.files.insert(format!("/{path}"), content);
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.place(path)).unwrap();
    }
}

/// An image.
#[derive(Clone)]
pub(crate) struct Image(pub(crate) Vec<u8>);

impl Image {
    /// What mkfs.ext4 makes of `tree`, with these options.
    pub(crate) fn of(tree: &Tree, options: &[&str]) -> Self {
        Self::sized(tree, options, "24M")
    }

    pub(crate) fn sized(tree: &Tree, options: &[&str], size: &str) -> Self {
        let folder = Temporary::new();
        let path = folder.path().join("image");
        let mut line = tool("mke2fs");
        line.args(["-q", "-F", "-m", "0"]).args(options);
        line.arg("-d").arg(tree.folder.path()).arg(&path).arg(size);
        run(&mut line, &[0]);
        Self(fs::read(path).unwrap())
    }

    /// Has e2fsck make hash trees for large folders.
    pub(crate) fn index_folders(&mut self) {
        // 1: it changed something.
        self.with_file(|path| run(tool("e2fsck").args(["-f", "-y", "-D"]).arg(path), &[0, 1]));
    }

    pub(crate) fn debugfs(&mut self, command: &str) {
        self.with_file(|path| {
            run(tool("debugfs").args(["-w", "-R", command]).arg(path), &[0]);
        });
    }

    fn with_file(&mut self, change: impl FnOnce(&Path)) {
        let folder = Temporary::new();
        let path = folder.path().join("image");
        fs::write(&path, &self.0).unwrap();
        change(&path);
        self.0 = fs::read(path).unwrap();
    }

    pub(crate) fn disk(&self) -> Disk {
        Disk::new(self.0.clone())
    }
}

/// A program of e2fsprogs, which is where only root looks.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn run(command: &mut Command, fine: &[i32]) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{command:?}: {error}: these tests need Debian's package e2fsprogs")
    });
    let said = String::from_utf8_lossy(&output.stderr).to_string();
    let code = output.status.code().unwrap_or(-1);
    assert!(fine.contains(&code), "{command:?}: {said}");
}

/// A disk in memory that counts what is asked of it.
pub(crate) struct Disk {
    bytes: Vec<u8>,
    requests: Rc<Cell<u64>>,
    bytes_read: Rc<Cell<u64>>,
}

impl Disk {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            requests: Rc::default(),
            bytes_read: Rc::default(),
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.get()
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }
}

impl BlockDevice for &Disk {
    fn geometry(&self) -> Geometry {
        Geometry {
            sectors: (self.bytes.len() / SECTOR) as u64,
            sector_size: SECTOR,
            read_only: true,
            discard: false,
        }
    }

    async fn read(&self, sector: u64, mut pages: Pages) -> (Pages, Result<(), IoError>) {
        let len = pages.len();
        self.requests.update(|requests| requests + 1);
        self.bytes_read.update(|bytes| bytes + len as u64);
        let result = self.geometry().check(sector, len);
        if result.is_ok() {
            let at = sector as usize * SECTOR;
            pages.write_at(0, &self.bytes[at..at + len]);
        }
        (pages, result)
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

impl BlockDevice for Disk {
    fn geometry(&self) -> Geometry {
        (&self).geometry()
    }

    async fn read(&self, sector: u64, pages: Pages) -> (Pages, Result<(), IoError>) {
        (&self).read(sector, pages).await
    }

    async fn write(&self, sector: u64, pages: Pages) -> (Pages, Result<(), IoError>) {
        (&self).write(sector, pages).await
    }

    async fn flush(&self) -> Result<(), IoError> {
        Ok(())
    }

    async fn discard(&self, _sector: u64, _sectors: u64) -> Result<(), IoError> {
        Ok(())
    }
}
