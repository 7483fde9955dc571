//! What is measured.

use serde::{Deserialize, Serialize};

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name on the command line and in files.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) title: &'static str,
    /// What its main figure is.
    pub(super) quantity: Quantity,
    /// What processor time is told for each of.
    pub(super) unit: &'static str,
    pub(super) what: What,
}

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Quantity {
    /// Units a second.
    Rate,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    /// Microseconds each second.
    Millionths,
    Mebibytes,
    Bytes,
    /// How many times something else.
    Times,
}

impl Quantity {
    /// As it stands behind a number.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Rate => "/s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::Nanoseconds => "ns",
            Self::Millionths => "µs/s",
            Self::Mebibytes => "MiB",
            Self::Bytes => "bytes",
            Self::Times => "×",
        }
    }

    /// Less than this is next to nothing: whether one is twice another means nothing.
    pub(super) fn negligible(self) -> f64 {
        match self {
            // One timer more or less in ten seconds.
            Self::Millionths => 10.0,
            _ => 0.0,
        }
    }

    /// How many times as good one figure is as another: much of a rate is good, little of all else.
    pub(super) fn better(self, this: f64, other: f64) -> f64 {
        match self {
            Self::Rate => this / other,
            _ => other / this,
        }
    }
}

/// How a row is measured.
#[derive(Debug)]
pub(super) enum What {
    /// By a load on both guests.
    Load(Load),
    /// By guests of their own, from their start to their first page, with so much memory, MiB.
    Boot(u32),
    /// `xl unpause` by itself.
    Unpause,
    /// By a load while so many other connections are open, and without them.
    Open(u32),
    /// The least memory with which a guest of its own serves.
    Memory,
    /// The bytes of what is booted.
    Image,
    /// By `cargo bench`.
    Lookup,
}

impl What {
    /// Whether it is the same each time.
    pub(super) fn is_constant(&self) -> bool {
        matches!(self, Self::Memory | Self::Image)
    }

    /// Whether a Xen is needed for it.
    pub(super) fn needs_xen(&self) -> bool {
        !matches!(self, Self::Image | Self::Lookup)
    }

    /// Whether the two guests are that stay for the whole measurement.
    pub(super) fn needs_pair(&self) -> bool {
        matches!(self, Self::Load(_) | Self::Unpause | Self::Open(_))
    }

    /// Whether the clients are that shake hands.
    pub(super) fn needs_handshakes(&self) -> bool {
        matches!(self, Self::Load(Load::Handshakes { .. }))
    }

    /// Whether the guest that speaks TLS is, which takes the place of the other one of ours.
    pub(super) fn needs_tls(&self) -> bool {
        matches!(
            self,
            Self::Load(Load::Handshakes { .. } | Load::Pages { tls: true, .. })
        )
    }

    /// Whether an image of httpd is.
    pub(super) fn needs_httpd(&self) -> bool {
        matches!(
            self,
            Self::Boot(_) | Self::Open(_) | Self::Memory | Self::Image
        )
    }

    /// Whether Linux is.
    pub(super) fn needs_linux(&self) -> bool {
        !matches!(self, Self::Lookup)
    }
}

/// A load, put on a guest for as long as a measurement takes.
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
        /// By HTTPS.
        tls: bool,
    },
    /// Handshakes by HTTPS, so many at a time, and a page on each.
    Handshakes {
        clients: u32,
        /// Each but the first of a client resumes the session of the one before.
        resume: bool,
    },
    /// Uploads of so many MiB to the discard service, one after the other.
    Upload { mib: u32 },
    /// Echo requests, one each so many milliseconds.
    Ping { interval_ms: u32 },
    /// Nothing at all.
    Idle,
}

/// The page that is asked for.
pub(super) const PAGE: &str = "/4k.html";

/// Of which `idle-10000` counts the cost.
pub(super) const PAGE_16: Load = pages(PAGE, 16, false);

