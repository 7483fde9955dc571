//! What is on a medium for good: memory, of which only what was written is there, or a file of the host.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that memory is had by.
const BLOCK: usize = 4096;

#[derive(Debug)]
pub(super) enum Content {
    /// Blocks by their number; those that are missing are zeros.
    Memory(BTreeMap<u64, Box<[u8; BLOCK]>>),
    File(File),
}

/// The blocks that `len` bytes from `at` on lie in: number, where in it, how many bytes.
fn blocks(at: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let here = at + done as u64;
        let within = usize::try_from(here % BLOCK as u64).unwrap_or(0);
        let count = (len - done).min(BLOCK - within);
        done += count;
        (count > 0).then_some((here / BLOCK as u64, within, count))
    })
}

impl Content {
    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(into, at),
            Self::Memory(memory) => {
                let mut rest = into;
                for (number, within, count) in blocks(at, rest.len()) {
                    let (now, later) = rest.split_at_mut(count);
                    match memory.get(&number) {
                        Some(block) => now.copy_from_slice(&block[within..within + count]),
                        None => now.fill(0),
                    }
                    rest = later;
                }
                Ok(())
            }
        }
    }

    pub(super) fn write(&mut self, at: u64, from: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all_at(from, at),
            Self::Memory(memory) => {
                let mut rest = from;
                for (number, within, count) in blocks(at, rest.len()) {
                    let (now, later) = rest.split_at(count);
                    let block = memory.entry(number).or_insert_with(|| Box::new([0; BLOCK]));
                    block[within..within + count].copy_from_slice(now);
                    rest = later;
                }
                Ok(())
            }
        }
    }

    /// Waits until it would outlive the host's own power.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync_data(),
            Self::Memory(_) => Ok(()),
        }
    }
}
