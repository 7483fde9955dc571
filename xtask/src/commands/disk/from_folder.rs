//! `cargo xtask disk from-folder`: a folder of files as an ext4 image, for httpd to serve and Linux to mount.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use xenlet_fs_static_build::{MODIFIED, Staged, stage};

use crate::host::{self, MKFS};
use crate::project;
use crate::sh;
use crate::ui::{Bytes, Phase};

/// `cargo xtask disk from-folder DIR FILE`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask disk from-folder ~/my-site site.img
  cargo xtask run --site site.img

The image is an ext4 file system that Linux mounts: the folder's files, their compressed variants, and what httpd says of
both. The same folder gives the same image, byte for byte. A file that is changed in the image is served as it is then.")]
pub(crate) struct Arguments {
    /// The folder
    dir: PathBuf,
    /// The image to make. An image that this made before is replaced, nothing else is
    file: PathBuf,
    /// Install missing packages of this machine without asking
    #[arg(long)]
    yes: bool,
}

/// What such an image is called, in its superblock: how one is known.
const LABEL: &str = "xenlet-site";

/// # Errors
/// If the folder can't be served, the file is something else, or mkfs.ext4 is missing or fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    check_replaceable(&arguments.file)?;
    host::need(&[MKFS], arguments.yes)?;
    let Staged { report, .. } = make(&arguments.dir, &arguments.file)?;
    let (count, named) = (report.left_out.len(), report.left_out.first());
    if let Some(named) = named {
        eprintln!("hidden files and backups were left out: {count}, {named:?} among them");
    }
    println!(
        "{}: {} files of {}, with compressed variants {}, on a disk of {}\nserve it:  cargo xtask run --site {0}",
        arguments.file.display(),
        report.files,
        Bytes(report.content_bytes),
        Bytes(report.stored_bytes),
        Bytes(arguments.file.metadata()?.len()),
    );
    Ok(())
}

/// Makes the image of a folder. mkfs.ext4 must be there.
///
/// # Errors
/// If the folder can't be served, or what is made can't be written.
pub(crate) fn make(dir: &Path, file: &Path) -> Result<Staged> {
    let work = project::target_dir().join("disk");
    let (staging, variants) = (Staging::new(&work)?, work.join("variants"));
    let phase = Phase::start("compressing the site");
    let content = staging.0.join("site");
    let staged = stage(dir, &variants, &content).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("{} can't be served:\n{}", dir.display(), lines.join("\n"))
    })?;
    phase.done();
    let phase = Phase::start("making the file system");
    let image = staging.0.join("image");
    make_file_system(&content, &staged.digest, &image)?;
    fs::copy(&image, file).with_context(|| format!("cannot write {}", file.display()))?;
    phase.done();
    Ok(staged)
}

/// A folder to work in, gone afterwards.
struct Staging(PathBuf);

impl Staging {
    fn new(work: &Path) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = work.join(format!("staging-{}-{number}", std::process::id()));
        let made = fs::create_dir_all(&folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What is left is below target/.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What is to be found room for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    inodes: u64,
    blocks: u64,
}

/// Bytes of a block.
const BLOCK: u64 = 4096;

impl Count {
    fn add(&mut self, folder: &Path) -> Result<()> {
        // An entry is eight bytes and the name, and a block of them is rarely full.
        let mut entries = 0;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            entries += 16 + u64::try_from(entry.file_name().len())?;
            let data = entry.metadata()?;
            self.inodes += 1;
            if data.is_dir() {
                self.add(&entry.path())?;
            } else {
                // And one for what lies in many pieces.
                self.blocks += data.len().div_ceil(BLOCK) + data.len() / (32 << 20);
            }
        }
        self.blocks += 1 + entries * 3 / 2 / BLOCK;
        Ok(())
    }

    /// Blocks of a file system with room for that.
    fn total(&self) -> u64 {
        // Four of 256 bytes for each 1024; a few blocks for each 128 MiB and for each file system.
        let inodes = (self.inodes + 16) / 16 + 1;
        let content = self.blocks + inodes;
        content + 24 + content / 32768 * 8 + content / 100
    }
}

fn make_file_system(content: &Path, digest: &[u8; 32], image: &Path) -> Result<()> {
    let mut count = Count::default();
    count.add(content)?;
    let uuid = uuid(digest);
    let mut blocks = count.total();
    loop {
        let mut mkfs = tool(MKFS.program);
        mkfs.args([
            "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0",
        ])
        .args(["-O", "^has_journal,^resize_inode", "-L", LABEL, "-U", &uuid])
        .arg("-E")
        .arg(format!(
            "hash_seed={uuid},root_owner=0:0,lazy_itable_init=0"
        ))
        .arg("-N")
        // The first ten are the file system's own.
        .arg((count.inodes + 12).to_string())
        .arg("-d")
        .args([content, image])
        .arg(format!("{}k", blocks * BLOCK / 1024));
        match sh::output(&mut mkfs) {
            Ok(_) => break,
            // The file system itself, and folders, can take more than they were thought to.
            Err(_) if blocks < 2 * count.total() => {
                blocks += blocks / 4;
                // So that nothing of this attempt is in the next.
                let _ = fs::remove_file(image);
            }
            Err(error) => return Err(error),
        }
    }
    forget_who_and_when(image, count.inodes)
}

