//! The index of an image: lines in a file of it, found by halving.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;
use xenlet_fs_static::Encoded;
use xenlet_fs_static::index::{INDEX, LONGEST_LINE, Summary, compare};
use xenlet_storage::files::{Entry, Error, File, Files};
use xenlet_storage::{BlockDevice, IoError};

/// An index, of which nothing is held but where it begins.
pub(super) struct Index<D> {
    file: File<D>,
    summary: Summary,
    /// Where the lines of files begin.
    begin: u64,
}

/// Bytes to either side of a place that hold the whole line that it lies in.
const AROUND: u64 = LONGEST_LINE as u64;

impl<D: BlockDevice> Index<D> {
    /// The index of an image, if there is one that can be used.
    pub(super) async fn open(files: &Files<D>) -> Result<Option<Self>, Error> {
        let file = match files.open(INDEX).await {
            Ok(Entry::File(file)) => file,
            Ok(Entry::Folder) | Err(Error::NotFound | Error::Links) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut first = [0; 128];
        let count = file.read_at(0, &mut first).await?;
        let line = first.get(..count).unwrap_or_default();
        let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let summary = str::from_utf8(line).ok().and_then(Summary::parse);
        let Some(summary) = summary else {
            log::warn!(target: "httpd", "{INDEX} on the disk is of no use here: make the image anew with this version's `cargo xtask disk from-folder`");
            return Ok(None);
        };
        Ok(Some(Self {
            file,
            summary,
            begin: line.len() as u64 + 1,
        }))
    }

    pub(super) fn summary(&self) -> Summary {
        self.summary
    }

    /// Whether `file` is as it was when the index was made.
    pub(super) fn is_of(&self, file: &File<D>, bytes: u64) -> bool {
        let modified = file.modified();
        let is_untouched =
            modified.as_secs() == self.summary.modified && modified.subsec_nanos() == 0;
        is_untouched && file.len() == bytes
    }

    /// What is said of the file at `path`: its line without the path.
    pub(super) async fn find(&self, path: &str) -> Result<Option<String>, Error> {
        let path = Encoded(path).to_string();
        if path.len() > LONGEST_LINE {
            return Ok(None);
        }
        let mut buffer = Vec::new();
        buffer
            .try_reserve_exact(2 * LONGEST_LINE)
            .map_err(|_| Error::Io(IoError::OutOfMemory))?;
        // Where lines begin between which the one is, if there is one.
        let (mut from, mut to) = (self.begin, self.file.len());
        while from < to {
            let middle = from + (to - from) / 2;
            let window =
                middle.saturating_sub(AROUND).max(from)..middle.saturating_add(AROUND).min(to);
            buffer.resize(usize::try_from(window.end - window.start).unwrap_or(0), 0);
            self.file.read_at(window.start, &mut buffer).await?;
            let (before, after) = buffer
                .split_at_checked(usize::try_from(middle - window.start).unwrap_or(0))
                .unwrap_or_default();
            let begin = before.iter().rposition(|&byte| byte == b'\n');
            let end = after.iter().position(|&byte| byte == b'\n');
            // What has no line ends where they should be is no index.
            let begin = match begin {
                Some(line_end) => line_end + 1,
                None if window.start == from => 0,
                None => return Ok(None),
            };
            let Some(end) = end.map(|end| before.len() + end) else {
                return Ok(None);
            };
            let (order, rest) = compare(buffer.get(begin..end).unwrap_or_default(), &path);
            match order {
                Ordering::Less => from = window.start + end as u64 + 1,
                Ordering::Greater => to = window.start + begin as u64,
                Ordering::Equal => return Ok(str::from_utf8(rest).ok().map(String::from)),
            }
        }
        Ok(None)
    }
}
