//! dom0's initramfs: only what dom0 needs, taken from the unpacked packages, with libraries and modules followed.
//!
//! It is not compressed: QEMU copies 60 MB faster than an emulated dom0 could unpack 20.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cpio::{self, Entry, Tree};
use super::elf;
use super::packages::{Packages, fingerprint};
use crate::ui::Phase;

const INIT: &str = include_str!("dom0/init.sh");
const SERVE: &str = include_str!("dom0/serve.sh");
const SHELL: &str = include_str!("dom0/shell.sh");
const VIF: &str = include_str!("dom0/vif.sh");
const XL_CONF: &str = "vif.default.script=\"/usr/lib/xenlet/vif\"\n";

/// Programs by name, looked for in the usual folders and in Xen's own. busybox is the rest of the system.
const PROGRAMS: &[&str] = &[
    "busybox",
    "bash",
    "stat",
    "flock",
    "losetup",
    "ip",
    "bridge",
    "socat",
    "curl",
    "wrk",
    "xl",
    "xenstored",
    "xenconsoled",
    "xenconsole",
    "xen-init-dom0",
    "libxl-save-helper",
    "xenstore",
    "xenstore-read",
    "xenstore-write",
    "xenstore-ls",
    "xenstore-list",
    "xenstore-rm",
    "xenstore-exists",
    "xenstore-watch",
    "xenstore-chmod",
    "xenstore-control",
    "xentop",
    "xenctx",
    "lsevtchn",
];

/// Kernel modules by name; what they depend on comes with them.
const MODULES: &[&str] = &[
    "xen-evtchn",
    "xen-gntdev",
    "xen-gntalloc",
    "xen-privcmd",
    "xenfs",
    "xen-netback",
    "xen-blkback",
    "loop",
    "bridge",
    "tun",
    "virtio_pci",
    "virtio_net",
    "9p",
    "9pnet_virtio",
];

