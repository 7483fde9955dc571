//! From a folder to the source that embeds it.

use crate::Problem;
use crate::blob::Blob;
use crate::emit::{self, File, Variant};
use crate::prepare::{Body, Prepared, check, prepare_all};
use std::fs;
use std::path::{Path, PathBuf};

/// What a site is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of files.
    pub files: usize,
    /// Their size in bytes.
    pub content_bytes: u64,
    /// Bytes that they take with the compressed variants; in a program, identical bodies once.
    pub stored_bytes: u64,
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
    let (walk, table) = check(site)?;
    let mut blob = Blob::default();
    let mut files = Vec::new();
    let report = prepare_all(walk, &out.join("variants"), |prepared| {
        files.push(embedded(prepared, &mut blob)?);
        Ok(())
    })
    .map_err(|problem| vec![problem])?;
    let source = emit::source(&files, &table, blob.bytes().len());
    for (name, bytes) in [("site.bin", blob.bytes()), ("site.rs", source.as_bytes())] {
        let path = out.join(name);
        fs::write(&path, bytes).map_err(|error| vec![Problem::Unwritable { path, error }])?;
    }
    Ok(Report {
        stored_bytes: blob.bytes().len() as u64,
        ..report
    })
}

/// Puts a file's bodies into `blob`.
fn embedded(prepared: Prepared, blob: &mut Blob) -> Result<File, Problem> {
    let Prepared {
        path,
        source,
        content_type,
        variants,
    } = prepared;
    let mut embedded = Vec::new();
    for variant in variants {
        let body = match variant.body {
            Body::Bytes(bytes) => bytes,
            Body::File(_) => fs::read(&source).map_err(|error| Problem::Unreadable {
                path: source.clone(),
                error,
            })?,
        };
        embedded.push(Variant {
            coding: variant.coding,
            place: blob.add(&body),
            etag: variant.etag,
        });
    }
    Ok(File {
        path,
        content_type,
        variants: embedded,
    })
}
