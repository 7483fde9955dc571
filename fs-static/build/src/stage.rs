//! A site as it lies on a disk: a folder for mkfs.ext4 to make an image of.

use crate::prepare::{Body, Prepared, PreparedVariant, prepare};
use crate::{Problem, Report};
use sha2::{Digest, Sha256};
use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use xenlet_fs_static::Coding;
use xenlet_fs_static::index::{FOLDER, INDEX, Line, Stored, Summary};

/// When every file of an image was changed last, in seconds since 1970: the year 2000. The index holds for files with
/// this time, so that one that somebody changes in the image is served as it is then.
pub const MODIFIED: u64 = 946_684_800;

/// What was put into a folder.
#[derive(Clone, Debug)]
pub struct Staged {
    /// What the site is.
    pub report: Report,
    /// A hash of all that is served: the same for the same site, and for no other.
    pub digest: [u8; 32],
}

/// Puts the site in the folder `site` into the folder `into`, which is made: its files, their compressed variants and
/// the index of both (`xenlet_fs_static::index`). Compressed variants are kept in the folder `cache` for the next time.
///
/// # Errors
///
/// Everything that is wrong with the folder, at once.
pub fn stage(site: &Path, cache: &Path, into: &Path) -> Result<Staged, Vec<Problem>> {
    let mut lines = Vec::new();
    let report = prepare(site, cache, |prepared| {
        for variant in &prepared.variants {
            store(into, &prepared, variant)?;
        }
        lines.push(line(&prepared));
        Ok(())
    })?;
    // In the order of encoded paths, which is not that of paths.
    lines.sort();
    let summary = Summary {
        modified: MODIFIED,
        files: report.files as u64,
        content_bytes: report.content_bytes,
        stored_bytes: report.stored_bytes,
    };
    let index = summary.to_string() + &lines.concat();
    let done = write(&place(into, INDEX), index.as_bytes()).and_then(|()| date(into));
    done.map_err(|problem| vec![problem])?;
    Ok(Staged {
        report,
        digest: Sha256::digest(&index).into(),
    })
}

/// The index's line of a file.
fn line(prepared: &Prepared) -> String {
    let stored = prepared.variants.iter().map(|variant| Stored {
        coding: variant.coding,
        etag: &variant.etag,
        bytes: variant.body.len(),
    });
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = Line::new(&prepared.content_type, stored).write(&prepared.path, &mut text);
    text
}

fn store(into: &Path, file: &Prepared, variant: &PreparedVariant) -> Result<(), Problem> {
    let path = match variant.coding {
        Coding::Identity => place(into, &file.path),
        coding => place(into, &format!("{FOLDER}/{}{}", coding.token(), file.path)),
    };
    let copied = match &variant.body {
        Body::Bytes(bytes) => return write(&path, bytes),
        Body::File(bytes) => {
            make_folder(&path).and_then(|()| Ok(fs::copy(&file.source, &path)? == *bytes))
        }
    };
    match copied {
        Ok(true) => Ok(()),
        Ok(false) => Err(Problem::Unreadable {
            path: file.source.clone(),
            error: io::Error::other("it changed while it was read"),
        }),
        Err(error) => Err(Problem::Unwritable { path, error }),
    }
}

/// Where something is in a folder, by its path in the image.
fn place(into: &Path, path: &str) -> PathBuf {
    into.join(path.trim_start_matches('/'))
}

fn make_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let written = make_folder(path).and_then(|()| fs::write(path, bytes));
    written.map_err(|error| Problem::Unwritable {
        path: path.to_owned(),
        error,
    })
}

/// Gives all that is in a folder, and the folder, the time and the permissions that an image's files have.
fn date(path: &Path) -> Result<(), Problem> {
    let set = || {
        let is_folder = path.is_dir();
        let mode = if is_folder { 0o755 } else { 0o644 };
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        let entries = if is_folder {
            fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?
        } else {
            Vec::new()
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(MODIFIED);
        let times = FileTimes::new().set_accessed(time).set_modified(time);
        File::open(path)?.set_times(times)?;
        Ok(entries)
    };
    let entries = set().map_err(|error| Problem::Unwritable {
        path: path.to_owned(),
        error,
    })?;
    entries.iter().try_for_each(|entry| date(&entry.path()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenlet_fs_static::{Encoded, index};

    #[test]
    fn a_site_as_it_lies_on_a_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (site, into) = (folder.path().join("site"), folder.path().join("into"));
        fs::create_dir_all(site.join("a b")).unwrap();
        let text = b"text ".repeat(100);
        fs::write(site.join("a b/index.html"), &text).unwrap();
        fs::write(site.join("a.png"), "picture").unwrap();
        fs::write(site.join("ab.txt"), "short").unwrap();
        fs::write(site.join(".hidden"), "no").unwrap();
        let staged = stage(&site, &folder.path().join("cache"), &into).unwrap();
        assert_eq!((staged.report.files, staged.report.left_out.len()), (3, 1));

        assert_eq!(fs::read(into.join("a b/index.html")).unwrap(), text);
        assert!(!into.join(".hidden").exists());
        let index = fs::read_to_string(into.join(".xenlet/index")).unwrap();
        let (first, lines) = index.split_once('\n').unwrap();
        let summary = Summary::parse(first).unwrap();
        assert_eq!((summary.files, summary.content_bytes), (3, 512));
        let mut paths = Vec::new();
        for line in lines.lines() {
            let path = line.split('\t').next().unwrap();
            let (_, rest) = index::compare(line.as_bytes(), path);
            let parsed = Line::parse(std::str::from_utf8(rest).unwrap()).unwrap();
            paths.push((path, parsed.varies()));
        }
        assert_eq!(
            paths,
            [
                ("/a%20b/index.html", true),
                ("/a.png", false),
                ("/ab.txt", false)
            ]
        );
        assert!(paths.is_sorted());
        for coding in ["gzip", "br"] {
            let variant = into.join(".xenlet").join(coding).join("a b/index.html");
            let data = fs::metadata(variant).unwrap();
            let modified = data.modified().unwrap();
            let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(since.as_secs(), MODIFIED);
            assert!(data.len() < 100);
        }

        // Once more, and after a change.
        let again = folder.path().join("again");
        let cache = folder.path().join("cache");
        assert_eq!(stage(&site, &cache, &again).unwrap().digest, staged.digest);
        fs::write(site.join("ab.txt"), "SHORT").unwrap();
        let changed = folder.path().join("changed");
        assert_ne!(
            stage(&site, &cache, &changed).unwrap().digest,
            staged.digest
        );
    }

    /// The longest path that a site may have, of what is longest when it is encoded.
    #[test]
    fn no_line_is_longer_than_a_line_may_be() {
        let path = "\u{1f4a9}".repeat(crate::walk::LONGEST_PATH / 4);
        assert_eq!(Encoded(&path).to_string().len(), 3 * path.len());
        let etag = format!("\"{}\"", "0".repeat(24));
        let stored = [Coding::Identity, Coding::Gzip, Coding::Brotli].map(|coding| Stored {
            coding,
            etag: &etag,
            bytes: u64::MAX,
        });
        let types = mime_guess::get_extensions("*", "*").unwrap();
        let longest = (types.iter())
            .map(|end| crate::content_type::content_type(&format!("a.{end}"), b""))
            .max_by_key(String::len)
            .unwrap();
        let mut text = String::new();
        Line::new(&longest, stored).write(&path, &mut text).unwrap();
        assert!(text.len() < index::LONGEST_LINE, "{}", text.len());
    }
}
