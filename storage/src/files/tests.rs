//! Images that e2fsprogs made, read here; and what is left of them when they are damaged.

mod damage;
mod image;
mod refused;

use super::{Entry, Error, Files};
use image::{Image, Tree, block_on, noise};
use std::collections::BTreeMap;

/// File systems of all kinds that are read here.
const KINDS: &[&[&str]] = &[
    &["-t", "ext4"],
    &["-t", "ext4", "-b", "1024"],
    &["-t", "ext4", "-b", "2048", "-O", "^has_journal"],
    &["-t", "ext4", "-O", "^metadata_csum,^64bit"],
    &["-t", "ext4", "-O", "^extent,^64bit", "-I", "128"],
    &["-t", "ext4", "-O", "large_dir,ea_inode,mmp,quota,bigalloc"],
    &["-t", "ext4", "-O", "metadata_csum_seed"],
    &["-t", "ext3", "-b", "1024"],
    &["-t", "ext2", "-b", "1024", "-I", "128"],
    &["-t", "ext2", "-b", "4096"],
    &["-t", "ext2", "-r", "0"],
];

/// A folder of files as sites have them, and some that are hard to store.
fn tree() -> Tree {
    let mut tree = Tree::new();
    for (index, len) in [0, 1, 511, 1024, 4095, 4096, 4097, 70_000, 400_000]
        .into_iter()
        .enumerate()
    {
        tree.file(&format!("sizes/{len}"), &noise(index, len));
    }
    tree.file("a/b/c/d/e/f/deep.html", b"deep");
    tree.file("caf\u{e9} 100%.html", b"name");
    tree.file(&"n".repeat(255), b"longest");
    // More extents than an inode has room for, and than a node of 1 KiB.
    let mut pieces = Vec::new();
    for piece in 0..400usize {
        pieces.push((piece * 20_000, noise(piece, 1000)));
    }
    tree.sparse("sparse/many", 400 * 20_000 + 77, pieces);
    // So far out that block numbers lie three levels deep, where blocks have 1 KiB.
    tree.sparse("sparse/far", 80 << 20, vec![(79 << 20, noise(9, 3000))]);
    tree.sparse("sparse/nothing", 100_000, vec![]);
    tree
}

/// Every byte of every file, through caches of several sizes.
#[test]
fn every_kind_of_file_system_byte_for_byte() {
    let tree = tree();
    for kind in KINDS {
        let image = Image::of(&tree, kind);
        for cache in [0, 200_000] {
            let disk = image.disk();
            let files = block_on(Files::mount(disk, cache)).unwrap();
            for (path, content) in tree.files() {
                let Ok(Entry::File(file)) = block_on(files.open(path)) else {
                    panic!("{kind:?}: no {path}");
                };
                assert_eq!(file.len(), content.len() as u64, "{kind:?}: {path}");
                let mut read = vec![1; content.len() + 1];
                let count = block_on(file.read_at(0, &mut read)).unwrap();
                assert!(read[..count] == *content, "{kind:?}: {path}");
                // Pieces, and what is beyond the end.
                for from in [1, 1023, 4097, 69_999, 100_000, content.len()] {
                    let mut piece = [7; 3000];
                    let count = block_on(file.read_at(from as u64, &mut piece)).unwrap();
                    let expected = content.get(from..).unwrap_or_default();
                    let expected = &expected[..expected.len().min(3000)];
                    assert!(piece[..count] == *expected, "{kind:?}: {path} from {from}");
                }
            }
            for folder in ["/", "/a", "/a/b/c/", "/lost+found"] {
                assert!(matches!(block_on(files.open(folder)), Ok(Entry::Folder)));
            }
            for missing in ["/A", "/a/b/x", "/sizes/1/", "/sizes/1/x", "/nn", ""] {
                let found = block_on(files.open(missing));
                let is_root = missing.is_empty();
                assert_eq!(matches!(found, Ok(Entry::Folder)), is_root, "{missing}");
                assert!(is_root || matches!(found, Err(Error::NotFound)));
            }
            let (used, limit) = files.cache_usage();
            assert!(used <= limit && limit <= cache.max(32 * 1024));
        }
    }
}

#[test]
fn a_file_that_lies_together_is_read_in_few_requests() {
    let mut tree = Tree::new();
    tree.file("large", &noise(1, 1 << 20));
    let image = Image::of(&tree, &["-t", "ext4"]);
    let disk = image.disk();
    let files = block_on(Files::mount(&disk, 1 << 20)).unwrap();
    let Ok(Entry::File(file)) = block_on(files.open("/large")) else {
        panic!();
    };
    let before = disk.requests();
    let mut bytes = vec![0; 1 << 20];
    block_on(file.read_at(0, &mut bytes)).unwrap();
    assert!(
        disk.requests() - before <= 12,
        "{}",
        disk.requests() - before
    );
    // And what is asked for alone is read alone.
    let (before, bytes) = (disk.requests(), disk.bytes_read());
    let files = block_on(Files::mount(&disk, 1 << 20)).unwrap();
    let Ok(Entry::File(file)) = block_on(files.open("/large")) else {
        panic!();
    };
    block_on(file.read_at(500_000, &mut [0; 10])).unwrap();
    assert!(disk.requests() - before <= 8);
    assert!(disk.bytes_read() - bytes <= 8 * 4096);
}

