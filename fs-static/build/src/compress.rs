//! Compressed variants.
//!
//! The best compression that there is takes its time, some ten milliseconds a page, but a page is compressed once
//! and sent for ever. So that it is really once, results are kept in cargo's output directory by the hash of what went
//! in; and all processors work on what is new.

use crate::blob::{Hash, hash, hex};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// The variants of a body that are worth having.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compressed {
    pub(crate) gzip: Option<Vec<u8>>,
    pub(crate) brotli: Option<Vec<u8>>,
}

/// The largest body that is compressed, in bytes: a MiB takes seconds.
pub(crate) const LARGEST: u64 = 16 << 20;

/// Compresses each of `bodies`, keeping results in `cache`.
///
/// The cache is only a cache: where it cannot be read or written, the work is done again.
pub(crate) fn compress_all<'a>(
    bodies: impl Iterator<Item = &'a [u8]>,
    cache: &Cache<'_>,
) -> HashMap<&'a [u8], Compressed> {
    let bodies: HashMap<&[u8], Hash> = bodies.map(|body| (body, hash(body))).collect();
    cache.use_for(bodies.values());

    let results = Mutex::new(HashMap::with_capacity(bodies.len()));
    let queue = Mutex::new(bodies.into_iter());
    // A function of its own, so that the lock is not held while its result is worked on.
    let next = || lock(&queue).next();
    let work = || {
        while let Some((body, hash)) = next() {
            let worth = |variant: &Vec<u8>| is_worth(body.len(), variant.len());
            let gzip = cache.get(&hash, "gz", || gzip(body)).filter(worth);
            let brotli = cache.get(&hash, "br", || brotli(body)).filter(worth);
            lock(&results).insert(body, Compressed { gzip, brotli });
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Locks, whatever happened to another worker: if one panics, the scope panics at its end.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a variant saves enough to pay for its own header fields (64 bytes), its place in the image and the
/// client's work (a twentieth).
fn is_worth(body_bytes: usize, variant_bytes: usize) -> bool {
    variant_bytes + body_bytes.div_ceil(20).max(64) <= body_bytes
}

// Writing to memory does not fail. If it did, there would be no variant, and nothing else would be wrong.

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    // Beyond a handful of iterations the gain is below a thousandth. The header that zopfli writes has no
    // time and no name in it.
    const ITERATIONS: NonZeroU64 = NonZeroU64::new(5).expect("not zero");
    let options = zopfli::Options {
        iteration_count: ITERATIONS,
        ..zopfli::Options::default()
    };
    let mut out = Vec::new();
    zopfli::compress(options, zopfli::Format::Gzip, body, &mut out).ok()?;
    Some(out)
}

fn brotli(mut body: &[u8]) -> Option<Vec<u8>> {
    let params = brotli::enc::BrotliEncoderParams {
        quality: 11,
        // 4 MiB: the most that RFC 7932 browsers all accept is 24, and what decoders set aside grows with it.
        lgwin: 22,
        size_hint: body.len(),
        ..Default::default()
    };
    let mut out = Vec::new();
    brotli::BrotliCompress(&mut body, &mut out, &params).ok()?;
    Some(out)
}

/// Results of earlier runs: files named by the hash of what was compressed.
///
/// Other versions of the compressors need no care in a build: cargo gives one with other dependencies another directory.
pub(crate) struct Cache<'a> {
    folder: &'a Path,
    used: Mutex<HashSet<String>>,
}

impl<'a> Cache<'a> {
    /// A cache in `folder`, which is made.
    pub(crate) fn new(folder: &'a Path) -> Self {
        // It may be there already.
        let _ = fs::create_dir_all(folder);
        Self {
            folder,
            used: Mutex::default(),
        }
    }

    fn use_for<'h>(&self, hashes: impl Iterator<Item = &'h Hash>) {
        lock(&self.used).extend(hashes.map(|hash| hex(hash, hash.len())));
    }

    /// Deletes what was not used: it belongs to contents that are gone.
    pub(crate) fn sweep(&self) {
        let used = lock(&self.used);
        for entry in fs::read_dir(self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_used = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .is_some_and(|stem| used.contains(stem));
            if !is_used {
                // What cannot be deleted does no harm.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// What is kept for `hash`, or else what `make` makes.
    fn get(
        &self,
        hash: &Hash,
        kind: &str,
        make: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let path = self.folder.join(hex(hash, hash.len())).with_extension(kind);
        if let Ok(kept) = fs::read(&path) {
            return Some(kept);
        }
        let made = make()?;
        // Under its name only when complete: a build can be interrupted.
        let partial = path.with_extension(format!("{kind}-partial"));
        let _ = fs::write(&partial, &made).and_then(|()| fs::rename(&partial, &path));
        Some(made)
    }
}

#[cfg(test)]
mod tests;
