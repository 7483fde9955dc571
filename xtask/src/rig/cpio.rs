//! An initramfs archive: cpio's "newc" format, as `Documentation/driver-api/early-userspace/buffer-format.rst`
//! of Linux describes it. Written here because it is thirty lines and needs neither root nor another program.

use std::collections::BTreeMap;

/// What one name in the archive is.
#[derive(Debug)]
pub(crate) enum Entry {
    Folder,
    File {
        executable: bool,
        bytes: Vec<u8>,
    },
    Link(String),
    /// A character device.
    Device {
        major: u32,
        minor: u32,
    },
}

/// Names (relative, without a leading slash) and what they are. The order makes folders come before their content.
pub(crate) type Tree = BTreeMap<String, Entry>;

/// Adds an entry and the folders that lead to it.
pub(crate) fn insert(tree: &mut Tree, name: &str, entry: Entry) {
    for (slash, _) in name.match_indices('/') {
        tree.entry(name[..slash].to_owned())
            .or_insert(Entry::Folder);
    }
    tree.insert(name.to_owned(), entry);
}

/// A file to be read.
pub(crate) fn text(content: &str) -> Entry {
    Entry::File {
        executable: false,
        bytes: content.into(),
    }
}

/// A file to be run.
pub(crate) fn script(content: &str) -> Entry {
    Entry::File {
        executable: true,
        bytes: content.into(),
    }
}

/// The archive's bytes. All is owned by root and dated 1970, so that equal trees give equal bytes.
pub(crate) fn archive(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    for (inode, (name, entry)) in (1..).zip(tree) {
        let (mode, data, device): (u32, &[u8], (u32, u32)) = match entry {
            Entry::Folder => (0o040_755, &[], (0, 0)),
            Entry::File {
                executable: true,
                bytes,
            } => (0o100_755, bytes, (0, 0)),
            Entry::File {
                executable: false,
                bytes,
            } => (0o100_644, bytes, (0, 0)),
            Entry::Link(to) => (0o120_777, to.as_bytes(), (0, 0)),
            Entry::Device { major, minor } => (0o020_600, &[], (*major, *minor)),
        };
        member(&mut out, inode, mode, name, data, device);
    }
    member(&mut out, 0, 0, "TRAILER!!!", &[], (0, 0));
    out
}

fn member(out: &mut Vec<u8>, inode: u32, mode: u32, name: &str, data: &[u8], device: (u32, u32)) {
    let fields: [usize; 13] = [
        inode as usize,
        mode as usize,
        0, // owner
        0, // group
        1, // links
        0, // time
        data.len(),
        0,
        0, // the device the file was on
        device.0 as usize,
        device.1 as usize,
        name.len() + 1,
        0, // no checksum in this variant
    ];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(data);
    pad(out);
}

/// Names and data start at multiples of four bytes.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_small_file_byte_for_byte() {
        let mut tree = Tree::new();
        insert(
            &mut tree,
            "hi",
            Entry::File {
                executable: false,
                bytes: b"x\n".to_vec(),
            },
        );
        let bytes = archive(&tree);
        let head = "07070100000001000081a400000000000000000000000100000000000000020000000000000000000000000000000000000003\
                    00000000";
        assert_eq!(&bytes[..110], head.as_bytes());
        assert_eq!(&bytes[110..120], b"hi\0\0\0\0x\n\0\0".get(..10).unwrap());
        assert!(bytes.windows(10).any(|w| w == b"TRAILER!!!") && bytes.len().is_multiple_of(4));
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut tree = Tree::new();
        insert(&mut tree, "usr/bin/sh", Entry::Link("busybox".into()));
        let names: Vec<&str> = tree.keys().map(String::as_str).collect();
        assert_eq!(names, ["usr", "usr/bin", "usr/bin/sh"]);
    }
}
