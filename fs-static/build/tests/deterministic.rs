//! The same tree gives the same bytes.
#![cfg(unix)]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test: what fails here, fails")]

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};
use xenlet_fs_static_build::{Report, generate};

/// A site: paths without the first `/`, and contents.
type Files = BTreeMap<String, Vec<u8>>;

/// Writes `files` in the given order below `site`, with times that nobody else has.
fn write<'a>(site: &Path, files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>, age: Duration) {
    fs::create_dir_all(site).unwrap();
    for (path, content) in files {
        let path = site.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .set_modified(SystemTime::now() - age)
            .unwrap();
    }
}

/// The report, and the two files that are written.
fn embed(site: &Path, out: &Path) -> (Report, Vec<u8>, Vec<u8>) {
    fs::create_dir_all(out).unwrap();
    let report = generate(site, out).unwrap();
    (
        report,
        fs::read(out.join("site.rs")).unwrap(),
        fs::read(out.join("site.bin")).unwrap(),
    )
}

fn files() -> impl Strategy<Value = Files> {
    // Folders have upper-case names and files lower-case ones, so that none is both.
    let path = "([A-C]é?/){0,3}(index\\.html|404\\.html|[a-f]{1,2}(\\.(html|css|png|txt))?)";
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        "[a-d ]{0,20}".prop_map(|words| words.repeat(20).into_bytes()),
    ];
    prop::collection::btree_map(path, content, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wherever_whenever_and_in_whatever_order(files in files()) {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("here"), folder.path().join("somewhere/else/altogether"));
        write(&here, files.iter(), Duration::ZERO);
        write(&there, files.iter().rev(), Duration::from_secs(1_000_000));
        let first = embed(&here, &folder.path().join("out-1"));
        let second = embed(&there, &folder.path().join("out-2"));
        prop_assert_eq!(&first, &second);
        // And from the cache.
        prop_assert_eq!(&first, &embed(&here, &folder.path().join("out-1")));

        let (report, source, _) = first;
        prop_assert_eq!(report.files, files.len());
        prop_assert_eq!(report.content_bytes, files.values().map(|file| file.len() as u64).sum::<u64>());
        let source = String::from_utf8(source).unwrap();
        prop_assert!(!source.contains(folder.path().to_str().unwrap()), "a path of the host is in {}", source);
    }
}

#[test]
fn one_content_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = b"the same again ".repeat(100);
    let site = folder.path().join("one");
    write(
        &site,
        [("a.html".to_owned(), text.clone())]
            .iter()
            .map(|(path, text)| (path, text)),
        Duration::ZERO,
    );
    let (one, _, _) = embed(&site, &folder.path().join("out"));
    fs::write(site.join("b.txt"), &text).unwrap();
    fs::create_dir(site.join("folder")).unwrap();
    fs::write(site.join("folder/c"), &text).unwrap();
    let (three, _, _) = embed(&site, &folder.path().join("out"));
    assert_eq!((one.files, three.files), (1, 3));
    assert_eq!(three.content_bytes, 3 * text.len() as u64);
    assert_eq!(three.stored_bytes, one.stored_bytes);
}

#[test]
fn links_inside_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (linked, copied) = (folder.path().join("linked"), folder.path().join("copied"));
    for site in [&linked, &copied] {
        fs::create_dir_all(site.join("v1")).unwrap();
        fs::write(site.join("v1/index.html"), "version 1").unwrap();
    }
    symlink("v1", linked.join("current")).unwrap();
    symlink(linked.join("v1/index.html"), linked.join("index.html")).unwrap();
    fs::create_dir(copied.join("current")).unwrap();
    fs::copy(
        copied.join("v1/index.html"),
        copied.join("current/index.html"),
    )
    .unwrap();
    fs::copy(copied.join("v1/index.html"), copied.join("index.html")).unwrap();
    // The site itself may be a link too.
    symlink("linked", folder.path().join("site")).unwrap();
    let expected = embed(&copied, &folder.path().join("out-1"));
    assert_eq!(embed(&linked, &folder.path().join("out-2")), expected);
    assert_eq!(
        embed(&folder.path().join("site"), &folder.path().join("out-3")),
        expected
    );
}

#[test]
fn hidden_files_and_backups_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (clean, littered) = (folder.path().join("clean"), folder.path().join("littered"));
    for site in [&clean, &littered] {
        fs::create_dir_all(site.join(".well-known")).unwrap();
        fs::write(site.join(".well-known/security.txt"), "Contact: …").unwrap();
        fs::write(site.join("index.html"), "index").unwrap();
    }
    fs::create_dir_all(littered.join(".git/objects")).unwrap();
    fs::write(littered.join(".git/config"), "").unwrap();
    fs::write(littered.join(".well-known/.DS_Store"), "").unwrap();
    fs::write(littered.join("index.html~"), "").unwrap();
    symlink("/nowhere", littered.join(".#index.html")).unwrap();
    let (report, source, bytes) = embed(&littered, &folder.path().join("out-1"));
    let expected = embed(&clean, &folder.path().join("out-2"));
    assert_eq!((source, bytes), (expected.1, expected.2));
    assert!(expected.0.left_out.is_empty(), "{:?}", expected.0.left_out);
    let left_out = [
        ".#index.html",
        ".git",
        ".well-known/.DS_Store",
        "index.html~",
    ]
    .map(Path::new);
    assert_eq!(report.left_out, left_out);
}
