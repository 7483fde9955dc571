//! What is not read here is said.

use super::image::{Disk, Image, Tree, block_on};
use crate::files::{Error, Files};

fn mount(image: Vec<u8>) -> Result<(), Error> {
    block_on(Files::mount(Disk::new(image), 0)).map(drop)
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    tree.file("a", b"a");
    tree
}

#[test]
fn features_that_are_not_known_here_with_what_to_do() {
    let tree = tree();
    for (options, word) in [
        (&["-O", "inline_data"][..], "^inline_data"),
        (&["-O", "meta_bg,^resize_inode"], "^meta_bg"),
        (&["-O", "casefold"], "dumpe2fs"),
        (&["-b", "8192"], "-b 4096"),
        (&["-b", "65536"], "-b 4096"),
    ] {
        let image = Image::sized(&tree, options, "64M");
        let error = mount(image.0).unwrap_err().to_string();
        assert!(error.contains(word), "{options:?}: {error}");
    }
    let mut image = Image::of(&tree, &["-t", "ext4"]);
    image.debugfs("feature needs_recovery");
    let error = mount(image.0).unwrap_err().to_string();
    assert!(error.contains("e2fsck"), "{error}");
}

#[test]
fn disks_that_hold_something_else() {
    for disk in [vec![], vec![0; 512], vec![0; 1 << 20], vec![0xff; 1 << 20]] {
        assert_eq!(mount(disk), Err(Error::NotAFileSystem));
    }
}

#[test]
fn an_image_that_was_cut_off() {
    let mut image = Image::of(&tree(), &["-t", "ext4"]).0;
    let needed = image.len() as u64;
    image.truncate(image.len() - 512);
    let disk = image.len() as u64;
    assert_eq!(mount(image), Err(Error::Truncated { needed, disk }));
}

/// A disk need not be as long as its file system, nor a multiple of a page.
#[test]
fn a_disk_that_is_longer() {
    let mut image = Image::sized(&tree(), &["-t", "ext4", "-b", "1024"], "1501").0;
    assert_eq!(image.len() % 4096, 1024);
    mount(image.clone()).unwrap();
    image.resize(image.len() + 512, 0xff);
    mount(image).unwrap();
}
