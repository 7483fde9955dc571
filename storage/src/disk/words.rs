//! `disk=FILE[,ro]`, `disk1=FILE`, … on the command line, where the guest is a process.

use super::OpenError;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Disks that can be named this way: `xvda` to `xvdp`.
const MAX_DISKS: usize = 16;

/// A file that is a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileWord {
    /// 0 for `disk=`, 1 for `disk1=`.
    pub(super) index: usize,
    pub(super) path: String,
    pub(super) read_only: bool,
}

impl FileWord {
    /// What the disk is called.
    #[cfg(any(xenlet = "unix", test))]
    pub(super) fn name(&self) -> String {
        let letter = u8::try_from(self.index).map_or('?', |index| char::from(b'a' + index));
        format!("xvd{letter}")
    }

    /// What to say when the host can't open the file.
    pub(super) fn failed(&self, e: &std::io::Error) -> OpenError {
        let Self { path, .. } = self;
        let hint = match e.kind() {
            std::io::ErrorKind::NotFound => "; the file must be there",
            _ => "",
        };
        OpenError::Word(format!("the disk {path:?}: {e}{hint}"))
    }
}

/// The disks of `line`, in order; of two for the same, the last counts.
///
/// # Errors
/// [`OpenError::Word`] for one that names no file or no disk.
pub(super) fn files(line: &str) -> Result<Vec<FileWord>, OpenError> {
    let mut found: Vec<FileWord> = Vec::new();
    for word in line.split_ascii_whitespace() {
        let Some((number, value)) = word
            .strip_prefix("disk")
            .and_then(|rest| rest.split_once('='))
        else {
            continue;
        };
        let index = match number {
            "" => Some(0),
            number if number.bytes().all(|b| b.is_ascii_digit()) => number.parse().ok(),
            // Somebody else's word, such as diskless=.
            _ => continue,
        };
        let (path, read_only) = match value.strip_suffix(",ro") {
            Some(path) => (path, true),
            None => (value, false),
        };
        let Some(index) = index.filter(|index| *index < MAX_DISKS && !path.is_empty()) else {
            return Err(OpenError::Word(format!(
                "{word}: not a disk; write it as disk=FILE, disk1=FILE,ro, up to disk{}=",
                MAX_DISKS - 1
            )));
        };
        found.retain(|file| file.index != index);
        found.push(FileWord {
            index,
            path: path.into(),
            read_only,
        });
    }
    found.sort_by_key(|file| file.index);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_host() {
        let found = files("x disk1=b,ro disk=old diskless=1 disk=a,b disk15=c").unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|file| (file.name(), file.path.as_str(), file.read_only))
            .collect();
        assert_eq!(
            found,
            [
                ("xvda".into(), "a,b", false),
                ("xvdb".into(), "b", true),
                ("xvdp".into(), "c", false)
            ]
        );
        for bad in [
            "disk=",
            "disk=,ro",
            "disk16=x",
            "disk99999999999999999999=x",
        ] {
            assert!(files(bad).is_err(), "{bad}");
        }
    }
}
