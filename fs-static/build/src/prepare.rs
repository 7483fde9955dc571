//! What is told of the files of a site, and their compressed variants: for a program that embeds them and for a disk.

use crate::blob::{Hash, hash, hex};
use crate::compress::{Cache, Compressed, LARGEST, compress_all};
use crate::content_type::{content_type, essence, is_compressed, is_text};
use crate::table::{Target, table};
use crate::walk::{Found, Walk, walk};
use crate::{Problem, Report};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use xenlet_fs_static::Coding;

/// A file of a site.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// Its path in the site, decoded: `/docs/café.html`.
    pub(crate) path: String,
    /// Where it was read.
    pub(crate) source: PathBuf,
    /// The value of `Content-Type`.
    pub(crate) content_type: String,
    /// The file as it is, and the compressed variants that are worth having.
    pub(crate) variants: Vec<PreparedVariant>,
}

/// A body of a file.
#[derive(Clone, Debug)]
pub(crate) struct PreparedVariant {
    /// How it is coded.
    pub(crate) coding: Coding,
    /// The strong entity tag, with its quotes.
    pub(crate) etag: String,
    /// The body.
    pub(crate) body: Body,
}

/// What is to be sent.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The file itself, which was not kept: it has this many bytes.
    File(u64),
}

impl Body {
    /// How many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(len) => *len,
        }
    }
}

/// Works out what is told of every file of the folder `site`, and has `each` take them, sorted by path. Files that are not
/// to be compressed are not held in memory, and of the others not many at a time.
///
/// Compressed variants are kept in the folder `cache` for the next time.
///
/// # Errors
///
/// Everything that is wrong with the folder, at once; or what `each` says, and then nothing more is done.
pub(crate) fn prepare(
    site: &Path,
    cache: &Path,
    each: impl FnMut(Prepared) -> Result<(), Problem>,
) -> Result<Report, Vec<Problem>> {
    let (walk, _) = check(site)?;
    prepare_all(walk, cache, each).map_err(|problem| vec![problem])
}

/// What a folder holds, and which paths of it answer.
pub(crate) fn check(site: &Path) -> Result<(Walk, BTreeMap<String, Target>), Vec<Problem>> {
    let mut walk = walk(site);
    let mut problems = std::mem::take(&mut walk.problems);
    problems.extend(walk.files.iter().filter_map(|found| {
        let error = File::open(&found.source).err()?;
        Some(unreadable(found)(error))
    }));
    match table(&walk.files) {
        Ok(table) if problems.is_empty() => return Ok((walk, table)),
        Ok(_) => {}
        Err(clashes) => problems.extend(clashes),
    }
    Err(problems)
}

pub(crate) fn prepare_all(
    walk: Walk,
    cache: &Path,
    mut each: impl FnMut(Prepared) -> Result<(), Problem>,
) -> Result<Report, Problem> {
    let cache = Cache::new(cache);
    let mut report = Report {
        files: walk.files.len(),
        left_out: walk.left_out,
        ..Report::default()
    };
    let mut rest = walk.files.as_slice();
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(batch(rest));
        rest = after;
        let looked_at = batch.iter().map(look_at).collect::<Result<Vec<_>, _>>()?;
        let compressible = looked_at.iter().filter_map(LookedAt::compressible);
        let compressed = compress_all(compressible, &cache);
        let variants: Vec<Compressed> = (looked_at.iter())
            .map(|one| one.compressible().and_then(|body| compressed.get(body)))
            .map(|found| found.cloned().unwrap_or_default())
            .collect();
        for ((found, one), Compressed { gzip, brotli }) in batch.iter().zip(looked_at).zip(variants)
        {
            let made = [(Coding::Gzip, gzip), (Coding::Brotli, brotli)];
            let made = made.into_iter().filter_map(|(coding, body)| {
                let body = body?;
                Some(variant(coding, &hash(&body), Body::Bytes(body)))
            });
            report.content_bytes += one.body.len();
            let identity = variant(Coding::Identity, &one.hash, one.body);
            let variants: Vec<_> = std::iter::once(identity).chain(made).collect();
            report.stored_bytes += variants.iter().map(|one| one.body.len()).sum::<u64>();
            each(Prepared {
                path: found.path.clone(),
                source: found.source.clone(),
                content_type: one.content_type,
                variants,
            })?;
        }
    }
    cache.sweep();
    Ok(report)
}

