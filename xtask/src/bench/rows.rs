//! What is measured.

/// A row of the table: a load that is put on both guests.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name on the command line and in files.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) title: &'static str,
    /// What is counted.
    pub(super) unit: &'static str,
    pub(super) load: Load,
}

/// A load, put on a guest for [`LOAD_SECS`](super::sample::LOAD_SECS).
#[derive(Debug)]
pub(super) enum Load {
    /// Requests to the first disk, so many in flight, of so many bytes.
    Disk {
        op: &'static str,
        bytes: u32,
        depth: u32,
    },
    /// Requests for a path of the site, over so many connections.
    Pages {
        path: &'static str,
        connections: u32,
        close: bool,
    },
}

const ROWS: &[Row] = &[
    disk(
        "disk-randread-1",
        "4 KiB random reads, depth 1",
        "read",
        "randread",
        4096,
        1,
    ),
    disk(
        "disk-randread-32",
        "4 KiB random reads, depth 32",
        "read",
        "randread",
        4096,
        32,
    ),
    disk(
        "disk-read",
        "1 MiB sequential reads, depth 4",
        "MiB",
        "read",
        1 << 20,
        4,
    ),
    disk(
        "disk-write",
        "1 MiB sequential writes, depth 4",
        "MiB",
        "write",
        1 << 20,
        4,
    ),
    pages(
        "page-16",
        "4 KiB page, kept alive, 16 connections",
        "request",
        "/4k.html",
        16,
        false,
    ),
    pages(
        "page-64",
        "4 KiB page, kept alive, 64 connections",
        "request",
        "/4k.html",
        64,
        false,
    ),
    pages(
        "page-close",
        "4 KiB page, Connection: close, 16 at a time",
        "request",
        "/4k.html",
        16,
        true,
    ),
    pages(
        "download",
        "1 MiB downloads, kept alive",
        "MiB",
        "/1m.bin",
        4,
        false,
    ),
];

const fn disk(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    op: &'static str,
    bytes: u32,
    depth: u32,
) -> Row {
    let load = Load::Disk { op, bytes, depth };
    Row {
        name,
        title,
        unit,
        load,
    }
}

const fn pages(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    path: &'static str,
    connections: u32,
    close: bool,
) -> Row {
    let load = Load::Pages {
        path,
        connections,
        close,
    };
    Row {
        name,
        title,
        unit,
        load,
    }
}

/// The rows whose names contain one of `words`; all if there are none.
pub(crate) fn rows(words: &[String]) -> impl Iterator<Item = &'static Row> {
    let wanted =
        |row: &&Row| words.is_empty() || words.iter().any(|word| row.name.contains(word.as_str()));
    ROWS.iter().filter(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_parts_of_their_names() {
        let names = |word: &str| {
            rows(&[word.to_owned()])
                .map(|row| row.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("randread"), ["disk-randread-1", "disk-randread-32"]);
        assert_eq!(names("nothing"), [""; 0]);
        assert_eq!(rows(&[]).count(), ROWS.len());
    }
}
