//! dom0's initramfs: only what dom0 needs, taken from the unpacked packages, with libraries and modules followed.
//!
//! It is not compressed: QEMU copies its 34 MB faster than an emulated dom0 could unpack a third of that.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cpio::{self, Entry, Tree, script, text};
use super::gather::{Gather, only_match};
use super::packages::{Packages, fingerprint};
use crate::ui::Phase;

const INIT: &str = include_str!("dom0/init.sh");
const SERVE: &str = include_str!("dom0/serve.sh");
const SHELL: &str = include_str!("dom0/shell.sh");
const BLOCK: &str = include_str!("dom0/block.sh");
const VIF: &str = include_str!("dom0/vif.sh");
const XL_CONF: &str = "vif.default.script=\"/usr/lib/xenlet/vif\"\n";

/// Programs by name, looked for in the usual folders and in Xen's own. busybox is the rest of the system.
const PROGRAMS: &str = "busybox bash stat flock losetup ip bridge socat curl wrk xl xenstored xenconsoled \
     xenconsole xen-init-dom0 libxl-save-helper xenstore xenstore-read xenstore-write \
     xenstore-ls xenstore-list xenstore-rm xenstore-exists xenstore-watch xenstore-chmod \
     xenstore-control xentop xenctx lsevtchn python3";

/// Kernel modules by name; what they depend on comes with them.
const MODULES: &str = "xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs xen-netback xen-blkback loop \
     bridge tun virtio_pci virtio_net virtio_scsi sd_mod crc32c_generic ext4 9p 9pnet_virtio";

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
    let inputs = [
        &packages.versions,
        INIT,
        SERVE,
        SHELL,
        BLOCK,
        VIF,
        XL_CONF,
        PROGRAMS,
        PYTHON_FOLDER,
        MODULES,
    ];
    let boot = dir.join(format!("boot-{}", fingerprint(&inputs.map(str::as_bytes))));
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
    let mut plain = flate2::read::GzDecoder::new(fs::File::open(&compressed)?);
    std::io::copy(&mut plain, &mut xen)
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
    let mut gather = Gather::new(root);
    for name in ["bin", "sbin", "lib", "lib64"] {
        gather.add(name, Entry::Link(format!("usr/{name}")));
    }
    for name in "dev proc sys run tmp root share var/lib/xen var/log/xen usr/lib64".split(' ') {
        gather.add(name, Entry::Folder);
    }
    // The kernel opens this before anything is mounted on /dev.
    gather.add("dev/console", Entry::Device { major: 5, minor: 1 });
    gather.add("etc/passwd", text("root:x:0:0:root:/root:/bin/bash\n"));
    gather.add("etc/group", text("root:x:0:\n"));
    gather.add("init", script(INIT));
    gather.add("usr/lib/xenlet/serve", script(SERVE));
    gather.add("usr/lib/xenlet/shell", script(SHELL));
    gather.add("usr/lib/xenlet/block", script(BLOCK));
    gather.add("usr/lib/xenlet/vif", script(VIF));
    gather.folder("etc/xen")?;
    gather.add("etc/xen/xl.conf", text(XL_CONF));
    for name in PROGRAMS.split_whitespace() {
        gather.program(name)?;
    }
    python(&mut gather, root)?;
    let order = gather.modules(MODULES.split_whitespace())?;
    gather.add("usr/lib/modules/order", text(&(order.join("\n") + "\n")));
    Ok(gather.tree)
}

/// Where Python looks for modules of machine code. There are none here, but it complains where there is no folder.
const PYTHON_FOLDER: &str = "lib-dynload";

/// Adds what Python needs to start with `-S`, and Xen's modules for it.
fn python(gather: &mut Gather<'_>, root: &Path) -> Result<()> {
    let library = only_match(&root.join("usr/lib"), "python3.", "")?;
    let library = library.strip_prefix(root)?.display().to_string();
    gather.folder(&format!("{library}/encodings"))?;
    // By these it knows its folders.
    gather.add(&format!("{library}/os.py"), text(""));
    gather.add(&format!("{library}/{PYTHON_FOLDER}"), Entry::Folder);
    let xen = only_match(&root.join("usr/lib"), "xen-4", "")?.join("lib/python/xen");
    gather.folder(&xen.strip_prefix(root)?.display().to_string())
}