fn variant(coding: Coding, hash: &Hash, body: Body) -> PreparedVariant {
    // 96 bits: the author of a site has nothing to gain from a collision, and chance will not bring one.
    let etag = format!("\"{}\"", hex(hash, 12));
    PreparedVariant { coding, etag, body }
}

/// How many of `files` to hold at a time: one at least.
fn batch(files: &[Found]) -> usize {
    /// In bytes, but for one more file.
    const HELD: u64 = 64 << 20;
    let mut held = 0;
    let small = files.iter().take_while(|found| {
        let fits = held < HELD;
        held += fs::metadata(&found.source).map_or(0, |metadata| metadata.len());
        fits
    });
    small.count()
}

/// A file that was read.
struct LookedAt {
    content_type: String,
    hash: Hash,
    body: Body,
}

impl LookedAt {
    fn compressible(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Bytes(body) if body.len() as u64 <= LARGEST => {
                (!is_compressed(&self.content_type)).then_some(body)
            }
            _ => None,
        }
    }
}

fn look_at(found: &Found) -> Result<LookedAt, Problem> {
    let essence = essence(&found.path);
    let look = || {
        let mut file = File::open(&found.source)?;
        let is_small = !is_compressed(essence) && file.metadata()?.len() <= LARGEST;
        if is_small || is_text(essence) {
            let mut body = Vec::new();
            file.read_to_end(&mut body)?;
            return Ok(LookedAt {
                content_type: content_type(&found.path, &body),
                hash: hash(&body),
                body: Body::Bytes(body),
            });
        }
        let (hash, len) = hash_of(&mut file)?;
        Ok(LookedAt {
            content_type: essence.to_owned(),
            hash,
            body: Body::File(len),
        })
    };
    look().map_err(unreadable(found))
}

/// The hash of a file, and its length.
fn hash_of(file: &mut File) -> io::Result<(Hash, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut len = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((hasher.finalize().into(), len));
        }
        hasher.update(&buffer[..count]);
        len += count as u64;
    }
}

fn unreadable(found: &Found) -> impl Fn(io::Error) -> Problem {
    |error| Problem::Unreadable {
        path: found.source.clone(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not held is told the same as what is.
    #[test]
    fn a_file_that_is_not_kept_has_the_same_tag() {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site");
        fs::create_dir(&site).unwrap();
        let body = b"not really a picture".repeat(20_000);
        for name in ["a.png", "b.bin"] {
            fs::write(site.join(name), &body).unwrap();
        }
        let mut all = Vec::new();
        let report = prepare(&site, &folder.path().join("cache"), |one| {
            all.push(one);
            Ok(())
        })
        .unwrap();
        assert!(matches!(all[0].variants[0].body, Body::File(len) if len == body.len() as u64));
        assert!(matches!(&all[1].variants[0].body, Body::Bytes(bytes) if *bytes == body));
        assert_eq!(all[0].variants[0].etag, all[1].variants[0].etag);
        assert_eq!((all[0].variants.len(), all[1].variants.len()), (1, 3));
        assert_eq!(report.content_bytes, 2 * body.len() as u64);
        assert!(report.stored_bytes > report.content_bytes);
    }

    #[test]
    fn few_are_held_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<Found> = (0..5)
            .map(|file| {
                let source = folder.path().join(file.to_string());
                let sparse = File::create(&source).unwrap();
                sparse.set_len(30 << 20).unwrap();
                Found {
                    path: format!("/{file}"),
                    source,
                }
            })
            .collect();
        assert_eq!((batch(&files), batch(&files[3..])), (3, 2));
    }
}
