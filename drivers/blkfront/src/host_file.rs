//! A file (or block device) of the host that is a disk: opened by one who writes it, or by any number who read it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a lock may outlive who had it: a program that another thread has just started holds it until it is loaded.
const FORKED: Duration = Duration::from_millis(300);

/// Opens the file `path`, to be read and, unless `read_only`, written. Two who write one store would each lose what the
/// other acknowledged, so a lock of the host's (`flock`) is on it as long as it is open.
///
/// # Errors
/// As the host gives them; [`ErrorKind::ResourceBusy`] if another program has it.
pub fn open(path: &Path, read_only: bool) -> Result<File> {
    let file = OpenOptions::new().read(true).write(!read_only).open(path)?;
    let deadline = Instant::now() + FORKED;
    let locked = loop {
        let locked = match read_only {
            true => file.try_lock_shared(),
            false => file.try_lock(),
        };
        match locked {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                sleep(Duration::from_millis(10));
            }
            done => break done,
        }
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::ResourceBusy,
            "another program has it for its disk: end that first, or use another file",
        )),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writes_or_many_read() {
        let path = std::env::temp_dir().join(format!("host-file-{}", std::process::id()));
        std::fs::write(&path, [0; 512]).unwrap();
        let busy =
            |read_only| open(&path, read_only).unwrap_err().kind() == ErrorKind::ResourceBusy;
        let writer = open(&path, false).unwrap();
        assert!(busy(false) && busy(true));
        drop(writer);
        let readers = [open(&path, true).unwrap(), open(&path, true).unwrap()];
        assert!(busy(false));
        drop(readers);
        assert!(open(&path, false).is_ok());
        std::fs::remove_file(&path).unwrap();
    }
}
