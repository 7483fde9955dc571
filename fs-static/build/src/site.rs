//! From a folder to the source that embeds it.

use crate::blob::{Blob, hex};
use crate::compress::{Compressed, compress_all};
use crate::content_type::{content_type, is_compressed};
use crate::emit::{self, Coding, File, Variant};
use crate::walk::{Found, walk};
use crate::{Problem, table::table};
use std::fs;
use std::path::{Path, PathBuf};

/// What was embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Number of files.
    pub files: usize,
    /// Their size in bytes.
    pub content_bytes: usize,
    /// Bytes that they take in the image: with the compressed variants, and identical bodies once.
    pub stored_bytes: usize,
    /// Hidden entries and backups that were left out, relative to the folder. A folder counts as one.
    pub left_out: Vec<PathBuf>,
}

/// Embeds the folder `site`: writes `site.rs`, which `xenlet_fs_static::site!` includes, and `site.bin`, which
/// that includes, into the folder `out`. ([`embed`](crate::embed) does it for a build script.)
///
/// Compressed variants are kept in `out/variants` for the next time.
///
/// # Errors
///
/// Everything that is wrong with the folder, at once.
pub fn generate(site: &Path, out: &Path) -> Result<Report, Vec<Problem>> {
    let walk = walk(site);
    let mut problems = walk.problems;
    let bodies: Vec<Vec<u8>> = (walk.files.iter())
        .map(|Found { source, .. }| {
            fs::read(source).unwrap_or_else(|error| {
                problems.push(Problem::Unreadable {
                    path: source.clone(),
                    error,
                });
                Vec::new()
            })
        })
        .collect();
    let table = table(&walk.files).unwrap_or_else(|clashes| {
        problems.extend(clashes);
        Default::default()
    });
    if !problems.is_empty() {
        return Err(problems);
    }

    let mut blob = Blob::default();
    let files = files(&walk.files, &bodies, &mut blob, &out.join("variants"));
    let source = emit::source(&files, &table, blob.bytes().len());
    for (name, bytes) in [("site.bin", blob.bytes()), ("site.rs", source.as_bytes())] {
        let path = out.join(name);
        fs::write(&path, bytes).map_err(|error| vec![Problem::Unwritable { path, error }])?;
    }
    Ok(Report {
        files: files.len(),
        content_bytes: bodies.iter().map(Vec::len).sum(),
        stored_bytes: blob.bytes().len(),
        left_out: walk.left_out,
    })
}

/// Works out type and variants of each file, and puts the bodies into `blob`.
fn files<'a>(
    found: &'a [Found],
    bodies: &[Vec<u8>],
    blob: &mut Blob,
    cache: &Path,
) -> Vec<File<'a>> {
    let typed: Vec<_> = (found.iter().zip(bodies))
        .map(|(found, body)| (found, body, content_type(&found.path, body)))
        .collect();
    let compressible = (typed.iter())
        .filter(|(_, _, content_type)| !is_compressed(content_type))
        .map(|(_, body, _)| body.as_slice());
    let compressed = compress_all(compressible, cache);

    let mut variant = |coding, body: &[u8]| {
        let (hash, place) = blob.add(body);
        // 96 bits: the author of a site has nothing to gain from a collision, and chance will not bring one.
        Variant {
            coding,
            place,
            etag: format!("\"{}\"", hex(&hash, 12)),
        }
    };
    (typed.into_iter())
        .map(|(Found { path, .. }, body, content_type)| {
            let mut variants = vec![variant(Coding::Identity, body)];
            // Two files can have one content and different types, of which one is not to be compressed.
            if !is_compressed(&content_type)
                && let Some(Compressed { gzip, brotli }) = compressed.get(body.as_slice())
            {
                variants.extend(gzip.as_deref().map(|body| variant(Coding::Gzip, body)));
                variants.extend(brotli.as_deref().map(|body| variant(Coding::Brotli, body)));
            }
            File {
                path,
                content_type,
                variants,
            }
        })
        .collect()
}