#[test]
fn links_are_followed_inside() {
    let mut tree = Tree::new();
    tree.file("a/b/real.html", b"real");
    tree.file("top.html", b"top");
    let long = format!("{}a/b/real.html", "a/../".repeat(30));
    for (link, target) in [
        ("here", "a/b/real.html"),
        ("folder", "a/b"),
        ("a/up", "../top.html"),
        ("a/b/absolute", "/a/up"),
        ("above", "../../../../top.html"),
        ("long", &long),
        ("through", "folder/../up"),
        ("loop", "loop"),
        ("two", "three"),
        ("three", "two"),
        ("dead", "nowhere"),
        ("device", "/dev/null"),
        ("slash", "top.html/"),
        ("long-dead", &"x/".repeat(400)),
    ] {
        tree.link(link, target);
    }
    for kind in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"]] {
        let image = Image::of(&tree, kind);
        let files = block_on(Files::mount(image.disk(), 0)).unwrap();
        let content = |path: &str| {
            let Entry::File(file) = block_on(files.open(path))? else {
                panic!("{path} is a folder");
            };
            let mut bytes = vec![0; 100];
            let count = block_on(file.read_at(0, &mut bytes))?;
            Ok(String::from_utf8(bytes[..count].to_vec()).unwrap())
        };
        for (path, expected) in [
            ("/here", Ok("real")),
            ("/folder/real.html", Ok("real")),
            ("/a/up", Ok("top")),
            ("/a/b/absolute", Ok("top")),
            ("/above", Ok("top")),
            ("/long", Ok("real")),
            // Back from where the link leads, not from where it lies.
            ("/through", Ok("top")),
            ("/folder/../up", Ok("top")),
            ("//a/./b/../b//real.html", Ok("real")),
            ("/../top.html", Ok("top")),
            ("/loop", Err(Error::Links)),
            ("/two", Err(Error::Links)),
            ("/dead", Err(Error::NotFound)),
            ("/device", Err(Error::NotFound)),
            ("/slash", Err(Error::NotFound)),
            ("/long-dead", Err(Error::NotFound)),
        ] {
            let found: Result<String, Error> = content(path);
            assert_eq!(found.as_deref(), expected.as_deref(), "{path}");
        }
        assert!(matches!(
            block_on(files.open("/folder/")),
            Ok(Entry::Folder)
        ));
    }
}

#[test]
fn large_folders_with_and_without_a_hash_tree() {
    let mut tree = Tree::new();
    for file in 0..4000 {
        tree.file(
            &format!("large/{file:04}-with-a-name-of-some-length.html"),
            format!("{file}").as_bytes(),
        );
    }
    for kind in [&["-t", "ext4"][..], &["-t", "ext4", "-b", "1024"]] {
        for indexed in [false, true] {
            let mut image = Image::of(&tree, kind);
            if indexed {
                image.index_folders();
            }
            let files = block_on(Files::mount(image.disk(), 1 << 20)).unwrap();
            for (path, content) in tree.files().iter().step_by(37) {
                let Ok(Entry::File(file)) = block_on(files.open(path)) else {
                    panic!("no {path}");
                };
                let mut bytes = [0; 10];
                let count = block_on(file.read_at(0, &mut bytes)).unwrap();
                assert_eq!(&bytes[..count], content.as_slice());
            }
            let missing = block_on(files.open("/large/nothing"));
            assert!(matches!(missing, Err(Error::NotFound)));
        }
    }
}

/// No two files, and no two states of one, have the same version.
#[test]
fn versions_tell_states_apart() {
    let mut tree = Tree::new();
    tree.file("a", b"1");
    tree.file("b", b"1");
    let mut versions = BTreeMap::new();
    let mut see = |image: &Image, name: &str| {
        let files = block_on(Files::mount(image.disk(), 0)).unwrap();
        let Ok(Entry::File(file)) = block_on(files.open(name)) else {
            panic!();
        };
        let version = format!("{}", file.version());
        assert!(
            version
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        );
        *versions
            .entry(version)
            .and_modify(|times| *times += 1)
            .or_insert(1)
    };
    let image = Image::of(&tree, &["-t", "ext4"]);
    assert_eq!((see(&image, "/a"), see(&image, "/b")), (1, 1));
    assert_eq!(see(&image, "/a"), 2, "the same as before");
    let mut touched = image.clone();
    touched.debugfs("sif /a mtime 20010101000000");
    assert_eq!(see(&touched, "/a"), 1);
    let mut changed = image.clone();
    changed.debugfs("sif /a ctime 20010101000000");
    assert_eq!(see(&changed, "/a"), 1);
    // Another file system of the same files.
    assert_eq!(see(&Image::of(&tree, &["-t", "ext4"]), "/a"), 1);
}

#[test]
fn times_are_read() {
    let mut tree = Tree::new();
    tree.file("a", b"1");
    for (set, seconds) in [
        ("@0", 0),
        ("@1000000000", 1_000_000_000),
        ("@3000000000", 3_000_000_000),
    ] {
        let mut image = Image::of(&tree, &["-t", "ext4"]);
        image.debugfs(&format!("sif /a mtime {set}"));
        let files = block_on(Files::mount(image.disk(), 0)).unwrap();
        let Ok(Entry::File(file)) = block_on(files.open("/a")) else {
            panic!();
        };
        assert_eq!(file.modified().as_secs(), seconds, "{set}");
    }
}