/// Folders where Debian keeps programs.
const PROGRAM_FOLDERS: &[&str] = &["bin", "sbin", "usr/bin", "usr/sbin"];
/// Folders where Debian keeps libraries.
const LIBRARY_FOLDERS: &[&str] = &["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// What QEMU boots: the hypervisor, dom0's kernel, dom0's initramfs.
#[derive(Debug)]
pub(crate) struct Dom0 {
    pub(crate) xen: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
}

/// Makes dom0's files in `dir` from the packages, or finds those made before from the same ones.
///
/// # Errors
/// If something needed is not in the packages, or a file can't be read or written.
pub(crate) fn prepare(dir: &Path, packages: &Packages) -> Result<Dom0> {
    let names = format!("{PROGRAMS:?}{MODULES:?}");
    let inputs = [&packages.versions, INIT, SERVE, SHELL, VIF, XL_CONF, &names].map(str::as_bytes);
    let boot = dir.join(format!("boot-{}", fingerprint(&inputs)));
    let dom0 = Dom0 {
        xen: boot.join("xen"),
        kernel: boot.join("vmlinuz"),
        initramfs: boot.join("dom0.img"),
    };
    // The initramfs is written last and put in place whole: where it is, all is.
    if dom0.initramfs.is_file() {
        return Ok(dom0);
    }
    let phase = Phase::start("making dom0's initramfs");
    remove_older(dir)?;
    fs::create_dir_all(&boot)?;
    let root = &packages.root;
    let compressed = only_match(&root.join("boot"), "xen-", "-amd64.gz")?;
    let mut xen = fs::File::create(&dom0.xen)?;
    std::io::copy(
        &mut flate2::read::GzDecoder::new(fs::File::open(&compressed)?),
        &mut xen,
    )
    .with_context(|| format!("cannot unpack {}", compressed.display()))?;
    fs::copy(
        only_match(&root.join("boot"), "vmlinuz-", "-amd64")?,
        &dom0.kernel,
    )?;
    let temporary = boot.join("dom0.img.new");
    fs::write(&temporary, cpio::archive(&tree(root)?))?;
    fs::rename(temporary, &dom0.initramfs)?;
    phase.done();
    Ok(dom0)
}

fn remove_older(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("boot-") {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The content of the initramfs.
fn tree(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    // One of each folder, as on an installed Debian: packages of this release still name both.
    for name in ["bin", "sbin", "lib", "lib64"] {
        cpio::insert(&mut tree, name, Entry::Link(format!("usr/{name}")));
    }
    for name in [
        "dev",
        "proc",
        "sys",
        "run",
        "tmp",
        "root",
        "share",
        "var/lib/xen",
        "var/log/xen",
        "usr/lib64",
    ] {
        cpio::insert(&mut tree, name, Entry::Folder);
    }
    // The kernel opens this before anything is mounted on /dev.
    cpio::insert(
        &mut tree,
        "dev/console",
        Entry::Device { major: 5, minor: 1 },
    );
    cpio::insert(
        &mut tree,
        "etc/passwd",
        text("root:x:0:0:root:/root:/bin/bash\n", false),
    );
    cpio::insert(&mut tree, "etc/group", text("root:x:0:\n", false));
    cpio::insert(&mut tree, "init", text(INIT, true));
    cpio::insert(&mut tree, "usr/lib/xenlet/serve", text(SERVE, true));
    cpio::insert(&mut tree, "usr/lib/xenlet/shell", text(SHELL, true));
    cpio::insert(&mut tree, "usr/lib/xenlet/vif", text(VIF, true));
    add_folder(&mut tree, root, "etc/xen")?;
    cpio::insert(&mut tree, "etc/xen/xl.conf", text(XL_CONF, false));
    let tools = only_match(&root.join("usr/lib"), "xen-4", "")?;
    let mut folders: Vec<PathBuf> = vec![tools.join("bin")];
    folders.extend(PROGRAM_FOLDERS.iter().map(|folder| root.join(folder)));
    for name in PROGRAMS {
        add_program(&mut tree, root, &folders, name)?;
    }
    add_modules(&mut tree, root)?;
    Ok(tree)
}

fn text(content: &str, executable: bool) -> Entry {
    Entry::File {
        executable,
        bytes: content.into(),
    }
}

fn add_folder(tree: &mut Tree, root: &Path, folder: &str) -> Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let name = format!("{folder}/{}", entry?.file_name().to_string_lossy());
        let path = resolve(root, &root.join(&name))?;
        if path.is_dir() {
            add_folder(tree, root, &name)?;
        } else {
            let bytes = fs::read(path)?;
            cpio::insert(
                tree,
                &name,
                Entry::File {
                    executable: bytes.starts_with(b"#!"),
                    bytes,
                },
            );
        }
    }
    Ok(())
}

/// Adds a program under the name of the folder it was found in, and its libraries.
fn add_program(tree: &mut Tree, root: &Path, folders: &[PathBuf], name: &str) -> Result<()> {
    let found = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.symlink_metadata().is_ok());
    let path = found.with_context(|| format!("no program `{name}` in the packages"))?;
    let bytes = fs::read(resolve(root, &path)?)?;
    add_libraries(tree, root, &bytes).with_context(|| format!("cannot read {}", path.display()))?;
    let inside = path.strip_prefix(root)?.to_string_lossy();
    cpio::insert(
        tree,
        &merged(&inside),
        Entry::File {
            executable: true,
            bytes,
        },
    );
    Ok(())
}

fn add_libraries(tree: &mut Tree, root: &Path, bytes: &[u8]) -> Result<()> {
    for name in elf::needs(bytes)? {
        // An interpreter is named by its path, a library by its name alone.
        let mut candidates = match name.strip_prefix('/') {
            Some(path) => vec![path.to_owned()],
            None => LIBRARY_FOLDERS
                .iter()
                .map(|folder| format!("{folder}/{name}"))
                .collect(),
        };
        candidates.retain(|candidate| root.join(candidate).symlink_metadata().is_ok());
        let candidate = candidates
            .first()
            .with_context(|| format!("no library {name} in the packages"))?;
        let inside = merged(candidate);
        if tree.contains_key(&inside) {
            continue;
        }
        let bytes = fs::read(resolve(root, &root.join(candidate))?)?;
        cpio::insert(
            tree,
            &inside,
            Entry::File {
                executable: true,
                bytes: bytes.clone(),
            },
        );
        add_libraries(tree, root, &bytes)?;
    }
    Ok(())
}

