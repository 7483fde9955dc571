//! What needs no Xen: how large the images are, and how long a lookup takes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::linux::Linux;
use super::sample::Sample;
use crate::image::Image;
use crate::{project, sh};

/// Bytes of what is booted, less those that are content, and how they were counted, for people.
#[derive(Debug)]
pub(super) struct Size {
    pub(super) bytes: u64,
    pub(super) note: String,
}

impl Size {
    pub(super) fn sample(&self) -> Sample {
        #[expect(
            clippy::cast_precision_loss,
            reason = "images are far below 2^52 bytes"
        )]
        Sample::only(self.bytes as f64)
    }
}

/// Of an image with a site. Content is what the build half of fs-static stores for the site: the bodies of the files and of
/// their compressed variants, equal ones once. Names, tables and response heads are the program's.
///
/// # Errors
/// If the image can't be read.
pub(super) fn xenlet(image: &Image, site: &Path) -> Result<Size> {
    let scratch = project::target_dir().join("bench/content");
    fs::create_dir_all(&scratch)?;
    let content = match xenlet_fs_static_build::generate(site, &scratch) {
        Ok(report) => report.stored_bytes,
        Err(problems) => bail!("{} can't be embedded: {problems:?}", site.display()),
    };
    let (packed, unpacked) = (length(&image.packed())?, length(&image.elf())?);
    Ok(Size {
        bytes: packed,
        note: format!(
            "image, xenlet: httpd's unikernel.gz has {packed} bytes, the page in it; unpacked, as unikernel.elf, it has \
             {unpacked}, of which {content} are content: the page and its compressed variants as fs-static stores them"
        ),
    })
}

/// Of the Linux guest with nginx alone.
///
/// # Errors
/// If its files can't be read.
pub(super) fn linux(linux: &Linux) -> Result<Size> {
    let (kernel, initramfs) = (length(&linux.kernel)?, length(&linux.web)?);
    Ok(Size {
        bytes: kernel + initramfs,
        note: format!(
            "image, linux: vmlinuz has {kernel} bytes, an initramfs of busybox and nginx {initramfs}, compressed, the pages \
             in it"
        ),
    })
}

fn length(file: &Path) -> Result<u64> {
    let metadata = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(metadata.len())
}

/// Nanoseconds of a lookup among 1,000 files, by `cargo bench`.
///
/// # Errors
/// If it doesn't build or run.
pub(super) fn lookup() -> Result<Sample> {
    let said =
        sh::output(project::cargo().args(["bench", "--quiet", "--package", "xenlet-fs-static"]))?;
    parse(&said).map(Sample::only)
}

fn parse(said: &str) -> Result<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("found: "));
    let number = line.and_then(|line| line.split_once(" ns")?.0.parse().ok());
    number.with_context(|| format!("no time of a lookup in:\n{said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_lookup_is_found() {
        let said = "found: 34.5 ns (median 35.0), 1000 files\nnot found: 20.0 ns (median 21.0), 1000 files\n";
        assert_eq!(parse(said).unwrap(), 34.5);
        assert!(parse("not found: 20.0 ns").is_err());
    }
}