/// Takes out of an image what mkfs.ext4 took over from this machine: who owned the files, and when they were copied.
fn forget_who_and_when(image: &Path, inodes: u64) -> Result<()> {
    let mut script = String::new();
    // The root, lost+found, and the files, in order.
    for inode in std::iter::once(2).chain(11..12 + inodes) {
        for field in ["ctime", "atime", "mtime", "crtime"] {
            writeln!(script, "sif <{inode}> {field} @{MODIFIED}")?;
        }
        for field in ["uid", "gid"] {
            writeln!(script, "sif <{inode}> {field} 0")?;
        }
    }
    let commands = image.with_extension("debugfs");
    fs::write(&commands, script)?;
    let mut debugfs = tool("debugfs");
    sh::output(debugfs.arg("-w").arg("-f").args([&commands, image]))?;
    Ok(())
}

/// A program of e2fsprogs, which may be where only root looks, for which it is the year 2000.
fn tool(name: &str) -> Command {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut command = Command::new(name);
    command
        .env("PATH", path)
        .env("E2FSPROGS_FAKE_TIME", MODIFIED.to_string());
    command
}

/// An identifier made of a hash, in the form that the standard has for such (RFC 9562 §5.8).
fn uuid(digest: &[u8; 32]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

/// # Errors
/// If a file is there that is not an image of a site: it may be somebody's disk.
fn check_replaceable(file: &Path) -> Result<()> {
    if file.exists() && !is_site_image(file) {
        bail!(
            "{} is there already, and is no image of a site: remove it first, or choose another name",
            file.display()
        );
    }
    Ok(())
}

/// Whether a file is an image that `from-folder` made.
fn is_site_image(file: &Path) -> bool {
    let mut superblock = [0; 2048];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut superblock));
    let label = &superblock[1024 + 0x78..][..16];
    read.is_ok()
        && superblock[1024 + 0x38..][..2] == [0x53, 0xef]
        && label.split(|byte| *byte == 0).next() == Some(LABEL.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("site")).unwrap();
            Self(path)
        }

        fn write(&self, path: &str, bytes: &[u8]) {
            let path = self.0.join("site").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }

        fn make(&self, image: &str) -> Vec<u8> {
            let image = self.0.join(image);
            make(&self.0.join("site"), &image).unwrap();
            assert!(is_site_image(&image));
            check_replaceable(&image).unwrap();
            fs::read(image).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_same_folder_gives_the_same_image_which_is_sound() {
        let folder = Folder::new("same");
        folder.write("index.html", &b"hello ".repeat(200));
        folder.write("sub/picture.png", &[7; 100_000]);
        let first = folder.make("first.img");
        // Later, and with another time and other permissions.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        folder.write("index.html", &b"hello ".repeat(200));
        let second = folder.make("second.img");
        assert!(first == second, "the images differ");
        folder.write("index.html", &b"HELLO ".repeat(200));
        assert!(first != folder.make("third.img"));

        let mut e2fsck = tool("e2fsck");
        sh::output(e2fsck.args(["-f", "-n"]).arg(folder.0.join("first.img"))).unwrap();
        // It holds 104 KB, and little else.
        assert!(first.len() < 400_000, "{}", first.len());
    }

    #[test]
    fn many_small_files_and_large_ones_find_room() {
        let folder = Folder::new("room");
        for file in 0..3000 {
            let name = format!("many/{}/{file}-{}.png", file % 3, "n".repeat(file % 200));
            folder.write(&name, &[1; 10]);
        }
        folder.write("large.bin.gz", &vec![3; 40 << 20]);
        let image = folder.make("image");
        assert!(image.len() < 60 << 20, "{}", image.len());
    }

    #[test]
    fn what_is_no_image_of_a_site_is_left_alone() {
        let folder = Folder::new("left-alone");
        let file = folder.0.join("data.img");
        for content in [&b""[..], b"something", &[0; 10_000]] {
            fs::write(&file, content).unwrap();
            let error = check_replaceable(&file).unwrap_err().to_string();
            assert!(error.contains("data.img"), "{error}");
        }
        check_replaceable(&folder.0.join("nothing")).unwrap();
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_said() {
        let folder = Folder::new("wrong");
        let error = make(&folder.0.join("site"), &folder.0.join("x")).unwrap_err();
        assert!(error.to_string().contains("site"), "{error}");
        let error = make(Path::new("/no/such/folder"), &folder.0.join("x")).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }

    #[test]
    fn a_uuid_of_a_hash() {
        assert_eq!(uuid(&[0xff; 32]), "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }
}
