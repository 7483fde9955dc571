//! The disk commands on files.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xenlet_storage::store::{BLOCK, Options, Store};

use super::{check, create, domain, format, ls};

/// A file that is gone when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    /// A blank disk.
    fn disk(name: &str, bytes: u64) -> Self {
        let path = std::env::temp_dir().join(format!("xtask-{name}-{}.img", std::process::id()));
        let _ = fs::remove_file(&path);
        create::create(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

const MIB: u64 = 1 << 20;

fn formatted(path: &Path, force: bool) -> Result<(), String> {
    format::format(path, force)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Puts a value without a blob, and a blob of 1 MiB.
fn fill(path: &Path) {
    domain::on_disk(path, false, async |disk| {
        let store = Store::open(disk, Options::default()).await?;
        let mut writer = store.blob_writer(None)?;
        for number in 0..=255 {
            writer.write(&[number; BLOCK]).await?;
        }
        let blob = writer.finish().await?;
        let mut transaction = store.transaction();
        transaction.put(b"small", b"value")?;
        transaction.put_blob(b"large", b"", blob)?;
        transaction.commit().await
    })
    .unwrap();
}

#[test]
fn a_blank_disk_is_formatted_and_found_sound() {
    let disk = Scratch::disk("blank", MIB);
    let error = check::sound(&disk.0).unwrap_err().to_string();
    assert!(error.contains("disk format"), "{error}");
    formatted(&disk.0, false).unwrap();
    assert_eq!(check::sound(&disk.0).unwrap().entries, 0);
    assert_eq!(ls::lines(&disk.0).unwrap().len(), 1);
}

#[test]
fn what_is_on_a_disk_is_formatted_only_by_force() {
    let disk = Scratch::disk("junk", 4 * MIB);
    let file = fs::OpenOptions::new().write(true).open(&disk.0).unwrap();
    // Far from where anything known begins.
    file.write_all_at(b"x", 3 * MIB).unwrap();
    let before = fs::read(&disk.0).unwrap();
    let error = formatted(&disk.0, false).unwrap_err();
    assert!(error.contains("--force"), "{error}");
    assert!(fs::read(&disk.0).unwrap() == before);
    formatted(&disk.0, true).unwrap();
    fill(&disk.0);
    let error = formatted(&disk.0, false).unwrap_err();
    assert!(
        error.contains("a store") && error.contains("--force"),
        "{error}"
    );
    assert_eq!(check::sound(&disk.0).unwrap().entries, 2);
    formatted(&disk.0, true).unwrap();
    assert_eq!(check::sound(&disk.0).unwrap().entries, 0);
}

#[test]
fn keys_are_listed_and_nothing_is_written() {
    let disk = Scratch::disk("list", 4 * MIB);
    formatted(&disk.0, false).unwrap();
    fill(&disk.0);
    let before = fs::read(&disk.0).unwrap();
    let lines = ls::lines(&disk.0).unwrap();
    assert_eq!(
        lines[..2],
        ["    0        1048576  large", "    5              -  small"]
    );
    assert!(lines[2].starts_with("2 keys; "), "{}", lines[2]);
    let report = check::sound(&disk.0).unwrap();
    assert_eq!(
        (report.entries, report.blobs, report.blob_bytes),
        (2, 1, MIB)
    );
    assert!(fs::read(&disk.0).unwrap() == before);
}

#[test]
fn a_flipped_bit_is_found_where_it_is() {
    let disk = Scratch::disk("flipped", 4 * MIB);
    formatted(&disk.0, false).unwrap();
    fill(&disk.0);
    let bytes = fs::read(&disk.0).unwrap();
    let at = bytes
        .chunks(BLOCK)
        .position(|block| block.iter().all(|byte| *byte == 77))
        .unwrap();
    let file = fs::OpenOptions::new().write(true).open(&disk.0).unwrap();
    let place = (at * BLOCK + 100) as u64;
    file.write_all_at(&[76], place).unwrap();
    let report = check::verify(&disk.0).unwrap();
    assert_eq!((report.damaged, report.problems.len()), (1, 1));
    let line = check::describe(&report.problems[0]);
    assert!(line.starts_with("key large: "), "{line}");
    assert!(
        line.ends_with(&format!("block {at}, at byte {} of the file", at * BLOCK)),
        "{line}"
    );
    let error = check::sound(&disk.0).unwrap_err().to_string();
    assert!(
        error.contains(&disk.0.display().to_string()) && error.contains("1 place"),
        "{error}"
    );
    // What is not damaged is still listed.
    assert_eq!(ls::lines(&disk.0).unwrap().len(), 3);
}

#[test]
fn a_disk_of_others_is_named() {
    let disk = Scratch::disk("ext4", MIB);
    let file = fs::OpenOptions::new().write(true).open(&disk.0).unwrap();
    file.write_all_at(&[0x53, 0xef], 1080).unwrap();
    for error in [
        check::sound(&disk.0).unwrap_err(),
        ls::lines(&disk.0).unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(
            error.contains("ext4") && error.contains("e2fsck"),
            "{error}"
        );
    }
    let error = formatted(&disk.0, false).unwrap_err();
    assert!(
        error.contains("ext4") && error.contains("--force"),
        "{error}"
    );
}