const ROWS: &[Row] = &[
    row(
        "boot-4",
        "unpause to first HTTP 200, memory=4",
        Quantity::Milliseconds,
        "start",
        What::Boot(4),
    ),
    row(
        "boot-32",
        "unpause to first HTTP 200, memory=32",
        Quantity::Milliseconds,
        "start",
        What::Boot(32),
    ),
    row(
        "boot-64",
        "unpause to first HTTP 200, memory=64",
        Quantity::Milliseconds,
        "start",
        What::Boot(64),
    ),
    row(
        "boot-256",
        "unpause to first HTTP 200, memory=256",
        Quantity::Milliseconds,
        "start",
        What::Boot(256),
    ),
    row(
        "boot-unpause",
        "xl unpause by itself, which would come on top",
        Quantity::Milliseconds,
        "call",
        What::Unpause,
    ),
    row(
        "memory",
        "smallest memory= that serves",
        Quantity::Mebibytes,
        "",
        What::Memory,
    ),
    row(
        "image",
        "image of a static web server, content aside",
        Quantity::Bytes,
        "",
        What::Image,
    ),
    row(
        "idle",
        "processor time of an idle guest",
        Quantity::Millionths,
        "second",
        What::Load(Load::Idle),
    ),
    row(
        "page-16",
        "4 KiB page, kept alive, 16 connections",
        Quantity::Rate,
        "request",
        What::Load(PAGE_16),
    ),
    row(
        "page-64",
        "4 KiB page, kept alive, 64 connections",
        Quantity::Rate,
        "request",
        What::Load(pages(PAGE, 64, false)),
    ),
    row(
        "page-close",
        "4 KiB page, Connection: close, 16 at a time",
        Quantity::Rate,
        "request",
        What::Load(pages(PAGE, 16, true)),
    ),
    row(
        "download",
        "1 MiB downloads, kept alive",
        Quantity::Rate,
        "MiB",
        What::Load(pages("/1m.bin", 4, false)),
    ),
    row(
        "upload",
        "32 MiB uploads to port 9",
        Quantity::Rate,
        "MiB",
        What::Load(Load::Upload { mib: 32 }),
    ),
    row(
        "tls-full",
        "full handshakes with a 4 KiB page, 16 at a time",
        Quantity::Rate,
        "handshake",
        What::Load(handshakes(false)),
    ),
    row(
        "tls-resumed",
        "resumed handshakes with a 4 KiB page, 16 at a time",
        Quantity::Rate,
        "handshake",
        What::Load(handshakes(true)),
    ),
    row(
        "tls-page",
        "4 KiB page by HTTPS, kept alive, 16 connections",
        Quantity::Rate,
        "request",
        What::Load(tls_pages(PAGE, 16)),
    ),
    row(
        "tls-download",
        "1 MiB downloads by HTTPS, kept alive",
        Quantity::Rate,
        "MiB",
        What::Load(tls_pages("/1m.bin", 4)),
    ),
    row(
        "idle-10000",
        "page-16 with 10,000 idle connections open, times its cost without",
        Quantity::Times,
        "request",
        What::Open(10_000),
    ),
    row(
        "disk-randread-1",
        "4 KiB random reads, depth 1",
        Quantity::Rate,
        "read",
        What::Load(disk("randread", 4096, 1)),
    ),
    row(
        "disk-randread-32",
        "4 KiB random reads, depth 32",
        Quantity::Rate,
        "read",
        What::Load(disk("randread", 4096, 32)),
    ),
    row(
        "disk-read",
        "1 MiB sequential reads, depth 4",
        Quantity::Rate,
        "MiB",
        What::Load(disk("read", 1 << 20, 4)),
    ),
    row(
        "disk-write",
        "1 MiB sequential writes, depth 4",
        Quantity::Rate,
        "MiB",
        What::Load(disk("write", 1 << 20, 4)),
    ),
    row(
        "ping",
        "ping round trip",
        Quantity::Microseconds,
        "echo",
        What::Load(Load::Ping { interval_ms: 2 }),
    ),
    row(
        "lookup",
        "static lookup among 1,000 files, natively, by the clock",
        Quantity::Nanoseconds,
        "",
        What::Lookup,
    ),
];

const fn row(
    name: &'static str,
    title: &'static str,
    quantity: Quantity,
    unit: &'static str,
    what: What,
) -> Row {
    Row {
        name,
        title,
        quantity,
        unit,
        what,
    }
}

const fn disk(op: &'static str, bytes: u32, depth: u32) -> Load {
    Load::Disk { op, bytes, depth }
}

const fn pages(path: &'static str, connections: u32, close: bool) -> Load {
    Load::Pages {
        path,
        connections,
        close,
        tls: false,
    }
}

const fn tls_pages(path: &'static str, connections: u32) -> Load {
    Load::Pages {
        path,
        connections,
        close: false,
        tls: true,
    }
}

const fn handshakes(resume: bool) -> Load {
    Load::Handshakes {
        clients: 16,
        resume,
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

    #[test]
    fn no_name_is_used_twice() {
        let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }

    #[test]
    fn much_of_a_rate_is_good_and_little_of_all_else() {
        assert_eq!(Quantity::Rate.better(30.0, 10.0), 3.0);
        assert_eq!(Quantity::Bytes.better(10.0, 30.0), 3.0);
    }
}
