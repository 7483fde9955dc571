//! The site that both guests serve: a page of 4 KiB, and a file of 1 MiB.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::ca::{self, Files};
use crate::project;

/// Names and contents. They look random, so that nobody compresses them, and are the same each time.
pub(super) fn files() -> [(&'static str, Vec<u8>); 2] {
    [("4k.html", content(4096)), ("1m.bin", content(1 << 20))]
}

/// Letters and digits, by a linear congruence.
fn content(bytes: usize) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = 1_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        LETTERS[(state >> 26) as usize]
    };
    (0..bytes).map(|_| letter()).collect()
}

/// Writes the site to its folder.
///
/// # Errors
/// If that can't be written.
pub(crate) fn write() -> Result<PathBuf> {
    write_to("site", &files())
}

/// The files of the key that both guests have and of its certificate (ECDSA, P-256), and of the CA that made it. They are made if there are
/// none that are good for a month.
///
/// # Errors
/// If they can't be written.
pub(super) fn keys() -> Result<Files> {
    const GOOD: Duration = Duration::from_secs(330 * 86400);
    let folder = project::target_dir().join("bench");
    let files = Files {
        ca: folder.join("ca.pem"),
        key: folder.join("tls.pem"),
    };
    // The one that is written last.
    let age = fs::metadata(&files.ca).and_then(|found| found.modified());
    let age = age.ok().and_then(|made| made.elapsed().ok());
    if age.is_none_or(|age| age > GOOD) {
        let (ca, key) = ca::issue(&["guest"])?;
        fs::write(&files.key, key)?;
        fs::write(&files.ca, ca)?;
    }
    Ok(files)
}

/// Writes a site of the page alone to its folder.
///
/// # Errors
/// If that can't be written.
pub(super) fn write_page() -> Result<PathBuf> {
    write_to("page", &files()[..1])
}

fn write_to(name: &str, files: &[(&str, Vec<u8>)]) -> Result<PathBuf> {
    let folder = project::target_dir().join("bench").join(name);
    fs::create_dir_all(&folder)?;
    for (name, content) in files {
        let file = folder.join(name);
        // A newer file would make cargo build the image again.
        if fs::read(&file).ok().as_ref() != Some(content) {
            fs::write(file, content)?;
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_of_their_size() {
        let [(_, page), (_, file)] = files();
        assert_eq!((page.len(), file.len()), (4096, 1 << 20));
        assert!(file.starts_with(&page));
    }
}
