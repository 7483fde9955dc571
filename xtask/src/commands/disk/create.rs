//! `cargo xtask disk create`: a blank disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::ui::Bytes;

/// `cargo xtask disk create FILE SIZE`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask disk create data.img 1G
  cargo xtask disk create small.img 64M

The file must not exist yet. It reads as zeros, and takes room on this machine only as it is written.")]
pub(crate) struct Arguments {
    /// The file to make
    file: PathBuf,
    /// Its size: a number of bytes, or of KiB, MiB, GiB, TiB with K, M, G, T
    #[arg(value_parser = size)]
    size: u64,
}

/// # Errors
/// If the file is there already or can't be made.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    create(&arguments.file, arguments.size)?;
    println!(
        "{}: a blank disk of {}",
        arguments.file.display(),
        Bytes(arguments.size)
    );
    Ok(())
}

/// Makes a blank disk of `size` bytes. What can't be finished is not left behind.
///
/// # Errors
/// If the file is there already or can't be made.
pub(crate) fn create(path: &Path, size: u64) -> Result<()> {
    let file = match File::create_new(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => bail!(
            "{} is there already, and may be somebody's disk: remove it first, or choose another name",
            path.display()
        ),
        file => file.with_context(|| format!("cannot create {}", path.display()))?,
    };
    file.set_len(size)
        .with_context(|| format!("cannot make {} {} long", path.display(), Bytes(size)))
        .inspect_err(|_| {
            let _ = fs::remove_file(path);
        })
}

/// A size as people write it: `64M`, `1G`, `1048576`.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: &[u8] = b"KMGT";
    /// What a disk's sectors are multiples of.
    const SECTOR: u64 = 512;
    let upper = text.to_ascii_uppercase();
    let (digits, shift) = match upper.bytes().last() {
        Some(last) => match (10..)
            .step_by(10)
            .zip(UNITS)
            .find(|(_, unit)| **unit == last)
        {
            Some((shift, _)) => (&upper[..upper.len() - 1], shift),
            None => (upper.as_str(), 0),
        },
        None => ("", 0),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a size is a number, and K, M, G or T after it: 64M".to_owned())?;
    let bytes = number
        .checked_mul(1 << shift)
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or("no file can be that large")?;
    match bytes {
        0 => Err("a disk has at least one sector of 512 bytes".into()),
        bytes if !bytes.is_multiple_of(SECTOR) => Err(format!(
            "a disk is a multiple of 512 bytes: {} or {}",
            bytes / SECTOR * SECTOR,
            bytes.next_multiple_of(SECTOR)
        )),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("4K"), Ok(4096));
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("1g"), Ok(1 << 30));
        assert_eq!(size("2T"), Ok(2 << 40));
    }

    #[test]
    fn nonsense_sizes_are_refused_with_the_fix() {
        for (text, word) in [
            ("", "64M"),
            ("M", "64M"),
            ("-1M", "64M"),
            ("12x", "64M"),
            ("1MB", "64M"),
            ("é", "64M"),
            ("0", "at least"),
            ("1000", "512 or 1024"),
            ("9000000T", "large"),
            ("99999999999999999999", "64M"),
        ] {
            let error = size(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_disk_is_made_once_blank_and_sparse() {
        let path = std::env::temp_dir().join(format!("xtask-create-{}", std::process::id()));
        create(&path, 1 << 30).unwrap();
        let data = path.metadata().unwrap();
        assert_eq!(data.len(), 1 << 30);
        assert!(std::os::unix::fs::MetadataExt::blocks(&data) < 100);
        let error = create(&path, 512).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert_eq!(path.metadata().unwrap().len(), 1 << 30);
        fs::remove_file(path).unwrap();
    }
}
