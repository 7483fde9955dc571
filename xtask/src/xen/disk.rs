//! Disks of an application: files of this machine, as they are named on the command line and given to it.

use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use xenlet_storage::host_file;

use crate::rig::Drive;

/// A disk: a file, and how the application sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    /// The file.
    pub(crate) file: PathBuf,
    /// Whether the application can't write it.
    pub(crate) read_only: bool,
    /// Bytes of a sector, for a guest of the rig: 512 or 4096.
    pub(crate) sector_size: u32,
}

impl FromStr for Disk {
    type Err = std::convert::Infallible;

    /// `FILE`, `FILE,rw` or `FILE,ro`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (file, read_only) = match text.strip_suffix(",ro") {
            Some(file) => (file, true),
            None => (text.strip_suffix(",rw").unwrap_or(text), false),
        };
        Ok(Self {
            read_only,
            ..Self::of(Path::new(file))
        })
    }
}

impl Disk {
    /// The file `path` as a disk like any other.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            file: path.into(),
            read_only: false,
            sector_size: 512,
        }
    }

    /// Checks that the file is there and can be a disk: before something that takes long.
    ///
    /// # Errors
    /// If not; the error says how to make one.
    pub(crate) fn check(&self) -> Result<()> {
        let file = self.file.display();
        let data = match self.file.metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("there is no disk `{file}`; `cargo xtask disk create FILE 1G` would make one")
            }
            data => data.with_context(|| format!("cannot look at the disk {file}"))?,
        };
        if data.is_dir() {
            bail!(
                "{file} is a folder: `cargo xtask disk from-folder {file} disk.img` makes a disk of it"
            );
        }
        if !data.is_file() && !data.file_type().is_block_device() {
            bail!("{file} is neither a file nor a block device: a disk is one of these");
        }
        if data.is_file() && data.len() < 512 {
            bail!(
                "{file} has {} bytes, less than a sector: remove it and make a disk with `cargo xtask disk create {file} 1G`",
                data.len()
            );
        }
        Ok(())
    }

    /// Keeps other programs of this machine from using the file, until what this gives is dropped.
    ///
    /// # Errors
    /// If one uses it.
    pub(crate) fn lock(&self) -> Result<File> {
        host_file::open(&self.file, self.read_only)
            .with_context(|| format!("cannot open the disk {}", self.file.display()))
    }

    /// The word of a hosted or unix program's command line that gives it this as its disk `number`.
    ///
    /// # Errors
    /// If the file's name can't be in one word.
    pub(crate) fn word(&self, number: usize) -> Result<String> {
        let file = self
            .file
            .to_str()
            .filter(|file| !file.contains(char::is_whitespace));
        let Some(file) = file else {
            bail!(
                "the disk `{}` has a blank in its name, which a command line can't hold: give it another name",
                self.file.display()
            );
        };
        let number = match number {
            0 => String::new(),
            number => number.to_string(),
        };
        let mode = if self.read_only { ",ro" } else { "" };
        Ok(format!("disk{number}={file}{mode}"))
    }

    /// The same for the rig's QEMU.
    pub(super) fn drive(&self) -> Drive {
        Drive {
            file: self.file.clone(),
            read_only: self.read_only,
            sector_size: self.sector_size,
        }
    }

    /// The disk in the words of xl-disk-configuration(5): `target` is a file or device of dom0.
    ///
    /// # Errors
    /// If there are too many disks, or xl can't take the name.
    pub(super) fn specification(
        &self,
        number: usize,
        script: Option<&str>,
        target: &Path,
    ) -> Result<String> {
        let letter = (b'a'..=b'z')
            .nth(number)
            .map(char::from)
            .context("a guest can have 26 disks")?;
        let target = target
            .to_str()
            .filter(|target| !target.contains(['"', '\'', '\n']));
        let Some(target) = target else {
            bail!(
                "the disk `{}` has a quote in its name, which xl can't take: give it another name",
                self.file.display()
            );
        };
        let access = if self.read_only { "ro" } else { "rw" };
        let script = script.map_or(String::new(), |script| format!("script={script},"));
        // The target is last: to xl, all that follows belongs to it.
        Ok(format!(
            "format=raw,vdev=xvd{letter},access={access},{script}target={target}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(text: &str) -> Disk {
        text.parse().unwrap()
    }

    #[test]
    fn a_disk_is_a_file_and_may_be_read_only() {
        assert_eq!(
            (disk("a.img").file, disk("a.img").read_only),
            ("a.img".into(), false)
        );
        assert_eq!(disk("a.img,rw"), disk("a.img"));
        assert_eq!(
            (disk("a,b,ro").file, disk("a,b,ro").read_only),
            ("a,b".into(), true)
        );
    }

    #[test]
    fn words_number_the_disks() {
        assert_eq!(disk("a.img").word(0).unwrap(), "disk=a.img");
        assert_eq!(disk("b.img,ro").word(1).unwrap(), "disk1=b.img,ro");
        let error = disk("my disk").word(0).unwrap_err().to_string();
        assert!(
            error.contains("my disk") && error.contains("another name"),
            "{error}"
        );
    }

    #[test]
    fn xl_is_told_all_of_it() {
        let spec = |text: &str, number, script| {
            disk(text).specification(number, script, Path::new("/dev/sda"))
        };
        assert_eq!(
            spec("a", 0, None).unwrap(),
            "format=raw,vdev=xvda,access=rw,target=/dev/sda"
        );
        assert_eq!(
            spec("a,ro", 1, Some("/s")).unwrap(),
            "format=raw,vdev=xvdb,access=ro,script=/s,target=/dev/sda"
        );
        assert!(spec("a", 26, None).is_err());
        assert!(
            disk("a")
                .specification(0, None, Path::new("/it's"))
                .is_err()
        );
    }

    #[test]
    fn what_can_be_no_disk_is_refused_with_the_fix() {
        let refused = |text: &str| disk(text).check().unwrap_err().to_string();
        let error = refused("/no/such/disk.img");
        assert!(
            error.contains("`/no/such/disk.img`") && error.contains("cargo xtask disk create"),
            "{error}"
        );
        assert!(refused("/tmp").contains("from-folder"));
        assert!(refused("/proc/version").contains("0 bytes"));
        // What waits when it is opened, or has no end, or is lost.
        assert!(refused("/dev/null").contains("neither a file nor a block device"));
    }
}