/// Adds the modules as `lib/modules/<name>.ko` and a list of their names in an order in which they load.
fn add_modules(tree: &mut Tree, root: &Path) -> Result<()> {
    let modules = only_match(&root.join("lib/modules"), "", "-amd64")?;
    let mut files = Vec::new();
    find_modules(&modules.join("kernel"), &mut files)?;
    let built_in = fs::read_to_string(modules.join("modules.builtin"))?;
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    for name in MODULES {
        add_module(tree, &files, &built_in, name, &mut seen, &mut order)?;
    }
    cpio::insert(
        tree,
        "usr/lib/modules/order",
        text(&(order.join("\n") + "\n"), false),
    );
    Ok(())
}

fn add_module(
    tree: &mut Tree,
    files: &[PathBuf],
    built_in: &str,
    name: &str,
    seen: &mut HashSet<String>,
    order: &mut Vec<String>,
) -> Result<()> {
    let canonical = name.replace('-', "_"); // the two are one to the kernel
    if !seen.insert(canonical.clone()) {
        return Ok(());
    }
    let is_it = |stem: &str| stem.replace('-', "_") == canonical;
    let stem = |path: &Path| {
        path.file_stem()
            .is_some_and(|stem| is_it(&stem.to_string_lossy()))
    };
    let Some(path) = files.iter().find(|path| stem(path)) else {
        if built_in.lines().any(|line| stem(Path::new(line))) {
            return Ok(());
        }
        bail!("no kernel module `{name}` in the packages");
    };
    let bytes = fs::read(path)?;
    for needed in
        elf::module_needs(&bytes).with_context(|| format!("cannot read {}", path.display()))?
    {
        add_module(tree, files, built_in, &needed, seen, order)?;
    }
    cpio::insert(
        tree,
        &format!("usr/lib/modules/{canonical}.ko"),
        Entry::File {
            executable: false,
            bytes,
        },
    );
    order.push(canonical);
    Ok(())
}

fn find_modules(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_modules(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            files.push(path);
        }
    }
    Ok(())
}

/// Where a file of the packages is on an installed system, on which `/bin` and the like are links into `/usr`.
fn merged(inside: &str) -> String {
    let first = inside.split('/').next().unwrap_or_default();
    match first {
        "bin" | "sbin" | "lib" | "lib64" => format!("usr/{inside}"),
        _ => inside.to_owned(),
    }
}

/// Follows links as if `root` were the root of the file system.
fn resolve(root: &Path, path: &Path) -> Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..16 {
        let Ok(to) = fs::read_link(&path) else {
            return Ok(path);
        };
        path = if to.is_absolute() {
            root.join(
                to.components()
                    .filter(|part| *part != Component::RootDir)
                    .collect::<PathBuf>(),
            )
        } else {
            path.parent().unwrap_or(root).join(to)
        };
    }
    bail!("{} is a link that leads nowhere", path.display())
}

/// The one entry of a folder whose name begins and ends so; the last in order where there are several.
fn only_match(folder: &Path, start: &str, end: &str) -> Result<PathBuf> {
    let names =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let matches = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(start) && name.ends_with(end)
    };
    let found = names
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(matches)
        .max();
    found.with_context(|| format!("no {start}*{end} in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_merged_into_usr() {
        assert_eq!(
            merged("lib/x86_64-linux-gnu/libc.so.6"),
            "usr/lib/x86_64-linux-gnu/libc.so.6"
        );
        assert_eq!(
            merged("lib64/ld-linux-x86-64.so.2"),
            "usr/lib64/ld-linux-x86-64.so.2"
        );
        assert_eq!(merged("usr/bin/curl"), "usr/bin/curl");
        assert_eq!(merged("library/x"), "library/x");
    }
}
