//! The store on a file, for commands: opened by the code that guests run, in a hosted domain of its own.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use xenlet_kernel::hosted;
use xenlet_storage::FileDisk;
use xenlet_storage::store::{Error, Found, Options};

use crate::xen::Disk;

/// How commands open a store: they have more memory than guests, and only `format` writes.
pub(super) const OPTIONS: Options = Options {
    cache_bytes: 64 << 20,
    request_bytes: 1 << 20,
    requests: 4,
    read_only: true,
};

/// Does `work` with the disk in the file `path`. What the store logged in the meantime is shown.
///
/// # Errors
/// If the file is not there, can't be opened, or `work` fails; the error names the file.
pub(super) fn on_disk<T: Send + 'static>(
    path: &Path,
    read_only: bool,
    work: impl AsyncFnOnce(FileDisk) -> Result<T, Error> + Send + 'static,
) -> Result<T> {
    let file = path.display();
    Disk::of(path).check()?;
    let disk = FileDisk::open(path, read_only).with_context(|| format!("cannot open {file}"))?;
    let config = hosted::Config {
        // By the host's clock comes the host's randomness, of which a store's identity is made.
        real_time: true,
        ..hosted::Config::default()
    };
    let ended = hosted::run(config, async move || work(disk).await);
    for line in ended.console.lines() {
        if [" WARN ", " ERROR "]
            .iter()
            .any(|level| line.contains(level))
        {
            eprintln!("{file}: {}", line.trim());
        }
    }
    match ended.value {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(explained(path, error)),
        None => bail!("{file}: the store's code ended early ({:?})", ended.reason),
    }
}

/// The store's error, with what to type where this program knows better than a guest.
fn explained(path: &Path, error: Error) -> anyhow::Error {
    let file = path.display();
    match error {
        Error::NotAStore(Found::Blank) => {
            anyhow!("{file} is blank: `cargo xtask disk format {file}` makes a store on it")
        }
        Error::NotAStore(Found::Other(what)) if what.contains("ext4") => anyhow!(
            "{file} holds {what}, not a store: `e2fsck -fn {file}` checks such a disk, `debugfs -R ls {file}` lists it"
        ),
        Error::NotAStore(found) => {
            anyhow!("{file} holds {found}, not a store: is it the right file?")
        }
        error => anyhow!("{file}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file_and_the_fix() {
        let explain = |error| explained(Path::new("a.img"), error).to_string();
        let blank = explain(Error::NotAStore(Found::Blank));
        assert!(blank.contains("disk format a.img"), "{blank}");
        let ext4 = explain(Error::NotAStore(Found::Other("an ext4 filesystem")));
        assert!(ext4.contains("e2fsck -fn a.img"), "{ext4}");
        assert!(explain(Error::Full).starts_with("a.img: "));
    }
}
